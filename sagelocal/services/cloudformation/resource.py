"""What the handlers share: the interface, and calls of operations with CloudFormation's loosely typed values."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape

from sagelocal.core import service_models
from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json


@dataclass
class PhysicalResource:
    """A resource that exists: what Ref gives (its physical id), and what Fn::GetAtt gives."""

    physical_id: str
    attributes: Json = field(default_factory=dict)


class Handler(ABC):
    """Makes the resources of one type. `fixed`: properties that cannot change: another value makes another resource."""

    type: str
    fixed: frozenset[str] = frozenset()

    @abstractmethod
    def create(self, context: Context, properties: Json, name: str) -> PhysicalResource:
        """Make it. `name`: a free name for a resource whose properties give none. Raises AwsError."""

    def update(self, context: Context, made: PhysicalResource, properties: Json, before: Json) -> PhysicalResource:
        """Bring it from the properties `before` to `properties`, in place; here nothing. Raises AwsError."""
        return made

    @abstractmethod
    def delete(self, context: Context, made: PhysicalResource, properties: Json) -> None:
        """Delete it; no error where it is gone already. Raises AwsError."""


HANDLERS: dict[str, Handler] = {}


def register(*handlers: Handler) -> None:
    """Let stacks have resources of these handlers' types."""
    HANDLERS.update((handler.type, handler) for handler in handlers)


def call(context: Context, service: str, operation: str, request: Json) -> Json:
    """Call an operation; members that are None are left out, and text becomes a number or a boolean where the
    operation's model wants one, as CloudFormation does it. Raises AwsError."""
    shape = service_models.operation_model(service, operation).input_shape
    typed = _typed({name: value for name, value in request.items() if value is not None}, shape)
    return context.call(service, operation, **typed)


def call_unless_gone(context: Context, service: str, operation: str, request: Json) -> None:
    """Call a deleting operation; what does not exist is deleted."""
    try:
        call(context, service, operation, request)
    except AwsError as problem:
        words = ("NotFound", "NoSuch", "does not exist", "Could not find", "is not found", "cannot be found")
        if not any(word.lower() in f"{problem.code} {problem.message}".lower() for word in words):
            raise


def _typed(value: Any, shape: Shape | None) -> Any:
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        return {n: _typed(v, shape.members[n]) if n in shape.members else v for n, v in value.items()}
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [_typed(item, shape.member) for item in value]
    if isinstance(shape, MapShape) and isinstance(value, dict):
        return {key: _typed(item, shape.value) for key, item in value.items()}
    kind = shape.type_name if shape is not None else ""
    if isinstance(value, str) and kind in ("integer", "long", "float", "double"):
        try:
            return int(value) if kind in ("integer", "long") else float(value)
        except ValueError:
            return value  # the operation's own check names the member
    if isinstance(value, str) and kind == "boolean":
        return {"true": True, "false": False}.get(value.lower(), value)
    if kind == "string" and isinstance(value, (bool, int, float)):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return value
