"""The Condition element: every operator must hold for every key it names.

A key of the request may have several values, or none. Source:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

import ipaddress
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sagelocal.services.iam.matching import arn_matches, glob

Keys = Mapping[str, Sequence[str]]  # names in lower case: condition keys do not mind the case
VARIABLE = re.compile(r"\$\{([a-zA-Z0-9:_/.@-]+)(?:, *'([^']*)')?\}")


def _moment(text: str) -> float:
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _compared(read: Callable[[str], float], holds: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    def test(given: str, wanted: str) -> bool:
        try:
            return holds(read(given), read(wanted))
        except ValueError:
            return False

    return test


def _in_network(given: str, wanted: str) -> bool:
    try:
        return ipaddress.ip_address(given) in ipaddress.ip_network(wanted, strict=False)
    except ValueError:
        return False


ORDERS: dict[str, Callable[[float, float], bool]] = {
    **{"Equals": operator.eq, "LessThan": operator.lt, "LessThanEquals": operator.le},
    **{"GreaterThan": operator.gt, "GreaterThanEquals": operator.ge},
}
# operator -> (value of the request, value of the policy) -> holds
TESTS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda given, wanted: given == wanted,
    "StringEqualsIgnoreCase": lambda given, wanted: given.lower() == wanted.lower(),
    "StringLike": lambda given, wanted: glob(wanted).fullmatch(given) is not None,
    "ArnEquals": lambda given, wanted: arn_matches(wanted, given),
    "ArnLike": lambda given, wanted: arn_matches(wanted, given),
    "Bool": lambda given, wanted: given.lower() == wanted.lower(),
    "BinaryEquals": lambda given, wanted: given == wanted,
    "IpAddress": _in_network,
    **{f"Numeric{name}": _compared(float, holds) for name, holds in ORDERS.items()},
    **{f"Date{name}": _compared(_moment, holds) for name, holds in ORDERS.items()},
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

    def holds(self, keys: Keys) -> bool:
        given = keys.get(self.key, ())
        if self.operator == "Null":
            return str(not given).lower() in (value.lower() for value in self.values)
        if not given:
            return self.if_exists or self.quantifier == "ForAllValues" or self._missing_passes
        wanted = [text for value in self.values if (text := filled_in(value, keys)) is not None]
        negated = self.operator in NEGATED
        test = TESTS[NEGATED.get(self.operator, self.operator)]
        results = (any(test(value, pattern) for pattern in wanted) != negated for value in given)
        return all(results) if self.quantifier == "ForAllValues" or (negated and not self.quantifier) else any(results)

    @property
    def _missing_passes(self) -> bool:
        return self.operator in NEGATED and not self.quantifier


def parse(element: object) -> tuple[Condition, ...]:
    """A Condition element's conditions. Raises ValueError that names what it does not know."""
    if not isinstance(element, dict):
        raise ValueError(f"Condition {element!r} must be an object.")
    found = []
    for written, tests in element.items():
        quantifier, _, name = written.rpartition(":")
        operator = name.removesuffix("IfExists")
        if quantifier not in ("", "ForAnyValue", "ForAllValues"):
            raise ValueError(f"Unknown set operator {quantifier} in condition {written}.")
        if operator not in TESTS and operator not in NEGATED and operator != "Null":
            raise ValueError(f"Unknown condition operator {written}.")
        if not isinstance(tests, dict):
            raise ValueError(f"Condition {written} must be an object of keys and values.")
        for key, values in tests.items():
            texts = tuple(_text(value) for value in (values if isinstance(values, list) else [values]))
            found.append(Condition(operator, key.lower(), texts, name != operator, quantifier))
    return tuple(found)


def filled_in(text: str, keys: Keys) -> str | None:
    """`text` with ${key} replaced by the request's value; None when the request has none (or several)."""
    if "${" not in text:
        return text
    missing = False

    def value(match: re.Match[str]) -> str:
        nonlocal missing
        given = keys.get(match[1].lower(), ())
        if len(given) == 1:
            return given[0]
        missing = missing or match[2] is None
        return match[2] or ""

    filled = VARIABLE.sub(value, text)
    return None if missing else filled


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError(f"Condition value {value!r} must be a string, a number or a boolean.")
