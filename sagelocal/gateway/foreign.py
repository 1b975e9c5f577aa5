"""Requests that nothing here answers go to moto. What their caller may do is checked before."""

import io
from typing import Any

from werkzeug.wrappers import Response

from sagelocal.core import registry
from sagelocal.core.context import Context, one_per_server
from sagelocal.core.errors import AwsError, SerializationException
from sagelocal.core.json import TooDeep, read
from sagelocal.core.sigv4 import ALGORITHM
from sagelocal.gateway.exchange import Exchange
from sagelocal.gateway.protocols import choice
from sagelocal.services.iam import enforcement, permissions

# Paths at which moto answers as itself, whatever the signature is for: it resets, seeds and records its state there.
MOTO_OWN = ("/moto-api", "/favicon.ico", "/latest/meta-data/", "/latest/api/")


class MotoResponse(Response):
    default_mimetype = None  # moto's headers are all there are


def check_permission(exchange: Exchange) -> None:
    if exchange.request.path.startswith(MOTO_OWN):
        message = f"{exchange.service} has no operation at {exchange.request.path}."
        raise AwsError("UnknownOperationException", message, 404)
    if enforcement.enforced(exchange.context):
        exchange.operation, parameters = choice.read(exchange.service, exchange.request)
        permissions.authorize(exchange.context, exchange.service, exchange.operation, parameters)


def moto(exchange: Exchange) -> Response:
    data = exchange.request.get_data()  # it may have been read to see what is asked
    _check_depth(data)
    environ = exchange.request.environ | {"wsgi.input": io.BytesIO(data)}
    if exchange.claim:  # moto takes the service from this header alone
        credential = f"{exchange.claim.access_key}/{exchange.claim.scope}"
        environ["HTTP_AUTHORIZATION"] = f"{ALGORITHM} Credential={credential}, SignedHeaders=host, Signature=checked"
    return MotoResponse.from_app(_application(exchange.context), environ)


def _check_depth(data: bytes) -> None:
    """moto reads JSON as it comes. What is no JSON at all is its own matter."""
    try:
        read(data)
    except TooDeep as problem:
        raise SerializationException(f"The request cannot be read: {problem}") from None
    except ValueError:
        return


@one_per_server
def _application(context: Context) -> Any:
    # moto takes a second to import: only who needs it waits
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    application = DomainDispatcherApplication(create_backend_app)
    for hook in registry.MOTO_HOOKS:
        hook(context)
    return application
