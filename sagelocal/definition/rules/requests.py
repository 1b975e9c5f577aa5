"""Rules on Arguments: what a step sends fits the input of AWS's operation, references included."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape

from sagelocal.definition import references, shapes
from sagelocal.definition.document import Definition
from sagelocal.definition.findings import Finding, article, shown, suggestion
from sagelocal.definition.steptypes import STEP_TYPES
from sagelocal.definition.types import Unresolvable, fits, json_type, value_of

Problem = tuple[str, str, str]  # field, message, fix
_JSON_NAMES = {"long": "integer", "double": "float", "structure": "object", "map": "object"}


def arguments_fit_the_request(definition: Definition) -> Iterator[Finding]:
    """Unknown members, missing ones, types, enums, patterns, lengths and ranges of every Create* request."""
    for step in definition.steps:
        step_type = STEP_TYPES.get(step.type)
        if step_type and step_type.create:
            check, shape = _Check(definition, step_type.generated), shapes.request_shape(step_type.create)
            for field, message, fix in check.value(step.arguments, shape, "Arguments"):
                yield Finding(step=step.name, field=field, message=message, fix=fix)


@dataclass(frozen=True)
class _Check:
    """The walk through one request, value and shape hand in hand."""

    definition: Definition
    generated: str

    def value(self, value: Any, shape: Shape, path: str) -> Iterator[Problem]:
        if references.kind(value):
            yield from self._expression(value, shape, path)
        elif value is None:
            yield path, "is null.", "Just remove it."
        elif isinstance(shape, StructureShape) and isinstance(value, dict):
            yield from self._structure(value, shape, path)
        elif isinstance(shape, ListShape) and isinstance(value, list):
            yield from ((path, f"{problem}.", "Correct it.") for problem in shapes.broken_constraints(value, shape))
            for index, item in enumerate(value):
                yield from self.value(item, shape.member, f"{path}[{index}]")
        elif isinstance(shape, MapShape) and isinstance(value, dict):
            yield from ((path, f"{problem}.", "Correct it.") for problem in shapes.broken_constraints(value, shape))
            for key, item in value.items():
                yield from self._constraints(key, shape.key, f"{path}['{key}']", "The key ")
                yield from self.value(item, shape.value, f"{path}['{key}']")
        elif isinstance(value, dict | list) or not fits(json_type(value), shape.type_name):
            yield _wrong_type(path, shown(value), json_type(value), shape, "Write it in quotes.")
        else:
            yield from self._constraints(value, shape, path, "")

    def _structure(self, value: dict[str, Any], shape: StructureShape, path: str) -> Iterator[Problem]:
        if getattr(shape, "is_document_type", False):
            return
        for name, item in value.items():
            if name in shape.members:
                yield from self.value(item, shape.members[name], f"{path}.{name}")
            else:
                fix = suggestion(name, shape.members, "Just remove it.")
                yield f"{path}.{name}", f"{shape.name} has no such member.", fix
        at_top = path == "Arguments"
        for group in shapes.missing_members(shape, value, self.generated if at_top else ""):
            yield f"{path}.{group[0]}", "is missing.", f"Add {' or '.join(group)}."
        if getattr(shape, "is_tagged_union", False) and len(value) != 1:
            yield path, f"has {len(value)} members.", f"Give exactly one of {', '.join(shape.members)}."

    def _expression(self, value: dict[str, Any], shape: Shape, path: str) -> Iterator[Problem]:
        try:
            given = value_of(self.definition, value)
        except Unresolvable:
            return  # references.expressions_resolve says so
        if not fits(given.type, shape.type_name):
            wrap = 'Wrap it: {"Std:Join": {"On": "", "Values": [it]}} (SDK: .to_string()).'
            yield _wrong_type(path, given.origin or _text(value), given.type, shape, wrap)
            return
        for known in given.known:
            if fits(json_type(known), shape.type_name):  # else the parameter's own default is wrong
                yield from self._constraints(known, shape, path, f"{given.origin} gives it {shown(known)}, which ")

    def _constraints(self, value: Any, shape: Shape, path: str, subject: str) -> Iterator[Problem]:
        for problem in shapes.broken_constraints(value, shape):
            otherwise = _choices(shape) if isinstance(shape, StringShape) and shape.enum else "Correct it."
            fix = suggestion(value, getattr(shape, "enum", ()) or (), otherwise)
            yield path, f"{subject or shown(value) + ' '}{problem}.", fix


def _wrong_type(path: str, what: str, given: str, shape: Shape, to_text: str) -> Problem:
    """`to_text` says how a number becomes the text that is wanted."""
    wanted = _JSON_NAMES.get(shape.type_name, shape.type_name)
    message = f"{what} is {article(_JSON_NAMES.get(given, given))}, and {shape.name} takes {article(wanted)}."
    is_number = wanted == "string" and given in ("integer", "float", "boolean")
    return path, message, to_text if is_number else f"Give {article(wanted)}."


def _text(expression: dict[str, Any]) -> str:
    return str(expression["Get"]) if "Get" in expression else next(iter(expression))


def _choices(shape: StringShape) -> str:
    values = list(shape.enum)
    return f"Choose one of {', '.join(values)}." if len(values) <= 12 else "Choose one that exists."
