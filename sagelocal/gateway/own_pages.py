"""The server's own pages: health, stop, the clock, which permissions were used, and what is old enough to go.

Health tells anybody that the server lives. All else is the account's owner's: a request must be signed with the owner's
key, for the service OWN_PAGE.
"""

import json
import time

from werkzeug.wrappers import Request, Response

from sagelocal import VERSION
from sagelocal.core import pruning
from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.pruning import Wanted
from sagelocal.gateway import verification
from sagelocal.gateway.exchange import OWN_PAGE, Exchange
from sagelocal.services.cloudwatch import clock
from sagelocal.services.iam import used

PREFIX = "/_sagelocal/"
HEALTH = f"{PREFIX}health"
STOP = f"{PREFIX}stop"
CLOCK = f"{PREFIX}clock"
USED = f"{PREFIX}iam/used"
PRUNE = f"{PREFIX}prune"


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
    if request.path == PRUNE and request.method in ("GET", "POST"):
        return _prune(exchange.context, request)
    return Response("not found\n", 404)


def _prune(context: Context, request: Request) -> Response:
    """GET tells what would go, POST removes it: all but `keep` executions of each pipeline, older than `seconds`."""
    keep, seconds = request.args.get("keep", type=int), request.args.get("seconds", type=float)
    if keep is None or seconds is None or min(keep, seconds) < 0:
        return Response("keep and seconds must be numbers from 0\n", 400)
    found = pruning.prune(context, Wanted(time.time() - seconds, keep), really=request.method == "POST")
    return Response(json.dumps(found), content_type="application/json")


def _clock(context: Context, request: Request) -> Response:
    its_clock = clock.clock(context)
    if request.method == "POST":
        try:
            its_clock.speed = clock.parsed(request.values.get("speed", ""))
        except clock.BadSpeed as problem:
            return Response(f"{problem}\n", 400)
    return Response(json.dumps({"speed": its_clock.speed}), content_type="application/json")
