"""The server's own pages: health, stop, the clock, and which permissions were used."""

import json

from werkzeug.wrappers import Request, Response

from sagelocal import VERSION
from sagelocal.core.context import Context
from sagelocal.gateway.exchange import Exchange
from sagelocal.services.cloudwatch import clock
from sagelocal.services.iam import used

PREFIX = "/_sagelocal/"
HEALTH = f"{PREFIX}health"
STOP = f"{PREFIX}stop"
CLOCK = f"{PREFIX}clock"
USED = f"{PREFIX}iam/used"


def answer(exchange: Exchange) -> Response:
    """The response to a request below PREFIX."""
    request = exchange.request
    if request.path == STOP and request.method == "POST":
        exchange.stop()
        return Response("stopping\n")
    if request.path == HEALTH:
        return Response(f'{{"version": "{VERSION}"}}\n', content_type="application/json")
    if request.path == CLOCK:
        return _clock(exchange.context, request)
    if request.path == USED and request.method == "DELETE":
        used.record(exchange.context).forget()
        return Response("forgotten\n")
    if request.path == USED:
        return Response(json.dumps(used.used_statements(exchange.context)), content_type="application/json")
    return Response("not found\n", 404)


def _clock(context: Context, request: Request) -> Response:
    its_clock = clock.clock(context)
    if request.method == "POST":
        try:
            its_clock.speed = clock.parsed(request.values.get("speed", ""))
        except clock.BadSpeed as problem:
            return Response(f"{problem}\n", 400)
    return Response(json.dumps({"speed": its_clock.speed}), content_type="application/json")
