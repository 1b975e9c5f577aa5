"""AWS's query protocol, both ways, driven by botocore's models: a form in, XML out (iam, sts, cloudformation …).

Source: https://smithy.io/2.0/aws/protocols/aws-query-protocol.html
"""

import base64
import uuid
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

from botocore.model import ListShape, MapShape, Shape, StructureShape
from werkzeug.wrappers import Request, Response

from sagelocal.core import service_models
from sagelocal.core.errors import AwsError, SerializationException, ValidationException
from sagelocal.core.json import Json
from sagelocal.core.numbers import is_whole

NUMBERS = {"integer": int, "long": int, "float": float, "double": float}


def parse(service: str, request: Request) -> tuple[str, Json]:
    """(operation, parameters) of a query-protocol request. Raises AwsError for an operation that does not exist."""
    form = {**request.args.to_dict(), **request.form.to_dict()}
    name = form.get("Action", "")
    shape = service_models.operation_model(service, name).input_shape
    return name, _decoded(_tree(form), shape) if shape else {}


def answer(service: str, operation: str, body: Json) -> Response:
    """The HTTP response for an operation's (already shaped) answer."""
    model = service_models.operation_model(service, operation)
    content = _members(body, model.output_shape) if isinstance(model.output_shape, StructureShape) else ""
    wrapper = model.output_shape.serialization.get("resultWrapper") if model.output_shape else None
    content = f"<{wrapper}>{content}</{wrapper}>" if wrapper else content
    metadata = f"<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata>"
    namespace = model.service_model.metadata["xmlNamespace"]
    text = f'<{operation}Response xmlns="{namespace}">{content}{metadata}</{operation}Response>'
    return Response(text, content_type="text/xml")


def error(problem: AwsError) -> Response:
    """The HTTP response for an error."""
    side = "Sender" if problem.status < 500 else "Receiver"
    said = f"<Type>{side}</Type><Code>{escape(problem.code)}</Code><Message>{escape(problem.message)}</Message>"
    text = f"<ErrorResponse><Error>{said}</Error><RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>"
    return Response(text, problem.status, content_type="text/xml")


def _tree(form: dict[str, str]) -> Json:
    """{"A.B.1": "x"} -> {"A": {"B": {"1": {"": "x"}}}}; a leaf's text is under the empty name.

    Raises SerializationException.
    """
    root: Json = {}
    for path, text in form.items():
        node = root
        parts = path.split(".")
        if "" in parts:
            raise SerializationException(f"The form has a member without a name: {path[:100]!r}.")
        for part in parts:
            node = node.setdefault(part, {})
        node[""] = text
    return root


def _decoded(node: Json, shape: Shape) -> Any:
    if isinstance(shape, StructureShape):
        names = ((name, member.serialization.get("name", name), member) for name, member in shape.members.items())
        return {name: _decoded(node[wire], member) for name, wire, member in names if wire in node}
    if isinstance(shape, ListShape):
        name = shape.member.serialization.get("name", "member")
        items = node if shape.serialization.get("flattened") else node.get(name, {})
        return [_decoded(items[index], shape.member) for index in _numbered(items)]
    if isinstance(shape, MapShape):
        entries = node if shape.serialization.get("flattened") else node.get("entry", {})
        key, value = shape.key.serialization.get("name", "key"), shape.value.serialization.get("name", "value")
        found = [entries[index] for index in _numbered(entries)]
        return {
            entry[key].get("", ""): _decoded(entry.get(value, {"": ""}), shape.value) for entry in found if key in entry
        }
    return _scalar(node.get("", ""), shape)


def _numbered(items: Json) -> list[str]:
    return sorted((index for index in items if is_whole(index)), key=int)


def _scalar(text: str, shape: Shape) -> Any:
    try:
        if shape.type_name in NUMBERS:
            return NUMBERS[shape.type_name](text)
        if shape.type_name == "blob":
            return base64.b64decode(text)
    except ValueError:
        raise ValidationException(f"{text!r} is no {shape.type_name}.") from None
    if shape.type_name == "boolean":
        return text.lower() == "true"
    return text


def _members(body: Json, shape: StructureShape) -> str:
    parts = []
    for name, value in body.items():
        member = shape.members[name]
        wire = member.serialization.get("name", name)
        if isinstance(member, ListShape) and member.serialization.get("flattened"):
            wire = member.member.serialization.get("name", wire)
            parts += [_element(wire, item, member.member) for item in value]
        else:
            parts.append(_element(wire, value, member))
    return "".join(parts)


def _element(name: str, value: Any, shape: Shape) -> str:
    return f"<{name}>{_content(value, shape)}</{name}>"


def _content(value: Any, shape: Shape) -> str:
    if isinstance(shape, StructureShape):
        return _members(value, shape)
    if isinstance(shape, ListShape):
        name = shape.member.serialization.get("name", "member")
        return "".join(_element(name, item, shape.member) for item in value)
    if isinstance(shape, MapShape):
        key, item = shape.key.serialization.get("name", "key"), shape.value.serialization.get("name", "value")
        return "".join(
            f"<entry>{_element(key, k, shape.key)}{_element(item, v, shape.value)}</entry>" for k, v in value.items()
        )
    if shape.type_name == "timestamp":
        moment = value if isinstance(value, datetime) else datetime.fromtimestamp(value, UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return escape(str(value))
