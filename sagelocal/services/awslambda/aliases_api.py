"""AWS Lambda: aliases of versions, and the permissions that are kept with a function."""

import json
import uuid
from collections.abc import Mapping
from typing import Any, cast

from sagelocal.core.context import Context
from sagelocal.core.json import Json
from sagelocal.core.registry import operation
from sagelocal.services.awslambda import api, provisioned
from sagelocal.services.awslambda.documents import FUNCTION, Alias, FunctionDocument
from sagelocal.services.awslambda.errors import conflict, invalid, missing
from sagelocal.services.iam import enforcement

CONDITIONS = (  # a member of AddPermission, and the operator and key that it becomes
    ("SourceArn", "ArnLike", "AWS:SourceArn"),
    ("SourceAccount", "StringEquals", "AWS:SourceAccount"),
    ("PrincipalOrgID", "StringEquals", "aws:PrincipalOrgID"),
    ("EventSourceToken", "StringEquals", "lambda:EventSourceToken"),
    ("FunctionUrlAuthType", "StringEquals", "lambda:FunctionUrlAuthType"),
    ("InvokedViaFunctionUrl", "Bool", "lambda:InvokedViaFunctionUrl"),
)


@operation("lambda", "CreateAlias")
def create_alias(context: Context, request: Json) -> Alias:
    name, body = api.named(context, request)
    if request["Name"] in body["Aliases"]:
        arn = context.arn("lambda", f"function:{name}:{request['Name']}")
        raise conflict(f"Alias already exists: {arn}")
    return _put(context, name, request["Name"], body, request, {})


@operation("lambda", "UpdateAlias")
def update_alias(context: Context, request: Json) -> Alias:
    name, body = api.named(context, request)
    alias = get_alias(context, request)
    api.check_revision(alias, request)
    return _put(context, name, request["Name"], body, request, alias)


@operation("lambda", "GetAlias")
def get_alias(context: Context, request: Json) -> Alias:
    name, body = api.named(context, request)
    if request["Name"] not in body["Aliases"]:
        arn = context.arn("lambda", f"function:{name}:{request['Name']}")
        raise missing(f"Cannot find alias arn: {arn}")
    return body["Aliases"][request["Name"]]


@operation("lambda", "ListAliases")
def list_aliases(context: Context, request: Json) -> Json:
    aliases, wanted = api.named(context, request)[1]["Aliases"].values(), request.get("FunctionVersion")
    return {"Aliases": [alias for alias in aliases if wanted in (None, alias["FunctionVersion"])]}


@operation("lambda", "DeleteAlias")
def delete_alias(context: Context, request: Json) -> None:
    name, _ = api.named(context, request)
    with context.store.transaction():
        body = context.store.change(FUNCTION, name, lambda stored: api.forget(stored, request["Name"]))
        api.delete_urls(context, name, request["Name"])
    provisioned.apply(context, name, body)


@operation("lambda", "AddPermission")
def add_permission(context: Context, request: Json) -> Json:
    """Roles that call the function, and its URLs, obey it; services that call it are not asked."""
    name, qualifier = api.parse_name(request["FunctionName"], request.get("Qualifier"))
    body = api.find(context, name)
    if request["StatementId"] in body["Policy"]:
        raise conflict(f"The statement id ({request['StatementId']}) provided already exists.")
    conditions = _conditions(request)
    statement = {
        "Sid": request["StatementId"],
        "Effect": "Allow",
        "Principal": _principal(request["Principal"]),
        "Action": request["Action"],
        "Resource": body["Configuration"]["FunctionArn"] + (f":{qualifier}" if qualifier else ""),
        **({"Condition": conditions} if conditions else {}),
    }
    context.store.change(FUNCTION, name, lambda stored: stored["Policy"].update({statement["Sid"]: statement}))
    return {"Statement": json.dumps(statement)}


@operation("lambda", "RemovePermission")
def remove_permission(context: Context, request: Json) -> None:
    name, body = api.named(context, request)
    if request["StatementId"] not in body["Policy"]:
        raise missing(f"Statement {request['StatementId']} is not found in resource policy.")
    context.store.change(FUNCTION, name, lambda stored: stored["Policy"].pop(request["StatementId"], None))


@operation("lambda", "GetPolicy")
def get_policy(context: Context, request: Json) -> Json:
    _, body = api.named(context, request)
    if not body["Policy"]:
        raise missing("The resource you requested does not exist.")
    return {"Policy": _document(body), "RevisionId": body["Configuration"]["RevisionId"]}


@enforcement.policy_of("lambda")
def policy_of_function(context: Context, arn: str) -> str:
    """The policy of the function that an ARN is about."""
    body = context.store.get(FUNCTION, arn.split(":")[6]) if arn.count(":") >= 6 else None
    return _document(body) if body and body["Policy"] else ""


def _document(body: FunctionDocument) -> str:
    return json.dumps({"Version": "2012-10-17", "Id": "default", "Statement": list(body["Policy"].values())})


def _principal(given: str) -> str | dict[str, str]:
    if given == "*":
        return "*"
    if given.isdigit():
        return {"AWS": f"arn:aws:iam::{given}:root"}
    return {"Service": given} if given.endswith(".amazonaws.com") else {"AWS": given}


def _conditions(request: Json) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for member, operator, key in CONDITIONS:
        if member in request:
            value = request[member]
            found.setdefault(operator, {})[key] = str(value).lower() if isinstance(value, bool) else value
    return found


def _put(
    context: Context, name: str, alias: str, body: FunctionDocument, request: Json, before: Mapping[str, Any]
) -> Alias:
    version = request.get("FunctionVersion") or before["FunctionVersion"]
    weights = request.get("RoutingConfig", before.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    for wanted in (version, *weights):
        if wanted != api.LATEST and wanted not in body["Versions"]:
            raise api.not_found(context, f"{name}:{wanted}")
    _check_weights(version, weights)
    if version == api.LATEST and alias in body.get("Provisioned", {}):
        raise invalid(f"Alias {alias} has provisioned concurrency, so it cannot point to {api.LATEST}.")
    described: Json = {
        "AliasArn": context.arn("lambda", f"function:{name}:{alias}"),
        "Name": alias,
        "FunctionVersion": version,
        "Description": request.get("Description", before.get("Description", "")),
        "RoutingConfig": {"AdditionalVersionWeights": weights} if weights else None,
        "RevisionId": str(uuid.uuid4()),
    }
    content = cast(Alias, described)
    body = context.store.change(FUNCTION, name, lambda stored: stored["Aliases"].update({alias: content}))
    provisioned.apply(context, name, body)
    return content


def _check_weights(version: str, weights: dict[str, float]) -> None:
    """Source: https://docs.aws.amazon.com/lambda/latest/dg/configuring-alias-routing.html"""
    if len(weights) > 1:
        raise invalid("Number of items in AdditionalVersionWeights cannot be greater than 1")
    if weights and api.LATEST in (version, *weights):
        raise invalid("$LATEST is not supported for an alias pointing to more than 1 version")
    if version in weights:
        raise invalid(
            f"Invalid function version {version}. Function version {version} is already included in routing "
            "configuration."
        )
