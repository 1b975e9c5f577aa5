"""AWS Lambda: what becomes of asynchronous invocations: retries, how long an event waits, and destinations."""

import time
from collections.abc import Mapping
from typing import Any, cast

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.core.registry import operation
from sagelocal.services.awslambda import targets
from sagelocal.services.awslambda.api import LATEST, find, paged, parse_name, resolve
from sagelocal.services.awslambda.documents import FUNCTION, EventConfig

MEMBERS = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")


@operation("lambda", "PutFunctionEventInvokeConfig")
def put_function_event_invoke_config(context: Context, request: Json) -> EventConfig:
    """Replaces the whole."""
    return _keep(context, request, {})


@operation("lambda", "UpdateFunctionEventInvokeConfig")
def update_function_event_invoke_config(context: Context, request: Json) -> EventConfig:
    """Changes what is given."""
    return _keep(context, request, _found(context, request))


@operation("lambda", "GetFunctionEventInvokeConfig")
def get_function_event_invoke_config(context: Context, request: Json) -> EventConfig:
    return _found(context, request)


@operation("lambda", "ListFunctionEventInvokeConfigs")
def list_function_event_invoke_configs(context: Context, request: Json) -> Json:
    body = find(context, parse_name(request["FunctionName"])[0])
    return paged(list(body.get("EventConfigs", {}).values()), request, "FunctionEventInvokeConfigs")


@operation("lambda", "DeleteFunctionEventInvokeConfig")
def delete_function_event_invoke_config(context: Context, request: Json) -> None:
    _found(context, request)
    name, qualifier = _named(request)
    context.store.change(FUNCTION, name, lambda body: body["EventConfigs"].pop(qualifier, None))


def _keep(context: Context, request: Json, before: Mapping[str, Any]) -> EventConfig:
    name, qualifier = _named(request)
    body, configuration = resolve(context, request)
    given = {member: request[member] for member in MEMBERS if member in request}
    for destination in given.get("DestinationConfig", {}).values():
        if destination.get("Destination"):
            targets.check_destination(context, destination["Destination"], configuration["Role"])
    arn = f"{body['Configuration']['FunctionArn']}:{qualifier}"
    destinations: Json = {"DestinationConfig": {"OnSuccess": {}, "OnFailure": {}}}
    about = {"FunctionArn": arn, "LastModified": time.time()}
    config = cast(EventConfig, {**destinations, **before, **given, **about})
    context.store.change(
        FUNCTION, name, lambda stored: stored.setdefault("EventConfigs", {}).update({qualifier: config})
    )
    return config


def _found(context: Context, request: Json) -> EventConfig:
    name, qualifier = _named(request)
    configs = find(context, name).get("EventConfigs", {})
    if qualifier not in configs:
        arn = context.arn("lambda", f"function:{name}:{qualifier}")
        message = f"The function {arn} doesn't have an EventInvokeConfig"
        raise AwsError("ResourceNotFoundException", message, 404)
    return configs[qualifier]


def _named(request: Json) -> tuple[str, str]:
    name, qualifier = parse_name(request["FunctionName"], request.get("Qualifier"))
    return name, qualifier or LATEST
