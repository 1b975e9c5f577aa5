"""The WSGI application of one embedded account: every request goes through the chain."""

from collections.abc import Callable, Iterable
from typing import Any

from werkzeug.wrappers import Request

from sagelocal import services
from sagelocal.core.context import Context
from sagelocal.core.json import Json
from sagelocal.gateway import chain
from sagelocal.gateway.exchange import Exchange


def load_services() -> None:
    """Know all operations and kinds of documents. A store is opened after that."""
    services.load_all()


class Application:
    """`on_stop` is called when a client asks the server to stop."""

    def __init__(self, context: Context, on_stop: Callable[[], None]):
        self.context = context
        self.on_stop = on_stop
        load_services()

    def __call__(self, environ: Json, start_response: Callable[..., Any]) -> Iterable[bytes]:
        response = chain.answer(Exchange(Request(environ), self.context, self.on_stop))
        return response(environ, start_response)
