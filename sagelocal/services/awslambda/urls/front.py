"""A request to a function URL, answered. What goes wrong is JSON with a Message, as on AWS."""

import json
import traceback
import uuid
from typing import Any

from werkzeug.wrappers import Request, Response

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.services.awslambda.api import URL, find
from sagelocal.services.awslambda.invoke_api import MAX_PAYLOAD_BYTES, run
from sagelocal.services.awslambda.urls import access, cors, messages

PREFIX = "/_sagelocal/urls/"


def url_of(context: Context, identifier: str) -> str:
    """The address of a URL configuration; the port is the one this server has now."""
    return f"{context.url}{PREFIX}{identifier}/"


def answer(context: Context, request: Request, access_key: str) -> Response:
    """The response to a request below PREFIX. `access_key`: whom its signature names, "" for none."""
    identifier = request.path.removeprefix(PREFIX).partition("/")[0]
    config = context.store.get(URL, identifier)
    request_id = str(uuid.uuid4())
    if config is None:
        response = _refused(404, f"There is no function URL {identifier}.")
    elif cors.is_preflight(config, request):
        return cors.preflight(config, request)
    else:
        try:
            caller = access.check(context, config, find(context, config["_Function"]), access_key)
            response = _invoked(context, config, request, request_id, caller)
        except AwsError as problem:
            response = _refused(problem.status, problem.message)
            response.headers["x-amzn-ErrorType"] = problem.code
        except Exception:
            print(f"{config['FunctionArn']}:\n{traceback.format_exc()}", flush=True)
            response = messages.failed()
        cors.add_headers(config, request, response)
    response.headers["x-amzn-RequestId"] = request_id
    return response


def _invoked(
    context: Context, config: dict[str, Any], request: Request, request_id: str, caller: dict[str, Any] | None
) -> Response:
    path = request.environ.get("RAW_URI", request.path).partition("?")[0]
    path = "/" + path.removeprefix(PREFIX).partition("/")[2]
    event = json.dumps(messages.event(context, config, request, path, request_id, caller), ensure_ascii=False)
    if len(event.encode()) > MAX_PAYLOAD_BYTES:
        raise AwsError("RequestEntityTooLargeException", "Request Entity Too Large", 413)
    function = {"FunctionName": config["_Function"]}
    if config["_Qualifier"]:
        function["Qualifier"] = config["_Qualifier"]
    _, outcome = run(context, function, event, request_id)
    if outcome.failed or len(outcome.payload.encode()) > MAX_PAYLOAD_BYTES:
        return messages.failed()
    return messages.response(outcome.payload)


def _refused(status: int, message: str) -> Response:
    return Response(json.dumps({"Message": message}), status, content_type="application/json")
