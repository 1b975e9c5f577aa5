"""The server's own pages: health, stop, the clock, and which permissions were used.

Health tells anybody that the server lives. All else is the account's owner's: a request must be signed with the owner's
key, for the service OWN_PAGE.
"""

import json

from werkzeug.wrappers import Request, Response

from sagelocal import VERSION
from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.gateway import verification
from sagelocal.gateway.exchange import OWN_PAGE, Exchange
from sagelocal.services.cloudwatch import clock
from sagelocal.services.iam import used

PREFIX = "/_sagelocal/"
HEALTH = f"{PREFIX}health"
STOP = f"{PREFIX}stop"
CLOCK = f"{PREFIX}clock"
USED = f"{PREFIX}iam/used"


def answer(exchange: Exchange) -> Response:
    """The response to a request below PREFIX. Raises AwsError for who may not ask."""
    request = exchange.request
    if request.path == HEALTH and request.method in ("GET", "HEAD"):
        return Response(f'{{"version": "{VERSION}"}}\n', content_type="application/json")
    caller = verification.identify(exchange, OWN_PAGE).caller
    if caller:
        raise AwsError("AccessDeniedException", f"{caller.arn} is not the account's owner, whose page this is.", 403)
    if request.path == STOP and request.method == "POST":
        exchange.stop()
        return Response("stopping\n")
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
