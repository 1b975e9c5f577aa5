"""Who may reach this server by HTTP: programs of this machine, and no pages of other sites in its browsers.

A page can send requests to any address, and by DNS rebinding under a name of its own; the Host, Origin and
Sec-Fetch-Site headers, which it cannot choose, tell. Source: https://www.w3.org/TR/fetch-metadata/
"""

import ipaddress
from urllib.parse import urlsplit

from sagelocal.core.errors import AwsError
from sagelocal.gateway.exchange import FUNCTION_URL, Exchange
from sagelocal.services.awslambda.urls import front


class Refused(AwsError):
    def __init__(self, message: str):
        super().__init__("AccessDenied", message, 403)


def check_host(exchange: Exchange) -> None:
    """Raise Refused unless the request names this machine and the server's port. A client that names no host is old,
    and no browser."""
    host = exchange.request.environ.get("HTTP_HOST")
    if host and not (_is_loopback(f"//{host}") and _port(f"//{host}") == _port(exchange.context.url)):
        raise Refused(f"This server does not answer for the host {host}. Use {exchange.context.url}.")


def check_origin(exchange: Exchange) -> None:
    """Raise Refused for what a page asks that another address gave, be it another port of this machine; except of a
    function URL that has CORS settings: those say which pages may read its answers."""
    headers = exchange.request.headers
    origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site", "none")
    own = origin is None or origin == f"http://{headers.get('Host', '')}".removesuffix(":80")
    if own and site in ("none", "same-origin"):
        return
    if exchange.service == FUNCTION_URL and front.has_cors(exchange.context, exchange.request):
        return
    raise Refused(
        f"A page of another site ({origin or 'unnamed'}) may not use this server. "
        "Send the request from a program, or let the page call a function URL with CORS settings."
    )


def _is_loopback(url: str) -> bool:
    try:
        name = urlsplit(url).hostname or ""
        return name == "localhost" or name.endswith(".localhost") or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _port(url: str) -> int | None:
    try:
        return urlsplit(url).port or 80  # clients leave out the port that HTTP has by default
    except ValueError:
        return None
