"""Pipeline parameters: typed values from the text that StartPipelineExecution brings.

AWS takes every start value as a string and casts it by the type that the definition declares.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sagelocal.core.errors import ValidationException

# Pipeline parameter types, and output types of Lambda and Callback steps, as botocore names them.
PRIMITIVES = {"String": "string", "Integer": "integer", "Float": "float", "Boolean": "boolean"}


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One entry of a definition's Parameters; `default` is None where a start must give the value."""

    name: str
    type: str
    default: Any = None
    enum: tuple[Any, ...] = ()

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> "Parameter":
        """The parameter of an entry without errors."""
        kind = str(entry.get("Type", "String"))
        enum = tuple(cast(kind, value) for value in entry.get("EnumValues") or ())
        default = entry.get("DefaultValue")
        return cls(name=entry["Name"], type=kind, enum=enum, default=None if default is None else cast(kind, default))

    def cast(self, value: Any) -> Any:
        """`value` (text, or JSON of the right type) as this parameter's type. Raises ValidationException."""
        typed = cast(self.type, value)
        if typed is None:
            raise ValidationException(f"Parameter {self.name}: {value!r} is not a valid {self.type}.")
        if self.enum and typed not in self.enum:
            allowed = ", ".join(str(choice) for choice in self.enum)
            raise ValidationException(f"Parameter {self.name}: {value!r} is not one of its EnumValues: {allowed}.")
        return typed


def bind(parameters: Mapping[str, Parameter], given: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """The value of every parameter for one execution.

    Raises ValidationException for an unknown name, one given twice, a value of the wrong type or outside the enum, and
    a parameter that has neither a value nor a default.
    """
    values: dict[str, Any] = {}
    for entry in given:
        name = entry["Name"]
        if name not in parameters:
            known = ", ".join(parameters) or "none"
            raise ValidationException(f"Parameter {name} is not in the pipeline definition. Its parameters: {known}.")
        if name in values:
            raise ValidationException(f"Parameter {name} is given more than once.")
        values[name] = parameters[name].cast(entry["Value"])
    missing = [p.name for p in parameters.values() if p.name not in values and p.default is None]
    if missing:
        raise ValidationException(
            f"No value for parameters without a default: {', '.join(missing)}. Give them in PipelineParameters."
        )
    return {name: values.get(name, parameter.default) for name, parameter in parameters.items()}


def as_text(value: Any) -> str:
    """A parameter's or property's value as the service writes it into a string."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)


def cast(kind: str, value: Any) -> Any:
    """`value` (text or JSON) as String, Integer, Float or Boolean; None when it is not one."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "String":
        return as_text(value) if isinstance(value, str | int | float) else None
    if kind == "Boolean":
        return {"true": True, "false": False}.get(as_text(value).lower()) if isinstance(value, str | bool) else None
    if not (is_number or isinstance(value, str)):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    if number != number or number in (float("inf"), float("-inf")):
        return None
    if kind == "Float":
        return number
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"\s*[+-]?\d+\s*", value) else None
    return int(value) if number.is_integer() else None
