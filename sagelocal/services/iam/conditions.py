"""The Condition element: every operator must hold for every key it names.

A key of the request may have several values, or none. Source:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

import base64
import ipaddress
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sagelocal.services.iam.matching import arn_matches, escaped, glob, unescaped

Keys = Mapping[str, Sequence[str]]  # names in lower case: condition keys do not mind the case
VARIABLE = re.compile(r"\$\{([^${}*?,']+)(?:, *'([^']*)')?\}")
BOOLEANS = ("true", "false")


def _number(text: str) -> float:
    if not re.fullmatch(r"[+-]?\d+(\.\d+)?", text):
        raise ValueError(f"{text!r} is not a number")
    return float(text)


def _moment(text: str) -> float:
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _boolean(text: str) -> str:
    if text.lower() not in BOOLEANS:
        raise ValueError(f"{text!r} is neither true nor false")
    return text.lower()


def _network(text: str) -> Any:
    return ipaddress.ip_network(text, strict=False)


def _binary(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _pairs(read: Callable[[str], Any], holds: Callable[[Any, Any], bool]) -> Callable[[str, str], bool]:
    """A test of two texts that are read first; what cannot be read does not hold."""

    def test(given: str, wanted: str) -> bool:
        try:
            return holds(read(given), read(wanted))
        except ValueError:
            return False

    return test


def _in_network(given: Any, wanted: Any) -> bool:
    return bool(given.version == wanted.version and given.subnet_of(wanted))


ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    **{"Equals": operator.eq, "LessThan": operator.lt, "LessThanEquals": operator.le},
    **{"GreaterThan": operator.gt, "GreaterThanEquals": operator.ge},
}
# operator -> (value of the request, pattern of the policy) -> holds
TEXT_TESTS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda given, wanted: given == unescaped(wanted),
    "StringEqualsIgnoreCase": lambda given, wanted: given.lower() == unescaped(wanted).lower(),
    "StringLike": lambda given, wanted: glob(wanted).matches(given),
    "ArnEquals": lambda given, wanted: arn_matches(wanted, given),
    "ArnLike": lambda given, wanted: arn_matches(wanted, given),
}
# operator -> how its values are read
READERS: dict[str, Callable[[str], Any]] = {
    **{"Bool": _boolean, "BinaryEquals": _binary, "IpAddress": _network},
    **{f"Numeric{name}": _number for name in ORDERS},
    **{f"Date{name}": _moment for name in ORDERS},
}
TESTS: dict[str, Callable[[str, str], bool]] = {
    **TEXT_TESTS,
    **{"Bool": _pairs(_boolean, operator.eq), "BinaryEquals": _pairs(_binary, operator.eq)},
    "IpAddress": _pairs(_network, _in_network),
    **{f"Numeric{name}": _pairs(_number, holds) for name, holds in ORDERS.items()},
    **{f"Date{name}": _pairs(_moment, holds) for name, holds in ORDERS.items()},
}
NEGATED = {
    name: name.replace("Not", "")
    for name in (
        *("StringNotEquals", "StringNotEqualsIgnoreCase", "StringNotLike", "ArnNotEquals", "ArnNotLike"),
        *("NumericNotEquals", "DateNotEquals", "NotIpAddress"),
    )
}


@dataclass(frozen=True)
class Condition:
    """One operator on one key: `StringLike: {s3:prefix: [a*, b*]}`. Values of a list are alternatives."""

    operator: str
    key: str
    values: tuple[str, ...]
    if_exists: bool = False
    quantifier: str = ""  # ForAnyValue, ForAllValues
    written_key: str = ""  # as the document has it

    def holds(self, keys: Keys) -> bool:
        given = keys.get(self.key, ())
        if self.operator == "Null":
            return str(not given).lower() in (value.lower() for value in self.values)
        if not given:
            return self.holds_without
        wanted = [text for value in self.values if (text := self._pattern(value, keys)) is not None]
        negated = self.operator in NEGATED
        test = TESTS[self._positive]
        results = (any(test(value, pattern) for pattern in wanted) != negated for value in given)
        return all(results) if self.quantifier == "ForAllValues" or (negated and not self.quantifier) else any(results)

    @property
    def holds_without(self) -> bool:
        """Whether it holds for a request that does not have its key."""
        if self.operator == "Null":
            return "true" in (value.lower() for value in self.values)
        missing_passes = self.operator in NEGATED and not self.quantifier
        return self.if_exists or self.quantifier == "ForAllValues" or missing_passes

    @property
    def _positive(self) -> str:
        return NEGATED.get(self.operator, self.operator)

    def _pattern(self, value: str, keys: Keys) -> str | None:
        return filled_in(value, keys) if self._positive in TEXT_TESTS else value


def parse(element: object, variables: bool = True) -> tuple[Condition, ...]:
    """A Condition element's conditions. Raises ValueError that names what it does not know.

    `variables`: whether ${…} stands for a key's value, as it does in documents of version 2012-10-17.
    """
    if not isinstance(element, dict):
        raise ValueError(f"Condition {element!r} must be an object.")
    found = []
    for written, tests in element.items():
        quantifier, _, name = written.rpartition(":")
        operator = name.removesuffix("IfExists")
        if quantifier not in ("", "ForAnyValue", "ForAllValues"):
            raise ValueError(f"Unknown set operator {quantifier} in condition {written}.")
        if operator not in TESTS and operator not in NEGATED and name != "Null":
            raise ValueError(f"Unknown condition operator {written}.")
        if not isinstance(tests, dict):
            raise ValueError(f"Condition {written} must be an object of keys and values.")
        is_text = NEGATED.get(operator, operator) in TEXT_TESTS
        for key, values in tests.items():
            texts = tuple(_text(value) for value in (values if isinstance(values, list) else [values]))
            if is_text and not variables:
                texts = tuple(without_variables(text) for text in texts)
            found.append(Condition(operator, key.lower(), texts, name != operator, quantifier, key))
    return tuple(found)


def without_variables(text: str) -> str:
    """A pattern in which ${…} is nothing but these characters."""
    return text.replace("$", "${$}")


def filled_in(text: str, keys: Keys) -> str | None:
    """`text` with ${key} replaced by the request's value; None when the request has none (or several). A `*` in the
    value is no wildcard.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
    """
    if "${" not in text:
        return text
    missing = False

    def value(match: re.Match[str]) -> str:
        nonlocal missing
        given = keys.get(match[1].lower(), ())
        if len(given) == 1:
            return escaped(given[0])
        missing = missing or match[2] is None
        return escaped(match[2] or "")

    filled = VARIABLE.sub(value, text)
    return None if missing else filled


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError(f"Condition value {value!r} must be a string, a number or a boolean.")
