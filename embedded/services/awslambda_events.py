"""AWS Lambda: what becomes of asynchronous invocations: retries, how long an event waits, and destinations.

A function's document has `EventConfigs`: $LATEST, version or alias -> what Put… was given, with LastModified.
"""

import time

from embedded.context import Context
from embedded.errors import AwsError
from embedded.jobs import lambda_targets
from embedded.services import operation
from embedded.services.awslambda import KIND, LATEST, find, paged, parse_name, resolve

MEMBERS = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")


@operation("lambda", "PutFunctionEventInvokeConfig")
def put_function_event_invoke_config(context: Context, request: dict) -> dict:
    """Replaces the whole."""
    return _keep(context, request, {})


@operation("lambda", "UpdateFunctionEventInvokeConfig")
def update_function_event_invoke_config(context: Context, request: dict) -> dict:
    """Changes what is given."""
    return _keep(context, request, _found(context, request))


@operation("lambda", "GetFunctionEventInvokeConfig")
def get_function_event_invoke_config(context: Context, request: dict) -> dict:
    return _found(context, request)


@operation("lambda", "ListFunctionEventInvokeConfigs")
def list_function_event_invoke_configs(context: Context, request: dict) -> dict:
    body = find(context, parse_name(request["FunctionName"])[0])
    return paged(list(body.get("EventConfigs", {}).values()), request, "FunctionEventInvokeConfigs")


@operation("lambda", "DeleteFunctionEventInvokeConfig")
def delete_function_event_invoke_config(context: Context, request: dict) -> None:
    _found(context, request)
    name, qualifier = _named(request)
    context.store.change(KIND, name, lambda body: body["EventConfigs"].pop(qualifier, None))


def _keep(context: Context, request: dict, before: dict) -> dict:
    name, qualifier = _named(request)
    body, configuration = resolve(context, request)
    given = {member: request[member] for member in MEMBERS if member in request}
    for destination in given.get("DestinationConfig", {}).values():
        if destination.get("Destination"):
            lambda_targets.check_destination(context, destination["Destination"], configuration["Role"])
    arn = f"{body['Configuration']['FunctionArn']}:{qualifier}"
    config = {"DestinationConfig": {"OnSuccess": {}, "OnFailure": {}}} | before | given
    config |= {"FunctionArn": arn, "LastModified": time.time()}
    context.store.change(KIND, name, lambda stored: stored.setdefault("EventConfigs", {}).update({qualifier: config}))
    return config


def _found(context: Context, request: dict) -> dict:
    name, qualifier = _named(request)
    configs = find(context, name).get("EventConfigs", {})
    if qualifier not in configs:
        arn = context.arn("lambda", f"function:{name}:{qualifier}")
        message = f"The function {arn} doesn't have an EventInvokeConfig"
        raise AwsError("ResourceNotFoundException", message, 404)
    return configs[qualifier]


def _named(request: dict) -> tuple[str, str]:
    name, qualifier = parse_name(request["FunctionName"], request.get("Qualifier"))
    return name, qualifier or LATEST
