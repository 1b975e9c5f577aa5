"""Which of AWS's protocols a request is in, and the module that reads and answers it.

Source: https://smithy.io/2.0/aws/protocols/
"""

from typing import Protocol

from botocore.exceptions import UnknownServiceError
from botocore.model import ServiceModel
from werkzeug.wrappers import Request, Response

from sagelocal.core import service_models
from sagelocal.core.json import Json
from sagelocal.gateway.protocols import cbor, query, wire

CBOR = "smithy-rpc-v2-cbor"
AS_FORMS = ("query", "ec2")
IN_XML = (*AS_FORMS, "rest-xml")


class Codec(Protocol):
    """A module that speaks a protocol."""

    def parse(self, service: str, request: Request) -> tuple[str, Json]: ...

    def answer(self, service: str, operation: str, body: Json) -> Response: ...


CODECS: dict[str, Codec] = {"json": wire, "rest-json": wire, "query": query, CBOR: cbor}


def protocol_of(service: str, request: Request) -> str:
    """The protocol of a request, of those that the service speaks. A service that botocore does not know is taken for
    one of json or query."""
    model = _model(service)
    if model is None:
        return "query" if _action(request) else "json"
    metadata = model.metadata
    spoken = metadata.get("protocols", [metadata["protocol"]])
    if request.content_type == cbor.CONTENT_TYPE and CBOR in spoken:
        return CBOR
    if "X-Amz-Target" in request.headers and "json" in spoken:
        return "json"
    if metadata["protocol"] == CBOR or (metadata["protocol"] == "json" and _action(request)):
        return "query"  # what clients spoke before they learned the other
    return str(metadata["protocol"])


def read(service: str, request: Request) -> tuple[str, Json]:
    """(operation, parameters) of a request to any service. There are no parameters where nobody here can read them:
    botocore does not know the service, or its protocol has no codec."""
    protocol = protocol_of(service, request)
    codec = CODECS.get(protocol)
    if codec and _model(service):
        return codec.parse(service, request)
    target = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
    name = _action(request) if protocol in AS_FORMS else target if protocol == "json" else ""
    return name or f"{request.method.title()}Request", {}


def _model(service: str) -> ServiceModel | None:
    try:
        return service_models.service_model(service)
    except UnknownServiceError:
        return None


def _action(request: Request) -> str:
    request.get_data()  # kept, so that it can be read again
    return request.form.get("Action") or request.args.get("Action") or ""
