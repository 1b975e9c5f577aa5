"""AWS Lambda: what becomes of asynchronous invocations: retries, how long an event waits, and destinations."""

import time
from collections.abc import Mapping
from typing import Any

from sagelocal.core.context import Context
from sagelocal.core.json import Json
from sagelocal.core.registry import operation
from sagelocal.services.awslambda import targets
from sagelocal.services.awslambda.api import LATEST, find, named, paged, parse_name, resolve
from sagelocal.services.awslambda.documents import FUNCTION
from sagelocal.services.awslambda.errors import missing

MEMBERS = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")


@operation("lambda", "PutFunctionEventInvokeConfig")
def put_function_event_invoke_config(context: Context, request: Json) -> Json:
    """Replaces the whole."""
    return _keep(context, request, {})


@operation("lambda", "UpdateFunctionEventInvokeConfig")
def update_function_event_invoke_config(context: Context, request: Json) -> Json:
    """Changes what is given."""
    return _keep(context, request, get_function_event_invoke_config(context, request))


@operation("lambda", "GetFunctionEventInvokeConfig")
def get_function_event_invoke_config(context: Context, request: Json) -> Json:
    name, qualifier = _named(request)
    configs = find(context, name).get("EventConfigs", {})
    if qualifier not in configs:
        arn = context.arn("lambda", f"function:{name}:{qualifier}")
        raise missing(f"The function {arn} doesn't have an EventInvokeConfig")
    return configs[qualifier]


@operation("lambda", "ListFunctionEventInvokeConfigs")
def list_function_event_invoke_configs(context: Context, request: Json) -> Json:
    _, body = named(context, request)
    return paged(list(body.get("EventConfigs", {}).values()), request, "FunctionEventInvokeConfigs")


@operation("lambda", "DeleteFunctionEventInvokeConfig")
def delete_function_event_invoke_config(context: Context, request: Json) -> None:
    get_function_event_invoke_config(context, request)
    name, qualifier = _named(request)
    context.store.change(FUNCTION, name, lambda body: body["EventConfigs"].pop(qualifier, None))


def _keep(context: Context, request: Json, before: Mapping[str, Any]) -> Json:
    name, qualifier = _named(request)
    body, configuration = resolve(context, request)
    given = {member: request[member] for member in MEMBERS if member in request}
    for destination in given.get("DestinationConfig", {}).values():
        if destination.get("Destination"):
            targets.check_destination(context, destination["Destination"], configuration["Role"])
    arn = f"{body['Configuration']['FunctionArn']}:{qualifier}"
    destinations: Json = {"DestinationConfig": {"OnSuccess": {}, "OnFailure": {}}}
    config = {**destinations, **before, **given, "FunctionArn": arn, "LastModified": time.time()}
    context.store.change(
        FUNCTION, name, lambda stored: stored.setdefault("EventConfigs", {}).update({qualifier: config})
    )
    return config


def _named(request: Json) -> tuple[str, str]:
    name, qualifier = parse_name(request["FunctionName"], request.get("Qualifier"))
    return name, qualifier or LATEST
