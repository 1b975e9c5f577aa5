"""AWS Lambda: Invoke."""

import base64
import json
import random
import uuid
from collections.abc import Mapping
from typing import Any

from sagelocal.core.context import Context, one_per_server
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json, read
from sagelocal.core.registry import on_start, on_stop, operation
from sagelocal.services.awslambda import queue as lambda_queue
from sagelocal.services.awslambda.api import LATEST, parse_name, resolve
from sagelocal.services.awslambda.documents import Configuration, FunctionDocument, QueuedEvent
from sagelocal.services.awslambda.errors import invalid
from sagelocal.services.awslambda.pool import Outcome, pool
from sagelocal.services.awslambda.process import Function
from sagelocal.services.awslambda.queue import Queue, Rules

MAX_PAYLOAD_BYTES = 6 << 20  # of a synchronous invocation, both ways
MAX_EVENT_BYTES = 1 << 20  # of an asynchronous one


@operation("lambda", "Invoke")
def invoke(context: Context, request: Json) -> Json:
    """RequestResponse waits for the answer, Event puts it on the queue and returns at once, DryRun only checks."""
    kind = request.get("InvocationType", "RequestResponse")
    event = _event(request.get("Payload") or b"{}", MAX_EVENT_BYTES if kind == "Event" else MAX_PAYLOAD_BYTES)
    request_id = context.request_id or str(uuid.uuid4())
    if kind == "RequestResponse":
        return _answer(request, run(context, request, event, request_id))
    resolve(context, request)
    _client_context(request)
    if kind == "Event":
        name, qualifier = parse_name(request["FunctionName"], request.get("Qualifier"))
        asked = {"FunctionName": name, "Qualifier": qualifier, "ClientContext": request.get("ClientContext")}
        queue(context).add(request_id, {"Event": event} | {k: v for k, v in asked.items() if v is not None})
        return {"StatusCode": 202, "Payload": b""}
    return {"StatusCode": 204}


def run(context: Context, request: Mapping[str, Any], event: str, request_id: str) -> Outcome:
    """Run one event for the function that a request names. Raises what `resolve` raises, TooManyRequestsException."""
    body, configuration = resolve(context, request)
    configuration = _drawn(body, request) or configuration
    limit = body.get("Concurrency", {}).get("ReservedConcurrentExecutions")
    arn = _invoked_arn(context, request)
    return pool(context).invoke(Function.of(configuration), event, request_id, arn, _client_context(request), limit)


@on_start
def resume_events(context: Context) -> None:
    queue(context).resume()


@on_stop
def stop_workers(context: Context) -> None:
    queue(context).wake()
    pool(context).stop_all()


@one_per_server
def queue(context: Context) -> Queue:
    """The queue of an account's events."""
    return Queue(
        context,
        rules=lambda entry: _rules(context, entry),
        run=lambda entry: run(context, entry, entry["Event"], entry["RequestId"]),
    )


def _rules(context: Context, entry: QueuedEvent) -> Rules:
    body, configuration = resolve(context, entry)
    qualifier = entry.get("Qualifier", LATEST)
    config: Mapping[str, Any] = body.get("EventConfigs", {}).get(qualifier) or {}
    destinations = config.get("DestinationConfig", {})
    return Rules(
        arn=f"{body['Configuration']['FunctionArn']}:{qualifier}",
        role=configuration["Role"],
        retries=config.get("MaximumRetryAttempts", lambda_queue.MAX_RETRIES),
        max_age=config.get("MaximumEventAgeInSeconds", lambda_queue.MAX_AGE),
        on_success=destinations.get("OnSuccess", {}).get("Destination"),
        on_failure=destinations.get("OnFailure", {}).get("Destination"),
        dead_letters=(configuration.get("DeadLetterConfig") or {}).get("TargetArn"),
        reserved=body.get("Concurrency", {}).get("ReservedConcurrentExecutions"),
    )


def _answer(request: Json, outcome: Outcome) -> Json:
    payload, failed = outcome.payload.encode(), outcome.failed
    if len(payload) > MAX_PAYLOAD_BYTES:
        message = f"Response payload size ({len(payload)} bytes) exceeded maximum allowed payload size"
        error = {
            "errorType": "Function.ResponseSizeTooLarge",
            "errorMessage": f"{message} ({MAX_PAYLOAD_BYTES} bytes).",
        }
        payload, failed = json.dumps(error).encode(), True
    answer = {"StatusCode": 200, "ExecutedVersion": outcome.version, "Payload": payload}
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
        read(text)
    except ValueError as problem:
        message = f"Could not parse request body into json: {problem}"
        raise AwsError("InvalidRequestContentException", message, 400) from None
    return text


def _drawn(body: FunctionDocument, request: Mapping[str, Any]) -> Configuration | None:
    """The configuration of the version that an alias with weights draws; None where it is the alias's own."""
    _, qualifier = parse_name(request["FunctionName"], request.get("Qualifier"))
    alias = body["Aliases"].get(qualifier or LATEST)
    routing = (alias["RoutingConfig"] if alias else None) or {}
    point = random.random()
    for version, weight in routing.get("AdditionalVersionWeights", {}).items():
        point -= weight
        if point < 0:
            return body["Versions"][version]
    return None


def _invoked_arn(context: Context, request: Mapping[str, Any]) -> str:
    name, qualifier = parse_name(request["FunctionName"], request.get("Qualifier"))
    arn = context.arn("lambda", f"function:{name}")
    return f"{arn}:{qualifier}" if qualifier and qualifier != LATEST else arn


def _client_context(request: Mapping[str, Any]) -> object:
    text = request.get("ClientContext")
    if not text:
        return None
    try:
        return read(base64.b64decode(text))
    except ValueError:
        raise invalid("Client context must be a valid Base64-encoded JSON object.") from None
