"""A request to a function URL, answered. What goes wrong is JSON with a Message, as on AWS."""

import json
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from werkzeug.wrappers import Request, Response

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError, InternalFailure
from sagelocal.core.json import Json
from sagelocal.services.awslambda.api import find
from sagelocal.services.awslambda.documents import URL, UrlConfig
from sagelocal.services.awslambda.errors import missing
from sagelocal.services.awslambda.invoke_api import MAX_PAYLOAD_BYTES, run
from sagelocal.services.awslambda.urls import access, cors, messages
from sagelocal.services.iam.sessions import Identity

PREFIX = "/_sagelocal/urls/"
OWN_NAME = re.compile(r"([a-z0-9]+)\.lambda-url\.[a-z0-9-]+\.localhost(:\d+)?", re.IGNORECASE | re.ASCII)


def url_of(context: Context, config: UrlConfig) -> str:
    """The address of a URL; the port is the one this server has now. A public one has a name of its own."""
    if config["AuthType"] == "NONE":
        return f"http://{config['_Id']}.lambda-url.{context.region}.localhost:{urlsplit(context.url).port}/"
    return f"{context.url}{PREFIX}{config['_Id']}/"


def is_for(request: Request) -> bool:
    """Whether a request is to a function URL: by its own name, or below PREFIX."""
    return _named(request) is not None or request.path.startswith(PREFIX)


def has_cors(context: Context, request: Request) -> bool:
    """Whether the URL of a request has settings for pages of other sites."""
    config = _config(context, request)
    return config is not None and bool(config.get("Cors"))


def answer(context: Context, request: Request, signer: Callable[[], Identity | None], request_id: str) -> Response:
    """The response to a request that `is_for` a function URL. `signer` verifies its signature, and gives None where
    there is none. Raises AwsError."""
    config = _config(context, request)
    if config is None:
        raise missing(f"There is no function URL {_identifier(request)}.")
    if cors.is_preflight(config, request):
        return cors.preflight(config, request)
    if config["AuthType"] == "NONE" and _named(request) is None:
        raise AwsError("AccessDeniedException", f"This URL is public, by its own name: {url_of(context, config)}", 403)
    caller = access.check(context, config, find(context, config["_Function"]), signer)
    return _finished(config, request, _invoked(context, config, request, request_id, caller), request_id)


def error(context: Context, request: Request, problem: AwsError, request_id: str) -> Response:
    """The response for an error."""
    if isinstance(problem, InternalFailure):
        response = messages.failed()
    else:
        response = Response(json.dumps({"Message": problem.message}), problem.status, content_type="application/json")
        response.headers["x-amzn-ErrorType"] = problem.code
    return _finished(_config(context, request), request, response, request_id)


def _finished(config: UrlConfig | None, request: Request, response: Response, request_id: str) -> Response:
    if config:
        cors.add_headers(config, request, response)
    response.headers["x-amzn-RequestId"] = request_id
    return response


def _config(context: Context, request: Request) -> UrlConfig | None:
    return context.store.get(URL, _identifier(request))


def _identifier(request: Request) -> str:
    return _named(request) or request.path.removeprefix(PREFIX).partition("/")[0]


def _named(request: Request) -> str | None:
    """The identifier in a request's Host header; as it is not in the path, no page of another address shares its
    origin."""
    found = OWN_NAME.fullmatch(request.environ.get("HTTP_HOST", ""))
    return found[1].lower() if found else None


def _invoked(context: Context, config: UrlConfig, request: Request, request_id: str, caller: Json | None) -> Response:
    path = request.environ.get("RAW_URI", request.path).partition("?")[0]
    if _named(request) is None:
        path = "/" + path.removeprefix(PREFIX).partition("/")[2]
    event = json.dumps(messages.event(context, config, request, path, request_id, caller), ensure_ascii=False)
    if len(event.encode()) > MAX_PAYLOAD_BYTES:
        raise AwsError("RequestEntityTooLargeException", "Request Entity Too Large", 413)
    function = {"FunctionName": config["_Function"]}
    if config["_Qualifier"]:
        function["Qualifier"] = config["_Qualifier"]
    outcome = run(context, function, event, request_id)
    if outcome.failed or len(outcome.payload.encode()) > MAX_PAYLOAD_BYTES:
        return messages.failed()
    return messages.response(outcome.payload)
