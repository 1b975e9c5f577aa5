"""AWS Lambda: Invoke."""

import base64
import json
import random
import uuid
from pathlib import Path

from embedded.context import Context
from embedded.errors import AwsError
from embedded.jobs.lambda_pool import Function, Outcome, pool
from embedded.services import on_stop, operation
from embedded.services.awslambda import LATEST, invalid, parse_name, resolve

MAX_PAYLOAD_BYTES = 6 << 20  # of a synchronous invocation, both ways
MAX_EVENT_BYTES = 1 << 20  # of an asynchronous one


@operation("lambda", "Invoke")
def invoke(context: Context, request: dict) -> dict:
    """RequestResponse waits for the answer, Event returns at once (and is not retried), DryRun only checks."""
    kind = request.get("InvocationType", "RequestResponse")
    event = _event(request.get("Payload") or b"{}", MAX_EVENT_BYTES if kind == "Event" else MAX_PAYLOAD_BYTES)
    body, configuration = resolve(context, _routed(context, request))
    if kind == "DryRun":
        return {"StatusCode": 204}
    call = (
        *(_function(configuration), event, str(uuid.uuid4()), _invoked_arn(context, request)),
        *(_client_context(request), body.get("Concurrency", {}).get("ReservedConcurrentExecutions")),
    )
    if kind == "Event":
        context.spawn(f"invoke {configuration['FunctionName']}", pool(context).invoke, *call)
        return {"StatusCode": 202, "Payload": b""}
    return _answer(request, configuration["Version"], pool(context).invoke(*call))


@on_stop
def stop_workers(context: Context) -> None:
    pool(context).stop_all()


def _answer(request: dict, version: str, outcome: Outcome) -> dict:
    payload, failed = outcome.payload.encode(), outcome.failed
    if len(payload) > MAX_PAYLOAD_BYTES:
        message = f"Response payload size ({len(payload)} bytes) exceeded maximum allowed payload size"
        error = {
            "errorType": "Function.ResponseSizeTooLarge",
            "errorMessage": f"{message} ({MAX_PAYLOAD_BYTES} bytes).",
        }
        payload, failed = json.dumps(error).encode(), True
    answer = {"StatusCode": 200, "ExecutedVersion": version, "Payload": payload}
    if failed:
        answer["FunctionError"] = "Unhandled"
    if request.get("LogType") == "Tail":
        answer["LogResult"] = base64.b64encode(outcome.log_tail).decode()
    return answer


def _event(payload: bytes, limit: int) -> str:
    if len(payload) > limit:
        message = f"{len(payload)} byte payload is too large for the invocation type (limit {limit} bytes)"
        raise AwsError("RequestTooLargeException", message, 413)
    try:
        text = payload.decode()
        json.loads(text)
    except ValueError as problem:
        message = f"Could not parse request body into json: {problem}"
        raise AwsError("InvalidRequestContentException", message, 400) from None
    return text


def _routed(context: Context, request: dict) -> dict:
    """The request with the version that an alias with weights chooses for it."""
    name, qualifier = parse_name(request["FunctionName"], request.get("Qualifier"))
    body, _ = resolve(context, request)
    alias = body["Aliases"].get(qualifier) or {}
    weights = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    point = random.random()
    for version, weight in weights.items():
        point -= weight
        if point < 0:
            return {"FunctionName": name, "Qualifier": version}
    return request


def _function(configuration: dict) -> Function:
    variables = (configuration.get("Environment") or {}).get("Variables") or {}
    return Function(
        name=configuration["FunctionName"],
        version=configuration["Version"],
        handler=configuration["Handler"],
        runtime=configuration["Runtime"],
        code=Path(configuration["_Code"]),
        role=configuration["Role"],
        timeout=configuration["Timeout"],
        memory=configuration["MemorySize"],
        environment=tuple(sorted(variables.items())),
        revision=configuration["RevisionId"],
    )


def _invoked_arn(context: Context, request: dict) -> str:
    name, qualifier = parse_name(request["FunctionName"], request.get("Qualifier"))
    arn = context.arn("lambda", f"function:{name}")
    return f"{arn}:{qualifier}" if qualifier and qualifier != LATEST else arn


def _client_context(request: dict) -> object:
    text = request.get("ClientContext")
    if not text:
        return None
    try:
        return json.loads(base64.b64decode(text))
    except ValueError:
        raise invalid("Client context must be a valid Base64-encoded JSON object.") from None
