"""Hyperparameters as SageMaker passes them to a script: `--name value` arguments, every value a string."""

import difflib
import json
import sys
from collections.abc import Iterable
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar

from breeds.base.container import InputError
from contract.settings import plain_type

Settings = TypeVar("Settings")


def parse(settings_class: type[Settings], arguments: Iterable[str], ignored: Iterable[str] = ()) -> Settings:
    """Build the dataclass `settings_class` from `--learning-rate 0.1` arguments (field names, `_` as `-`).

    Names in `ignored` are SageMaker's own and skipped. A value may be JSON-quoted ("\\"32\\""): tuners of SDK v2 send
    categorical values so. Raises InputError for an unknown name, with the nearest known one, and for a bad value.
    """
    known = {field.name.replace("_", "-"): field for field in fields(settings_class)}  # type: ignore[arg-type]
    ignored = set(ignored)
    values: dict[str, Any] = {}
    for name, text in _pairs(arguments):
        if name in ignored:
            continue
        if name not in known:
            raise InputError(f"Hyperparameter {name!r} is not known.", _suggestion(name, known))
        values[known[name].name] = _convert(known[name], name, text)
    try:
        return settings_class(**values)
    except ValueError as error:
        raise InputError(f"{error}.", "Set it within its bounds.") from None


def help_text(settings_class: type) -> str:
    """One line per hyperparameter: name, default and the field's documentation."""
    lines = []
    for field in fields(settings_class):
        default = "" if field.default is MISSING else f" [{field.default}]"
        lines.append(f"  --{field.name.replace('_', '-')}{default}  {field.metadata.get('help', '')}".rstrip())
    return "\n".join(lines)


def _pairs(arguments: Iterable[str]) -> Iterable[tuple[str, str]]:
    remaining = list(arguments)
    while remaining:
        flag = remaining.pop(0)
        if not flag.startswith("--"):
            raise InputError(f"Argument {flag!r} is not a hyperparameter.", "Give each as --name value.")
        name, equals, text = flag[2:].partition("=")
        if not equals:
            if not remaining:
                raise InputError(f"Hyperparameter {name!r} has no value.", f"Give --{name} VALUE.")
            text = remaining.pop(0)
        yield name, text


def _suggestion(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name.replace("_", "-"), list(known), n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Known are {', '.join(known)}."


def _convert(field: Field, name: str, text: str) -> Any:
    kind = plain_type(field)
    try:
        unquoted = json.loads(text)
    except ValueError:
        unquoted = text
    value = unquoted if isinstance(unquoted, str) else text
    try:
        return kind(value)
    except ValueError:
        raise InputError(f"Hyperparameter {name!r} is {text!r}.", f"It must be {_TYPE_NAMES[kind]}.") from None


_TYPE_NAMES = {int: "a whole number", float: "a number", str: "a text"}


def wants_help(arguments: list[str] | None = None) -> bool:
    return bool({"-h", "--help"} & set(sys.argv[1:] if arguments is None else arguments))
