"""Fields of a dataclass that say what values they take: the training hyperparameters, the deploy function's event."""

from dataclasses import MISSING, Field, field, fields
from types import UnionType
from typing import Any, get_args


def setting(
    default: Any = MISSING,
    text: str = "",
    low: float | None = None,
    high: float | None = None,
    *,
    choices: tuple[str, ...] = (),
    pattern: str = "",
    example: str = "",
    multiple_of: int = 1,
) -> Any:
    """A field, required without a default. `low` and `high` are inclusive; `example` shows what `pattern` wants."""
    bounds = {"low": low, "high": high, "choices": choices, "multiple_of": multiple_of}
    return field(default=default, metadata={"help": text, "pattern": pattern, "example": example, **bounds})


def named(settings: type) -> dict[str, Field]:
    return {each.name: each for each in fields(settings)}


def plain_type(each: Field) -> Any:
    """int, float or str, also of a field that may be None."""
    parts = get_args(each.type) if isinstance(each.type, UnionType) else (each.type,)
    return next(part for part in parts if part is not type(None))
