"""The one way in: what happens to every request, in order.

A handler answers, passes on (None), or raises AwsError, which is sent in the protocol of the request's service.
"""

import logging
from collections.abc import Callable
from dataclasses import replace

from werkzeug.wrappers import Response

from sagelocal.core import registry
from sagelocal.core.caller import ANONYMOUS, Caller
from sagelocal.core.errors import AwsError, InternalFailure
from sagelocal.gateway import foreign, form_signature, limits, origins, own_pages, signature, verification
from sagelocal.gateway.exchange import FUNCTION_URL, OWN_PAGE, S3, Exchange
from sagelocal.gateway.protocols import cbor, choice, query, wire
from sagelocal.gateway.refusals import Why, refused
from sagelocal.services.awslambda.urls import front
from sagelocal.services.iam.sessions import Identity
from sagelocal.services.s3 import api as s3_api
from sagelocal.services.s3 import forms

Handler = Callable[[Exchange], Response | None]

# moto has some of these too, but it would change a state of its own, which nothing here acts on.
OURS_ALONE = ("sagemaker", "sagemaker-runtime", "lambda", "application-autoscaling", "iam")

FUNCTION_SIGNING_NAME = "lambda"

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
    """By host or path, else by the scope of the signature, which is verified before anything is done."""
    request = exchange.request
    if front.is_for(request):
        exchange.service = FUNCTION_URL
        return  # an open one may have an Authorization of its own, which is not AWS's
    if request.path.startswith(own_pages.PREFIX):
        exchange.service = OWN_PAGE
    _read_claim(exchange)
    if exchange.service:
        return
    if exchange.claim is None:
        exchange.service = signature.guessed_service(request)
        return
    exchange.service = signature.service_of(exchange.claim.scope.service, request)
    if exchange.claim.in_query and exchange.service not in signature.PRESIGNED:
        raise refused(Why.UNSIGNED, exchange.service)


def _read_claim(exchange: Exchange) -> None:
    request = exchange.request
    try:
        exchange.claim = signature.claim_of(request)
    except signature.Malformed as problem:
        exchange.service = exchange.service or signature.service_of(problem.service or S3, request)
        why = Why.UNREADABLE_QUERY if problem.in_query else Why.UNREADABLE
        raise refused(why, exchange.service, str(problem)) from None


def own_page(exchange: Exchange) -> Response | None:
    return own_pages.answer(exchange) if exchange.service == OWN_PAGE else None


def function_url(exchange: Exchange) -> Response | None:
    """It stands before find_caller: a URL that is open to everybody does not look at signatures."""
    if exchange.service != FUNCTION_URL:
        return None

    def signer() -> Identity | None:
        _read_claim(exchange)
        return verification.identify(exchange, FUNCTION_SIGNING_NAME) if exchange.claim else None

    return front.answer(exchange.context, exchange.request, signer, exchange.request_id)


def find_caller(exchange: Exchange) -> None:
    """Who reads from S3 need not sign: a bucket's policy may let everybody in."""
    unsigned = exchange.service == S3 and exchange.claim is None
    caller: Caller | None
    if unsigned and forms.is_form(exchange.request):
        caller = form_signature.identify(exchange).caller
    elif unsigned and exchange.request.method in ("GET", "HEAD"):
        caller = ANONYMOUS
    else:
        caller = verification.identify(exchange).caller
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
