"""AWS's CBOR protocol, both ways, driven by botocore's models: what boto3 speaks with CloudWatch.

Source: https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html
"""

from typing import Any

from botocore.parsers import BaseCBORParser
from botocore.serialize import CBORSerializer
from werkzeug.wrappers import Request, Response

from sagelocal.core import service_models
from sagelocal.core.errors import AwsError, SerializationException
from sagelocal.core.json import Json, check_depth

CONTENT_TYPE = "application/cbor"
HEADERS = {"smithy-protocol": "rpc-v2-cbor"}


def parse(service: str, request: Request) -> tuple[str, Json]:
    """(operation, parameters) of a request to /service/…/operation/<operation>. Raises SerializationException."""
    name = request.path.rpartition("/")[2]
    return name, read(request.get_data())


def read(data: bytes) -> Json:
    """The map in a body; an empty body is an empty map. Raises SerializationException."""
    parser = BaseCBORParser()
    try:
        found = parser.parse_data_item(parser.get_peekable_stream_from_bytes(data)) if data else {}
        check_depth(found)
    except Exception as problem:
        raise SerializationException(f"The request body is not CBOR: {problem}") from None
    if not isinstance(found, dict):
        raise SerializationException("The request body is not a CBOR map.")
    return found


def answer(service: str, operation: str, body: Json) -> Response:
    """The HTTP response for an operation's (already shaped) answer."""
    shape = service_models.operation_model(service, operation).output_shape
    written = bytearray()
    if shape is not None:
        WRITER._serialize_data_item(written, body, shape)
    return Response(bytes(written) or b"\xa0", 200, HEADERS, content_type=CONTENT_TYPE)


def error(problem: AwsError) -> Response:
    """The HTTP response for an error."""
    body = bytearray(b"\xa2")  # a map of two pairs
    for text in ("__type", problem.code, "message", problem.message):
        WRITER._serialize_type_string(body, text, None, None)
    side = "Sender" if problem.status < 500 else "Receiver"
    headers = HEADERS | {"x-amzn-query-error": f"{problem.code};{side}"}
    return Response(bytes(body), problem.status, headers, content_type=CONTENT_TYPE)


class _Writer(CBORSerializer):
    """botocore writes requests; answers are written the same way, with times as seconds since 1970."""

    def __init__(self) -> None:
        pass


WRITER: Any = _Writer()  # Any: what is called of it is botocore's own, so the stubs do not list it
