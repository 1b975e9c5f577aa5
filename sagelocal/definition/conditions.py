"""Conditions of a Condition step: comparisons of resolved values, and their combinations.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps-types.html#step-type-condition
"""

import operator
from collections.abc import Callable
from typing import Any

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "Equals": operator.eq,
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}
# What each condition has beside its Type.
MEMBERS = {
    **dict.fromkeys(COMPARISONS, ("LeftValue", "RightValue")),
    "In": ("QueryValue", "Values"),
    "Not": ("Condition",),
    "Or": ("Conditions",),
}
LISTS = ("Values", "Conditions")


class CannotCompare(Exception):
    """The two sides of a condition are of different types, or of one that has no order."""


def holds(condition: dict[str, Any]) -> bool:
    """Whether a condition (with its expressions already resolved) is true. Raises CannotCompare."""
    kind = condition["Type"]
    if kind == "Not":
        return not holds(condition["Condition"])
    if kind == "Or":
        return any(holds(inner) for inner in condition["Conditions"])
    if kind == "In":
        query = condition["QueryValue"]
        return any(_type(value) == _type(query) and value == query for value in condition["Values"])
    left, right = condition["LeftValue"], condition["RightValue"]
    if _type(left) != _type(right):
        raise CannotCompare(f"{kind} compares {_shown(left)} with {_shown(right)}; both sides must have the same type.")
    if kind != "Equals" and _type(left) not in ("number", "string"):
        raise CannotCompare(f"{kind} needs numbers or strings, not {_shown(left)}.")
    return COMPARISONS[kind](left, right)


def describe(condition: dict[str, Any]) -> str:
    """A resolved condition as a line to read: `0.81 GreaterThanOrEqualTo 0.9`."""
    kind = condition["Type"]
    if kind == "Not":
        return f"not ({describe(condition['Condition'])})"
    if kind == "Or":
        return "(" + " or ".join(describe(inner) for inner in condition["Conditions"]) + ")"
    if kind == "In":
        return f"{condition['QueryValue']!r} In {condition['Values']!r}"
    return f"{condition['LeftValue']!r} {kind} {condition['RightValue']!r}"


def _type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "string" if isinstance(value, str) else type(value).__name__


def _shown(value: Any) -> str:
    return f"the {_type(value)} {value!r}"
