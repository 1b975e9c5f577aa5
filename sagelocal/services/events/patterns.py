"""EventBridge's event patterns.

A pattern has the form of the event; each leaf is a list of what the field may be: values, or operators such as
{"prefix": …}. Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
"""

import json
import operator
from fnmatch import fnmatchcase
from typing import Any

from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json, read

COMPARISONS = {"=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
TEXT_OPERATORS = ("prefix", "suffix", "equals-ignore-case", "wildcard")
ABSENT = object()


class InvalidEventPatternException(AwsError):
    """A pattern that EventBridge would refuse."""

    def __init__(self, why: str):
        super().__init__("InvalidEventPatternException", f"Event pattern is not valid. Reason: {why}")


def parse(text: str) -> Json:
    """A pattern's document, checked. Raises InvalidEventPatternException."""
    try:
        pattern = read(text)
    except ValueError as problem:
        raise InvalidEventPatternException(f"it is not JSON: {problem}") from None
    if not isinstance(pattern, dict) or not pattern:
        raise InvalidEventPatternException("it must be an object with at least one field")
    _check_fields(pattern, "")
    return pattern


def matches(pattern: Json, event: Any) -> bool:
    """Whether an event has, for every field of a (checked) pattern, one of the values that it allows."""
    for field, wanted in pattern.items():
        if field == "$or":
            if not any(matches(choice, event) for choice in wanted):
                return False
            continue
        value = event.get(field, ABSENT) if isinstance(event, dict) else ABSENT
        if isinstance(wanted, dict):
            if not _matches_inside(wanted, value):
                return False
        elif not _matches_leaf(wanted, value):
            return False
    return True


def _matches_inside(pattern: Json, value: Any) -> bool:
    """A list of objects matches when one of them does."""
    return any(matches(pattern, item) for item in value) if isinstance(value, list) else matches(pattern, value)


def _matches_leaf(allowed: list[Any], value: Any) -> bool:
    """A list in the event matches when one of its items does."""
    if isinstance(value, list):
        return any(_matches_one(rule, item) for rule in allowed for item in value or [ABSENT])
    return any(_matches_one(rule, value) for rule in allowed)


def _matches_one(rule: Any, value: Any) -> bool:
    if not isinstance(rule, dict):
        return value is not ABSENT and type(value) is type(rule) and value == rule or _same_number(rule, value)
    name, operand = next(iter(rule.items()))
    if name == "exists":
        return (value is not ABSENT and not isinstance(value, dict)) is operand
    if value is ABSENT:
        return False
    if name == "anything-but":
        return not any(_matches_one(other, value) for other in (operand if isinstance(operand, list) else [operand]))
    if name == "numeric":
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        pairs = zip(operand[::2], operand[1::2], strict=True)
        return all(COMPARISONS[sign](value, bound) for sign, bound in pairs)
    return isinstance(value, str) and _matches_text(name, operand, value)


def _same_number(rule: Any, value: Any) -> bool:
    numbers = all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in (rule, value))
    return numbers and rule == value


def _matches_text(name: str, operand: Any, value: str) -> bool:
    if isinstance(operand, dict):  # {"prefix": {"equals-ignore-case": …}}
        return _matches_text(name, operand["equals-ignore-case"].lower(), value.lower())
    text: str = operand
    if name == "prefix":
        return value.startswith(text)
    if name == "suffix":
        return value.endswith(text)
    if name == "wildcard":
        return fnmatchcase(value, text.replace("[", "[[]").replace("?", "[?]"))
    return value.lower() == text.lower()


def _check_fields(pattern: Json, path: str) -> None:
    for field, wanted in pattern.items():
        here = f"{path}.{field}" if path else field
        if field == "$or":
            if not isinstance(wanted, list) or len(wanted) < 2 or not all(isinstance(c, dict) and c for c in wanted):
                raise InvalidEventPatternException("$or must be a list of at least two patterns")
            for choice in wanted:
                _check_fields(choice, path)
        elif isinstance(wanted, dict) and wanted:
            _check_fields(wanted, here)
        elif isinstance(wanted, list) and wanted:
            for rule in wanted:
                _check_rule(rule, here)
        else:
            raise InvalidEventPatternException(f"{here} must be an object or an array with at least one value")


def _check_rule(rule: Any, path: str) -> None:
    if not isinstance(rule, dict):
        if isinstance(rule, list):
            raise InvalidEventPatternException(f"{path} has an array inside an array")
        return
    name, operand = next(iter(rule.items())) if len(rule) == 1 else ("", None)
    if name == "exists":
        good = isinstance(operand, bool)
    elif name == "anything-but":
        operands = operand if isinstance(operand, list) else [operand]
        good = bool(operands)
        for item in operands:
            _check_rule(item, path)
    elif name == "numeric":
        good = isinstance(operand, list) and len(operand) in (2, 4) and _comparisons(operand)
    elif name in TEXT_OPERATORS:
        inner = operand.get("equals-ignore-case") if isinstance(operand, dict) and len(operand) == 1 else operand
        good = isinstance(inner, str)
    else:
        raise InvalidEventPatternException(f"{path} has an operator that is not matched here: {json.dumps(rule)}")
    if not good:
        raise InvalidEventPatternException(f"{path} has {name} with {json.dumps(operand)}, which it does not take")


def _comparisons(operand: list[Any]) -> bool:
    numbers = all(isinstance(bound, (int, float)) for bound in operand[1::2])
    return numbers and all(isinstance(sign, str) and sign in COMPARISONS for sign in operand[::2])
