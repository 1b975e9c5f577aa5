"""AWS Lambda: aliases of versions, and the permissions that are kept with a function."""

import json
import uuid

from embedded.context import Context
from embedded.errors import AwsError
from embedded.services import operation
from embedded.services.awslambda import KIND, LATEST, check_revision, find, not_found, parse_name


@operation("lambda", "CreateAlias")
def create_alias(context: Context, request: dict) -> dict:
    name, _ = parse_name(request["FunctionName"])
    body = find(context, name)
    if request["Name"] in body["Aliases"]:
        arn = context.arn("lambda", f"function:{name}:{request['Name']}")
        raise AwsError("ResourceConflictException", f"Alias already exists: {arn}", 409)
    return _put(context, name, request["Name"], body, request, {})


@operation("lambda", "UpdateAlias")
def update_alias(context: Context, request: dict) -> dict:
    name, _ = parse_name(request["FunctionName"])
    alias = get_alias(context, request)
    check_revision(alias, request)
    return _put(context, name, request["Name"], find(context, name), request, alias)


@operation("lambda", "GetAlias")
def get_alias(context: Context, request: dict) -> dict:
    name, _ = parse_name(request["FunctionName"])
    aliases = find(context, name)["Aliases"]
    if request["Name"] not in aliases:
        arn = context.arn("lambda", f"function:{name}:{request['Name']}")
        raise AwsError("ResourceNotFoundException", f"Cannot find alias arn: {arn}", 404)
    return aliases[request["Name"]]


@operation("lambda", "ListAliases")
def list_aliases(context: Context, request: dict) -> dict:
    aliases = find(context, parse_name(request["FunctionName"])[0])["Aliases"].values()
    wanted = request.get("FunctionVersion")
    return {"Aliases": [alias for alias in aliases if wanted in (None, alias["FunctionVersion"])]}


@operation("lambda", "DeleteAlias")
def delete_alias(context: Context, request: dict) -> None:
    name, _ = parse_name(request["FunctionName"])
    find(context, name)
    context.store.change(KIND, name, lambda body: body["Aliases"].pop(request["Name"], None))


@operation("lambda", "AddPermission")
def add_permission(context: Context, request: dict) -> dict:
    """Kept and given back; nothing is enforced here."""
    name, qualifier = parse_name(request["FunctionName"], request.get("Qualifier"))
    body = find(context, name)
    if request["StatementId"] in body["Policy"]:
        message = f"The statement id ({request['StatementId']}) provided already exists."
        raise AwsError("ResourceConflictException", message, 409)
    principal = request["Principal"]
    conditions = {}
    if "SourceArn" in request:
        conditions["ArnLike"] = {"AWS:SourceArn": request["SourceArn"]}
    if "SourceAccount" in request:
        conditions["StringEquals"] = {"AWS:SourceAccount": request["SourceAccount"]}
    statement = {
        "Sid": request["StatementId"],
        "Effect": "Allow",
        "Principal": {"Service": principal} if principal.endswith(".amazonaws.com") else {"AWS": principal},
        "Action": request["Action"],
        "Resource": body["Configuration"]["FunctionArn"] + (f":{qualifier}" if qualifier else ""),
        **({"Condition": conditions} if conditions else {}),
    }
    context.store.change(KIND, name, lambda stored: stored["Policy"].update({statement["Sid"]: statement}))
    return {"Statement": json.dumps(statement)}


@operation("lambda", "RemovePermission")
def remove_permission(context: Context, request: dict) -> None:
    name, _ = parse_name(request["FunctionName"])
    if request["StatementId"] not in find(context, name)["Policy"]:
        message = f"Statement {request['StatementId']} is not found in resource policy."
        raise AwsError("ResourceNotFoundException", message, 404)
    context.store.change(KIND, name, lambda body: body["Policy"].pop(request["StatementId"], None))


@operation("lambda", "GetPolicy")
def get_policy(context: Context, request: dict) -> dict:
    body = find(context, parse_name(request["FunctionName"])[0])
    if not body["Policy"]:
        raise AwsError("ResourceNotFoundException", "The resource you requested does not exist.", 404)
    document = {"Version": "2012-10-17", "Id": "default", "Statement": list(body["Policy"].values())}
    return {"Policy": json.dumps(document), "RevisionId": body["Configuration"]["RevisionId"]}


def _put(context: Context, name: str, alias: str, body: dict, request: dict, before: dict) -> dict:
    version = request.get("FunctionVersion", before.get("FunctionVersion"))
    for wanted in (version, *request.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})):
        if wanted != LATEST and wanted not in body["Versions"]:
            raise not_found(context, f"{name}:{wanted}")
    content = {
        "AliasArn": context.arn("lambda", f"function:{name}:{alias}"),
        "Name": alias,
        "FunctionVersion": version,
        "Description": request.get("Description", before.get("Description", "")),
        "RoutingConfig": request.get("RoutingConfig", before.get("RoutingConfig")),
        "RevisionId": str(uuid.uuid4()),
    }
    context.store.change(KIND, name, lambda stored: stored["Aliases"].update({alias: content}))
    return content
