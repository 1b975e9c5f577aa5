"""A request to a function URL, answered. What goes wrong is JSON with a Message, as on AWS."""

import json

from werkzeug.wrappers import Request, Response

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError, InternalFailure
from sagelocal.core.json import Json
from sagelocal.services.awslambda.api import find
from sagelocal.services.awslambda.documents import URL, UrlConfig
from sagelocal.services.awslambda.errors import missing
from sagelocal.services.awslambda.invoke_api import MAX_PAYLOAD_BYTES, run
from sagelocal.services.awslambda.urls import access, cors, messages

PREFIX = "/_sagelocal/urls/"


def url_of(context: Context, identifier: str) -> str:
    """The address of a URL configuration; the port is the one this server has now."""
    return f"{context.url}{PREFIX}{identifier}/"


def has_cors(context: Context, request: Request) -> bool:
    """Whether the URL of a request has settings for pages of other sites."""
    config = _config(context, request)
    return config is not None and bool(config.get("Cors"))


def answer(context: Context, request: Request, access_key: str, request_id: str) -> Response:
    """The response to a request below PREFIX. `access_key`: whom its signature names, "" for none. Raises AwsError."""
    config = _config(context, request)
    if config is None:
        raise missing(f"There is no function URL {_identifier(request)}.")
    if cors.is_preflight(config, request):
        return cors.preflight(config, request)
    caller = access.check(context, config, find(context, config["_Function"]), access_key)
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
    return request.path.removeprefix(PREFIX).partition("/")[0]


def _invoked(context: Context, config: UrlConfig, request: Request, request_id: str, caller: Json | None) -> Response:
    path = request.environ.get("RAW_URI", request.path).partition("?")[0]
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
