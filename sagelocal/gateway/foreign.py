"""Requests that moto answers: what they ask for, and a refusal in the protocol they came in."""

from typing import Any

from werkzeug.wrappers import Request, Response

from sagelocal.core import service_models
from sagelocal.core.errors import AwsError
from sagelocal.gateway.protocols import cbor, query, wire


def asked(service: str, request: Request) -> tuple[str, dict[str, Any]]:
    """(operation, parameters); no parameters where the protocol is one that is not read here."""
    if request.content_type == cbor.CONTENT_TYPE:
        return cbor.parse(service, request)
    if "X-Amz-Target" in request.headers:
        return wire.parse_json(service, request)
    protocol = service_models.service_model(service).metadata["protocol"]
    if protocol == "rest-json":
        return wire.parse_rest(service, request)
    request.get_data()  # kept, so that moto can read it again
    action = request.form.get("Action") or request.args.get("Action")
    if action and protocol != "ec2":
        return query.parse(service, request)
    return action or f"{request.method.title()}Request", {}


def refused(request: Request, problem: AwsError) -> Response:
    """The HTTP response for an error."""
    if request.content_type == cbor.CONTENT_TYPE:
        return cbor.error(problem)
    if "X-Amz-Target" in request.headers or "Action" not in {**request.form, **request.args}:
        return wire.error(problem)
    return query.error(problem)
