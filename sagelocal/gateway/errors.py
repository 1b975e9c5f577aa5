"""An error as the client of a service expects it."""

from werkzeug.wrappers import Response

from sagelocal.core.errors import AwsError
from sagelocal.gateway.exchange import FUNCTION_URL, S3, Exchange
from sagelocal.gateway.protocols import cbor, choice, query, wire
from sagelocal.services.awslambda.urls import front
from sagelocal.services.s3 import api as s3_api


def shaped(exchange: Exchange, problem: AwsError) -> Response:
    """The HTTP response for an error: S3's XML, a function URL's JSON, or that of the request's protocol."""
    if exchange.service == S3:
        return s3_api.error(problem, exchange.request)
    if exchange.service == FUNCTION_URL:
        return front.error(exchange.context, exchange.request, problem, exchange.request_id)
    protocol = choice.protocol_of(exchange.service, exchange.request)
    if protocol == choice.CBOR:
        return cbor.error(problem)
    return query.error(problem) if protocol in choice.IN_XML else wire.error(problem)
