"""AWS's two JSON wire protocols, both ways, driven by botocore's models.

json: one path; the operation is in X-Amz-Target; everything else is in the body (sagemaker, logs,
application-autoscaling …). rest-json: method and path name the operation; members travel in path, query, headers and
body (lambda, sagemaker-runtime, scheduler …).

Source: https://smithy.io/2.0/aws/protocols/ (AWS JSON 1.1 and restJson1).
"""

import base64
import json
import re
from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, unquote

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape
from werkzeug.wrappers import Request, Response

from sagelocal.core import service_models
from sagelocal.core.errors import AwsError, SerializationException
from sagelocal.core.json import Json, read


def parse(service: str, request: Request) -> tuple[str, Json]:
    """(operation, parameters) of a request. Raises AwsError where it cannot be read."""
    rest = service_models.service_model(service).metadata["protocol"] == "rest-json"
    try:
        return _parse_rest(service, request) if rest else _parse_json(service, request)
    except ValueError as problem:  # also a number or base64 that is none
        raise SerializationException(f"The request cannot be read: {problem}") from None


def _parse_json(service: str, request: Request) -> tuple[str, Json]:
    """(operation, parameters) of a json request."""
    name = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
    shape = service_models.operation_model(service, name).input_shape
    return name, _decoded(_json_body(request.get_data()), shape)


def _parse_rest(service: str, request: Request) -> tuple[str, Json]:
    """(operation, parameters) of a rest-json request. Raises AwsError when no operation has that method and path."""
    path = request.environ.get("RAW_URI", request.path).partition("?")[0]
    for method, pattern, query, name in _routes(service):
        match = pattern.fullmatch(path) if method == request.method else None
        if match and all(request.args.get(key) == value for key, value in query.items()):
            labels = {label: unquote(value) for label, value in match.groupdict().items()}
            return name, _rest_parameters(service_models.operation_model(service, name), labels, request)
    raise AwsError("UnknownOperationException", f"{service} has no operation at {request.method} {path}.", 404)


def answer(service: str, operation: str, body: Json) -> Response:
    """The HTTP response for an operation's (already shaped) answer."""
    model = service_models.operation_model(service, operation)
    shape = model.output_shape
    status = model.http.get("responseCode", 200)
    if model.service_model.metadata["protocol"] != "rest-json" or shape is None:
        return Response(json.dumps(_encoded(body, shape)), status, content_type="application/x-amz-json-1.1")
    return _rest_answer(shape, body, status)


def error(problem: AwsError) -> Response:
    """The HTTP response for an error, as both JSON protocols expect it."""
    said = {"__type": problem.code, "message": problem.message, "Message": problem.message}
    text = json.dumps(said | problem.members)
    headers = {"X-Amzn-ErrorType": problem.code}
    return Response(text, problem.status, headers, content_type="application/x-amz-json-1.1")


def _json_body(data: bytes) -> Json:
    body = read(data or b"{}")
    if not isinstance(body, dict):
        raise ValueError("its body is not a JSON object")
    return body


@cache
def _routes(service: str) -> list[tuple[str, re.Pattern[str], dict[str, str], str]]:
    """(method, path pattern, fixed query, operation), the most literal first: /a/b before /a/{x}, /a?x=y before /a."""
    found = []
    model = service_models.service_model(service)
    for name in model.operation_names:
        http = model.operation_model(name).http
        template, _, fixed = http["requestUri"].partition("?")
        pattern = ""
        for part in re.split(r"(\{[^}]+\})", template):
            label = part[1:-1]
            if not part.startswith("{"):
                pattern += re.escape(part)
            elif label.endswith("+"):
                pattern += f"(?P<{label[:-1]}>.+)"
            else:
                pattern += f"(?P<{label}>[^/]+)"
        query = dict(parse_qsl(fixed, keep_blank_values=True))
        order = (template.count("{"), -len(template), -len(query))
        found.append((order, (http["method"], re.compile(pattern + "/?"), query, name)))
    return [route for _, route in sorted(found, key=lambda each: each[0])]


def _rest_parameters(model: OperationModel, labels: dict[str, str], request: Request) -> Json:
    shape = model.input_shape
    if shape is None:
        return {}
    parameters: Json = {}
    in_body = {}
    for name, member in shape.members.items():
        location = member.serialization.get("location")
        wire_name = member.serialization.get("name", name)
        if location == "uri":
            parameters[name] = _from_text(labels[wire_name], member)
        elif location == "querystring":
            values = request.args.getlist(wire_name)
            if values:
                parameters[name] = values if isinstance(member, ListShape) else _from_text(values[0], member)
        elif location == "header":
            if wire_name in request.headers:
                parameters[name] = _from_text(request.headers[wire_name], member)
        elif location is None:
            in_body[name] = member
    payload = shape.serialization.get("payload")
    if payload and shape.members[payload].type_name in ("blob", "string"):
        parameters[payload] = request.get_data()
    elif payload:
        parameters[payload] = _decoded(_json_body(request.get_data()), shape.members[payload])
    elif in_body:
        parameters.update(_decoded(_json_body(request.get_data()), shape))
    return parameters


def _rest_answer(shape: StructureShape, body: Json, status: int) -> Response:
    headers: dict[str, str] = {}
    in_body = {}
    payload = shape.serialization.get("payload")
    for name, value in body.items():
        member = shape.members[name]
        location = member.serialization.get("location")
        if location == "header":
            headers[member.serialization.get("name", name)] = str(value)
        elif location == "statusCode":
            status = value
        elif name != payload:
            in_body[name] = value
    if payload:
        member, value = shape.members[payload], body.get(payload, b"")
        raw = value if isinstance(value, bytes | str) else json.dumps(_encoded(value, member))
        response = Response(raw, status)
        response.headers.pop("Content-Type", None)
        response.headers.update(headers)
        response.headers.setdefault("Content-Type", "application/octet-stream")
        return response
    text = "" if status == 204 else json.dumps(_encoded(in_body, shape))
    return Response(text, status, headers, content_type="application/json")


def _from_text(text: str, shape: Shape) -> Any:
    if shape.type_name in ("integer", "long"):
        return int(text)
    if shape.type_name in ("float", "double"):
        return float(text)
    if shape.type_name == "boolean":
        return text.lower() == "true"
    return text


def _decoded(value: Any, shape: Shape | None) -> Any:
    """JSON values as Python ones: blobs from base64, null members dropped, wire names as member names."""
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        decoded = {}
        names = {member.serialization.get("name", name): name for name, member in shape.members.items()}
        for wire_name, item in value.items():
            name = names.get(wire_name, wire_name)
            if item is not None:
                decoded[name] = _decoded(item, shape.members[name]) if name in shape.members else item
        return decoded
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [_decoded(item, shape.member) for item in value]
    if isinstance(shape, MapShape) and isinstance(value, dict):
        return {key: _decoded(item, shape.value) for key, item in value.items()}
    if shape is not None and shape.type_name == "blob" and isinstance(value, str):
        return base64.b64decode(value)
    return value


def _encoded(value: Any, shape: Shape | None) -> Any:
    """Python values as JSON ones: blobs to base64, times to seconds since 1970 (or text where the model says so)."""
    if isinstance(shape, StructureShape):
        return {
            shape.members[name].serialization.get("name", name): _encoded(item, shape.members[name])
            for name, item in value.items()
        }
    if isinstance(shape, ListShape):
        return [_encoded(item, shape.member) for item in value]
    if isinstance(shape, MapShape):
        return {key: _encoded(item, shape.value) for key, item in value.items()}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.timestamp()
    return value
