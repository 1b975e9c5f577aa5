"""AWS Lambda: function URLs, of a function or of one of its aliases.

The requests themselves are answered in urls/.
"""

import base64
import hashlib
from typing import cast

from sagelocal.core.context import Context
from sagelocal.core.json import Json
from sagelocal.core.registry import operation
from sagelocal.services.awslambda.api import LATEST, find, moment, named, not_found, paged, parse_name
from sagelocal.services.awslambda.documents import URL, UrlConfig
from sagelocal.services.awslambda.errors import conflict, invalid, missing
from sagelocal.services.awslambda.urls import front

MEMBERS = ("AuthType", "Cors", "InvokeMode")


@operation("lambda", "CreateFunctionUrlConfig")
def create_function_url_config(context: Context, request: Json) -> Json:
    name, qualifier = parse_name(request["FunctionName"], request.get("Qualifier"))
    body = find(context, name)
    if qualifier and qualifier not in body["Aliases"]:
        if qualifier == LATEST or qualifier in body["Versions"]:
            raise invalid("A function URL is for a function or an alias, not for a version.")
        raise not_found(context, f"{name}:{qualifier}")
    _check(request)
    identifier = _identifier(context, name, qualifier)
    if context.store.get(URL, identifier):
        raise conflict(f"Function URL already exists for {_arn(context, request)}")
    config: Json = {
        **{member: request[member] for member in MEMBERS if member in request},
        "FunctionArn": _arn(context, request),
        "InvokeMode": "BUFFERED",
        "CreationTime": moment(),
        "LastModifiedTime": moment(),
        "_Id": identifier,
        "_Function": name,
        "_Qualifier": qualifier,
    }
    document = cast(UrlConfig, config)
    context.store.put(URL, identifier, document)
    return _described(context, document)


@operation("lambda", "UpdateFunctionUrlConfig")
def update_function_url_config(context: Context, request: Json) -> Json:
    identifier = _found(context, request)["_Id"]
    _check(request)
    changes = {member: request[member] for member in MEMBERS if member in request}
    return _described(context, context.store.update(URL, identifier, changes | {"LastModifiedTime": moment()}))


@operation("lambda", "GetFunctionUrlConfig")
def get_function_url_config(context: Context, request: Json) -> Json:
    return _described(context, _found(context, request))


@operation("lambda", "ListFunctionUrlConfigs")
def list_function_url_configs(context: Context, request: Json) -> Json:
    name, _ = named(context, request)
    found = [_described(context, config) for config in context.store.list(URL) if config["_Function"] == name]
    return paged(found, request, "FunctionUrlConfigs")


@operation("lambda", "DeleteFunctionUrlConfig")
def delete_function_url_config(context: Context, request: Json) -> None:
    context.store.delete(URL, _found(context, request)["_Id"])


def _found(context: Context, request: Json) -> UrlConfig:
    name, qualifier = parse_name(request["FunctionName"], request.get("Qualifier"))
    find(context, name)
    config = context.store.get(URL, _identifier(context, name, qualifier))
    if config is None:
        raise missing("The resource you requested does not exist.")
    return config


def _check(request: Json) -> None:
    if request.get("InvokeMode") == "RESPONSE_STREAM":
        raise invalid("The embedded Lambda answers function URLs in one piece: InvokeMode must be BUFFERED.")


def _identifier(context: Context, name: str, qualifier: str | None) -> str:
    """32 letters and digits that stay the same for a function or alias."""
    digest = hashlib.sha256(f"{context.account}/{context.region}/{name}:{qualifier or ''}".encode()).digest()
    return base64.b32encode(digest[:20]).decode().lower()


def _arn(context: Context, request: Json) -> str:
    name, qualifier = parse_name(request["FunctionName"], request.get("Qualifier"))
    return context.arn("lambda", f"function:{name}:{qualifier}" if qualifier else f"function:{name}")


def _described(context: Context, config: UrlConfig) -> Json:
    return {**config, "FunctionUrl": front.url_of(context, config)}
