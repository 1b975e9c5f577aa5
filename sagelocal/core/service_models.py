"""AWS's own service models, used to check requests and to shape answers.

botocore ships them; a request that passes here has the members, types, enums, patterns, lengths and ranges that AWS
documents.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import botocore.session
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StringShape, StructureShape
from botocore.validate import ParamValidator

from sagelocal.core.errors import AwsError, ValidationException
from sagelocal.core.json import Json


@cache
def service_model(service: str) -> ServiceModel:
    """The botocore model of a service, by boto3's client name ("sagemaker", "sagemaker-runtime", "lambda" …)."""
    return botocore.session.get_session().get_service_model(service)


def operation_model(service: str, operation: str) -> OperationModel:
    model = service_model(service)
    if operation not in model.operation_names:
        raise AwsError("UnknownOperationException", f"{service} has no operation {operation}.", 400)
    return model.operation_model(operation)


def check_request(service: str, operation: str, request: Json) -> None:
    """Raise ValidationException with every way in which `request` breaks the operation's input model."""
    shape = operation_model(service, operation).input_shape
    if shape is None:
        return
    try:
        report = ParamValidator().validate(request, shape)
    except (RuntimeError, OverflowError) as problem:  # botocore's for a time that no calendar has
        raise ValidationException(str(problem)) from None
    if report.has_errors():
        raise ValidationException(report.generate_report())
    problems = list(_constraint_problems(request, shape, ""))
    if problems:
        count = f"{len(problems)} validation error{'s' * (len(problems) > 1)} detected: "
        raise ValidationException(count + "; ".join(problems))


def violations(value: Any, shape: Shape) -> Iterator[tuple[str, Any]]:
    """(constraint, its bound) for each of enum, min, max and pattern that a value itself breaks, not what is in it.

    A text, list or map is measured by its length. botocore's own validator leaves all but some minima to the service.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(value, str):
        if isinstance(shape, StringShape) and shape.enum and value not in shape.enum:
            yield "enum", shape.enum
        pattern = shape.metadata.get("pattern")
        compiled = _compiled(pattern) if pattern else None
        if compiled and not compiled.fullmatch(value):
            yield "pattern", pattern
    if is_number or isinstance(value, str | list | dict):
        size = value if is_number else len(value)
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        if low is not None and size < low:
            yield "min", low
        if high is not None and size > high:
            yield "max", high


def _constraint_problems(value: Any, shape: Shape, path: str) -> Iterator[str]:
    """Every violation in a value and what is in it, in the service's words."""
    if isinstance(shape, StructureShape):
        for name, member in shape.members.items():
            if value.get(name) is not None:
                yield from _constraint_problems(value[name], member, f"{path}.{name}" if path else name)
        return
    for constraint, bound in violations(value, shape):
        shown = str(value) if len(str(value)) <= 120 else str(value)[:117] + "..."
        yield f"Value '{shown}' at '{path}' failed to satisfy constraint: {_rule(value, constraint, bound)}"
    if isinstance(shape, ListShape):
        for index, item in enumerate(value):
            yield from _constraint_problems(item, shape.member, f"{path}[{index}]")
    elif isinstance(shape, MapShape):
        for key, item in value.items():
            yield from _constraint_problems(item, shape.value, f"{path}['{key}']")


def _rule(value: Any, constraint: str, bound: Any) -> str:
    if constraint == "enum":
        return f"Member must satisfy enum value set: [{', '.join(bound)}]"
    if constraint == "pattern":
        return f"Member must satisfy regular expression pattern: {bound}"
    what = "value" if isinstance(value, int | float) else "length"
    return f"Member must have {what} {'greater' if constraint == 'min' else 'less'} than or equal to {bound}"


@cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error:  # a Java-only construct: AWS checks it, Python cannot
        return None


def shaped(body: Any, shape: Shape | None) -> Any:
    """`body` with only the members that `shape` has: private bookkeeping and empty members never reach a client."""
    if isinstance(shape, StructureShape):
        return {n: shaped(body[n], m) for n, m in shape.members.items() if body.get(n) is not None}
    if isinstance(shape, ListShape):
        return [shaped(item, shape.member) for item in body]
    if isinstance(shape, MapShape):
        return {key: shaped(item, shape.value) for key, item in body.items()}
    return body
