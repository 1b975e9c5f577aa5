"""Requests that moto answers: what they ask for, and a refusal in the protocol they came in."""

from typing import Any

from werkzeug.wrappers import Request, Response

from embedded import aws, query, wire
from embedded.errors import AwsError

CBOR = "application/cbor"


def asked(service: str, request: Request) -> tuple[str, dict]:
    """(operation, parameters); no parameters where the protocol is one that is not read here."""
    if request.content_type == CBOR:  # smithy-rpc-v2-cbor: /service/<service>/operation/<operation>
        return request.path.rpartition("/")[2], _from_cbor(request.get_data())
    if "X-Amz-Target" in request.headers:
        return wire.parse_json(service, request)
    protocol = aws.service_model(service).metadata["protocol"]
    if protocol == "rest-json":
        return wire.parse_rest(service, request)
    request.get_data()  # kept, so that moto can read it again
    action = request.form.get("Action") or request.args.get("Action")
    if action and protocol != "ec2":
        return query.parse(service, request)
    return action or f"{request.method.title()}Request", {}


def refused(request: Request, problem: AwsError) -> Response:
    """The HTTP response for an error."""
    if request.content_type == CBOR:
        body = b"\xa2" + b"".join(map(_cbor_text, ("__type", problem.code, "message", problem.message)))
        return Response(body, problem.status, {"smithy-protocol": "rpc-v2-cbor"}, content_type=CBOR)
    if "X-Amz-Target" in request.headers or "Action" not in {**request.form, **request.args}:
        return wire.error(problem)
    return query.error(problem)


def _from_cbor(data: bytes) -> dict[str, Any]:
    from botocore.parsers import BaseCBORParser

    parser = BaseCBORParser()
    return parser.parse_data_item(parser.get_peekable_stream_from_bytes(data)) if data else {}


def _cbor_text(text: str) -> bytes:
    data = text.encode()
    if len(data) < 24:
        return bytes([0x60 | len(data)]) + data
    return b"\x79" + len(data).to_bytes(2, "big") + data
