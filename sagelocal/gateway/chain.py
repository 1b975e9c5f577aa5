"""The one way in: what happens to every request, in order.

A handler answers, passes on (None), or raises AwsError, which is sent in the protocol of the request's service.
"""

import logging
from collections.abc import Callable
from dataclasses import replace

from werkzeug.wrappers import Response

from sagelocal.core import registry
from sagelocal.core.errors import AwsError, InternalFailure
from sagelocal.gateway import foreign, limits, origins, own_pages, signature
from sagelocal.gateway.exchange import FUNCTION_URL, OWN_PAGE, S3, Exchange
from sagelocal.gateway.protocols import cbor, choice, query, wire
from sagelocal.services.awslambda.urls import front
from sagelocal.services.iam import sessions
from sagelocal.services.s3 import api as s3_api

Handler = Callable[[Exchange], Response | None]

# moto has some of these too, but it would change a state of its own, which nothing here acts on.
OURS_ALONE = ("sagemaker", "sagemaker-runtime", "lambda", "application-autoscaling", "iam")

logger = logging.getLogger(__name__)


def answer(exchange: Exchange) -> Response:
    """The response to a request, whatever becomes of it."""
    try:
        return next(response for handler in CHAIN if (response := handler(exchange)) is not None)
    except AwsError as problem:
        return _shaped(exchange, problem)
    except Exception as problem:
        request = exchange.request
        logger.exception("%s %s (%s %s) failed", request.method, request.path, exchange.service, exchange.operation)
        return _shaped(exchange, InternalFailure(problem))


def find_service(exchange: Exchange) -> None:
    path = exchange.request.path
    if path.startswith(front.PREFIX):
        exchange.service = FUNCTION_URL
    elif path.startswith(own_pages.PREFIX):
        exchange.service = OWN_PAGE
    else:
        exchange.service = signature.service_of(exchange.request)


def own_page(exchange: Exchange) -> Response | None:
    return own_pages.answer(exchange) if exchange.service == OWN_PAGE else None


def function_url(exchange: Exchange) -> Response | None:
    """It stands before find_caller: a URL that is open to everybody does not look at signatures."""
    if exchange.service != FUNCTION_URL:
        return None
    access_key = signature.access_key_of(exchange.request)
    return front.answer(exchange.context, exchange.request, access_key, exchange.request_id)


def find_caller(exchange: Exchange) -> None:
    caller = sessions.caller_of(exchange.context, signature.access_key_of(exchange.request))
    exchange.context = replace(exchange.context, caller=caller)


def s3(exchange: Exchange) -> Response | None:
    return s3_api.handle(exchange.context, exchange.request) if exchange.service == S3 else None


def native_service(exchange: Exchange) -> Response | None:
    """The services that are answered here; permissions are checked where operations are dispatched."""
    service, request = exchange.service, exchange.request
    if service not in registry.SERVICES:
        return None
    codec = choice.CODECS[choice.protocol_of(service, request)]
    operation, parameters = codec.parse(service, request)
    exchange.operation = operation
    if (service, operation) not in registry.OPERATIONS and service not in OURS_ALONE:
        return None
    return codec.answer(service, operation, registry.dispatch(exchange.context, service, operation, parameters))


def _shaped(exchange: Exchange, problem: AwsError) -> Response:
    """The HTTP response for an error: S3's XML, a function URL's JSON, or that of the request's protocol."""
    if exchange.service == S3:
        return s3_api.error(problem, exchange.request)
    if exchange.service == FUNCTION_URL:
        return front.error(exchange.context, exchange.request, problem, exchange.request_id)
    protocol = choice.protocol_of(exchange.service, exchange.request)
    if protocol == choice.CBOR:
        return cbor.error(problem)
    return query.error(problem) if protocol in choice.IN_XML else wire.error(problem)


CHAIN: tuple[Handler, ...] = (
    find_service,
    limits.bound_body,
    origins.check_host,
    origins.check_origin,
    own_page,
    function_url,
    find_caller,
    s3,
    native_service,
    foreign.check_permission,
    foreign.moto,
)
