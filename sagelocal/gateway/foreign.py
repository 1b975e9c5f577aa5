"""Requests that nothing here answers go to moto. What their caller may do is checked before."""

import io
from typing import Any
from urllib.parse import unquote_plus, urlencode

from werkzeug.wrappers import Response

from sagelocal.core import registry
from sagelocal.core.context import Context, one_per_server
from sagelocal.core.errors import AwsError, SerializationException
from sagelocal.core.json import Json, TooDeep, read
from sagelocal.core.sigv4 import ALGORITHM
from sagelocal.gateway.exchange import Exchange
from sagelocal.gateway.protocols import choice
from sagelocal.services.iam import enforcement, permissions

# Paths at which moto answers as itself, whatever the signature is for: it resets, seeds and records its state there.
MOTO_OWN = ("/moto-api", "/favicon.ico", "/latest/meta-data/", "/latest/api/")
FORM = "application/x-www-form-urlencoded"


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
    if exchange.operation:
        _name_once(exchange, environ)
    if exchange.claim:  # moto takes the service from this header alone
        credential = f"{exchange.claim.access_key}/{exchange.claim.scope}"
        environ["HTTP_AUTHORIZATION"] = f"{ALGORITHM} Credential={credential}, SignedHeaders=host, Signature=checked"
    return MotoResponse.from_app(_application(exchange.context), environ)


def _name_once(exchange: Exchange, environ: Json) -> None:
    """Leave one place from which moto takes the operation: the one where it was read when its permission was checked.

    moto looks for "Action" in the form, the query, a body that is no form, and the headers, whatever the protocol.
    """
    request = exchange.request
    if choice.protocol_of(exchange.service, request) in choice.AS_FORMS:
        form = urlencode({**request.args.to_dict(), **request.form.to_dict(), "Action": exchange.operation}).encode()
        environ |= {"wsgi.input": io.BytesIO(form), "CONTENT_LENGTH": str(len(form)), "CONTENT_TYPE": FORM}
        environ["QUERY_STRING"] = ""
        environ.pop("HTTP_X_AMZ_TARGET", None)
        return
    parts = environ["QUERY_STRING"].split("&")
    query = [part for part in parts if part and unquote_plus(part.partition("=")[0]) != "Action"]
    environ["QUERY_STRING"] = "&".join(query) or f"x-id={exchange.operation}"  # with none, moto looks at the rest
    if request.mimetype in (FORM, "multipart/form-data"):
        environ["CONTENT_TYPE"] = "application/octet-stream"


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
