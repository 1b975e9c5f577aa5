"""AWS Lambda: reserved concurrency (at most so many at a time) and provisioned concurrency (so many always ready)."""

from collections.abc import Mapping
from typing import Any

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.core.registry import on_start, operation
from sagelocal.services.awslambda import provisioned as lambda_provisioned
from sagelocal.services.awslambda.api import LATEST, find, moment, named, not_found, paged, parse_name
from sagelocal.services.awslambda.documents import FUNCTION, FunctionDocument
from sagelocal.services.awslambda.errors import conflict, invalid
from sagelocal.services.awslambda.pool import MAX_WORKERS


@operation("lambda", "PutFunctionConcurrency")
def put_function_concurrency(context: Context, request: Json) -> Json:
    """0 lets nothing run."""
    name, body = named(context, request)
    number = request["ReservedConcurrentExecutions"]
    provisioned = lambda_provisioned.total(body)
    if number < provisioned:
        raise invalid(
            f"ReservedConcurrentExecutions {number} should not be lower than function's total provisioned concurrency "
            f"[{provisioned}]."
        )
    limit = {"ReservedConcurrentExecutions": number}
    context.store.update(FUNCTION, name, {"Concurrency": limit})
    return limit


@operation("lambda", "GetFunctionConcurrency")
def get_function_concurrency(context: Context, request: Json) -> Mapping[str, Any]:
    return named(context, request)[1].get("Concurrency", {})


@operation("lambda", "DeleteFunctionConcurrency")
def delete_function_concurrency(context: Context, request: Json) -> None:
    name, _ = named(context, request)
    context.store.change(FUNCTION, name, lambda body: body.pop("Concurrency", None))


@operation("lambda", "PutProvisionedConcurrencyConfig")
def put_provisioned_concurrency_config(context: Context, request: Json) -> Json:
    name, qualifier = _qualified(request)
    body = find(context, name)
    number = request["ProvisionedConcurrentExecutions"]
    _check_provisioned(context, body, name, qualifier, number)
    config = {"Number": number, "LastModified": moment()}
    body = context.store.change(
        FUNCTION, name, lambda stored: stored.setdefault("Provisioned", {}).update({qualifier: config})
    )
    lambda_provisioned.apply(context, name, body)
    return _described(context, body, qualifier)


@operation("lambda", "GetProvisionedConcurrencyConfig")
def get_provisioned_concurrency_config(context: Context, request: Json) -> Json:
    name, qualifier = _qualified(request)
    body = find(context, name)
    if qualifier not in body.get("Provisioned", {}):
        message = "No Provisioned Concurrency Config found for this function"
        raise AwsError("ProvisionedConcurrencyConfigNotFoundException", message, 404)
    return _described(context, body, qualifier)


@operation("lambda", "ListProvisionedConcurrencyConfigs")
def list_provisioned_concurrency_configs(context: Context, request: Json) -> Json:
    _, body = named(context, request)
    arn = body["Configuration"]["FunctionArn"]
    found = [
        {"FunctionArn": f"{arn}:{qualifier}"} | _described(context, body, qualifier)
        for qualifier in body.get("Provisioned", {})
    ]
    return paged(found, request, "ProvisionedConcurrencyConfigs")


@operation("lambda", "DeleteProvisionedConcurrencyConfig")
def delete_provisioned_concurrency_config(context: Context, request: Json) -> None:
    name, qualifier = _qualified(request)
    find(context, name)
    body = context.store.change(FUNCTION, name, lambda stored: stored.get("Provisioned", {}).pop(qualifier, None))
    lambda_provisioned.apply(context, name, body)


@on_start
def start_provisioned(context: Context) -> None:
    """What was provisioned before the server stopped is provisioned again."""
    for name, body in context.store.items(FUNCTION):
        if body.get("Provisioned"):
            lambda_provisioned.apply(context, name, body)


def _qualified(request: Json) -> tuple[str, str]:
    name, qualifier = parse_name(request["FunctionName"], request.get("Qualifier"))
    if not qualifier:
        raise invalid("A Qualifier is needed: a version or an alias.")
    return name, qualifier


def _check_provisioned(context: Context, body: FunctionDocument, name: str, qualifier: str, number: int) -> None:
    """Raise the service's error for a version or alias that cannot have workers provisioned, or not so many."""
    alias = body["Aliases"].get(qualifier)
    version = alias["FunctionVersion"] if alias else qualifier
    provisioned = body.get("Provisioned", {})
    if version == LATEST:
        raise invalid("Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
    if version not in body["Versions"]:
        raise not_found(context, f"{name}:{qualifier}")
    if alias and version in provisioned:
        raise conflict(
            "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
        )
    pointed = (body["Aliases"][each]["FunctionVersion"] for each in provisioned if each in body["Aliases"])
    if not alias and version in pointed:
        raise conflict("Version is pointed by a Provisioned Concurrency alias")
    reserved = body.get("Concurrency", {}).get("ReservedConcurrentExecutions")
    all_provisioned = number + lambda_provisioned.total(body, without=qualifier)
    if reserved is not None and all_provisioned > reserved:
        raise invalid(
            "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
        )
    if all_provisioned > MAX_WORKERS:
        raise invalid(
            "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency "
            f"[{MAX_WORKERS}]."
        )


def _described(context: Context, body: FunctionDocument, qualifier: str) -> Json:
    config = body["Provisioned"][qualifier]
    state = lambda_provisioned.state(context, body, qualifier)
    done = state.ready >= config["Number"]
    return {
        "RequestedProvisionedConcurrentExecutions": config["Number"],
        "AllocatedProvisionedConcurrentExecutions": state.ready,
        "AvailableProvisionedConcurrentExecutions": state.ready,
        "Status": "READY" if done else "FAILED" if state.problem else "IN_PROGRESS",
        "LastModified": config["LastModified"],
        **({"StatusReason": state.problem} if state.problem and not done else {}),
    }
