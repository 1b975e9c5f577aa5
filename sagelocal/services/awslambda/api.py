"""AWS Lambda: functions and versions. Aliases, concurrency, invocations, events and URLs: *_api.py.

What is kept of a function is in documents.py.
"""

import re
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, cast

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.core.numbers import is_whole
from sagelocal.core.registry import operation
from sagelocal.core.store import AlreadyExists, amend
from sagelocal.services.awslambda import code as lambda_code
from sagelocal.services.awslambda import provisioned, targets
from sagelocal.services.awslambda.documents import FUNCTION, URL, Alias, Configuration, FunctionDocument
from sagelocal.services.awslambda.errors import conflict, invalid, missing
from sagelocal.services.awslambda.pool import pool

LATEST = "$LATEST"

CONFIGURABLE = (
    *("Role", "Handler", "Description", "Timeout", "VpcConfig", "MemorySize", "Environment", "Runtime", "Layers"),
    *("DeadLetterConfig", "KMSKeyArn", "TracingConfig", "FileSystemConfigs", "EphemeralStorage", "LoggingConfig"),
)
RESERVED_VARIABLES = {  # https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    *("_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV"),
    *("AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION"),
    *("AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME"),
    *("AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_RUNTIME_API"),
    *("LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR"),
}


@operation("lambda", "CreateFunction")
def create_function(context: Context, request: Json) -> Configuration:
    name, _ = parse_name(request["FunctionName"])
    if context.store.get(FUNCTION, name):
        raise conflict(f"Function already exist: {name}")
    _check_configuration(request)
    targets.check_dead_letters(context, request.get("DeadLetterConfig"), request["Role"])
    for member in ("Runtime", "Handler"):
        if member not in request:
            raise invalid(f"{member} is needed for functions from a zip.")
    code = lambda_code.unpack(context, name, request["Code"])
    described: Json = {
        "FunctionName": name,
        "FunctionArn": context.arn("lambda", f"function:{name}"),
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "TracingConfig": {"Mode": "PassThrough"},
        "EphemeralStorage": {"Size": 512},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
        **{member: request[member] for member in CONFIGURABLE if member in request},
        "Layers": [{"Arn": arn} for arn in request.get("Layers", [])] or None,
        "Version": LATEST,
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "PackageType": "Zip",
        "Architectures": request.get("Architectures", ["x86_64"]),
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        **_of_code(code),
        **_touched(),
    }
    configuration = cast(Configuration, described)
    body: FunctionDocument = {
        "Configuration": configuration,
        "Versions": {},
        "Aliases": {},
        "Tags": request.get("Tags", {}),
        "Policy": {},
    }
    try:
        context.store.insert(FUNCTION, name, body)
    except AlreadyExists:
        raise conflict(f"Function already exist: {name}") from None
    pool(context).current(name, configuration["RevisionId"])
    return publish_version(context, {"FunctionName": name}) if request.get("Publish") else configuration


@operation("lambda", "UpdateFunctionCode")
def update_function_code(context: Context, request: Json) -> Configuration:
    name, body = named(context, request)
    check_revision(body["Configuration"], request)
    code = lambda_code.unpack(context, name, request)
    if request.get("DryRun"):
        return cast(Configuration, {**body["Configuration"], **_of_code(code)})
    changes = _of_code(code) | ({"Architectures": request["Architectures"]} if "Architectures" in request else {})
    configuration = _changed(context, name, changes)
    return publish_version(context, {"FunctionName": name}) if request.get("Publish") else configuration


@operation("lambda", "UpdateFunctionConfiguration")
def update_function_configuration(context: Context, request: Json) -> Configuration:
    name, body = named(context, request)
    check_revision(body["Configuration"], request)
    _check_configuration(request)
    role = request.get("Role", body["Configuration"]["Role"])
    targets.check_dead_letters(context, request.get("DeadLetterConfig"), role)
    changes = {member: request[member] for member in CONFIGURABLE if member in request}
    if "Layers" in changes:
        changes["Layers"] = [{"Arn": arn} for arn in changes["Layers"]]
    return _changed(context, name, changes)


@operation("lambda", "GetFunction")
def get_function(context: Context, request: Json) -> Json:
    body, configuration = resolve(context, request)
    answer: Json = {"Configuration": configuration, "Code": {"RepositoryType": "S3"}, "Tags": body["Tags"] or None}
    if "Concurrency" in body:
        answer["Concurrency"] = body["Concurrency"]
    return answer


@operation("lambda", "GetFunctionConfiguration")
def get_function_configuration(context: Context, request: Json) -> Configuration:
    return resolve(context, request)[1]


@operation("lambda", "ListFunctions")
def list_functions(context: Context, request: Json) -> Json:
    functions = context.store.list(FUNCTION)
    configurations = [body["Configuration"] for body in functions]
    if request.get("FunctionVersion") == "ALL":
        configurations += [version for body in functions for version in body["Versions"].values()]
    return paged(sorted(configurations, key=lambda c: c["FunctionArn"]), request, "Functions")


@operation("lambda", "DeleteFunction")
def delete_function(context: Context, request: Json) -> Json:
    name, qualifier = parse_name(request["FunctionName"], request.get("Qualifier"))
    body = find(context, name)
    if qualifier:
        if qualifier == LATEST or qualifier in body["Aliases"]:
            raise invalid("Only a version can be deleted by its qualifier; leave it out to delete the function.")
        used = [alias for alias, content in body["Aliases"].items() if content["FunctionVersion"] == qualifier]
        if used:
            raise conflict(f"Version {qualifier} is used by the aliases {', '.join(used)}.")
        _delete_version(context, name, qualifier)
        return {"StatusCode": 204}
    with context.store.transaction():
        context.store.delete(FUNCTION, name)
        delete_urls(context, name)
    pool(context).current(name, None)
    provisioned.apply(context, name, None)
    shutil.rmtree(context.state_dir / "lambda" / name, ignore_errors=True)
    return {"StatusCode": 204}


@operation("lambda", "PublishVersion")
def publish_version(context: Context, request: Json) -> Configuration:
    """A version of what $LATEST is now; the last one again when nothing has changed since."""
    name, body = named(context, request)
    latest = body["Configuration"]
    check_revision(latest, request)
    if request.get("CodeSha256", latest["CodeSha256"]) != latest["CodeSha256"]:
        raise invalid(f"CodeSha256 ({request['CodeSha256']}) is different from current CodeSha256 in $LATEST.")

    def publish(stored: FunctionDocument) -> None:
        newest = max(stored["Versions"], key=int, default=None)
        if newest and stored["Versions"][newest]["_PublishedFrom"] == latest["RevisionId"]:
            stored["_Published"] = newest
            return
        number = str(stored.get("_LastVersion", 0) + 1)
        stored["_LastVersion"] = int(number)
        stored["_Published"] = number
        stored["Versions"][number] = {
            **latest,
            "Version": number,
            "FunctionArn": f"{latest['FunctionArn']}:{number}",
            "Description": request.get("Description", latest["Description"]),
            "RevisionId": str(uuid.uuid4()),
            "_PublishedFrom": latest["RevisionId"],
        }

    stored = context.store.change(FUNCTION, name, publish)
    return stored["Versions"][stored["_Published"]]


@operation("lambda", "ListVersionsByFunction")
def list_versions_by_function(context: Context, request: Json) -> Json:
    _, body = named(context, request)
    return paged([body["Configuration"], *body["Versions"].values()], request, "Versions")


def parse_name(given: str, qualifier: str | None = None) -> tuple[str, str | None]:
    """(name, version or alias) of `name`, `name:qualifier`, a partial or a full ARN. Raises InvalidParameterValue…"""
    parts = given.split(":")
    rest = parts[parts.index("function") + 1 :] if "function" in parts[:-1] else parts
    name, within = rest[0], rest[1] if len(rest) == 2 else None
    if len(rest) > 2 or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise invalid(f"{given!r} names no function.")
    if qualifier and within and qualifier != within:
        raise invalid("The derived qualifier from the function name does not match the specified qualifier.")
    return name, qualifier or within


def find(context: Context, name: str) -> FunctionDocument:
    """A function's document. Raises ResourceNotFoundException."""
    body = context.store.get(FUNCTION, name)
    if body is None:
        raise not_found(context, name)
    return body


def named(context: Context, request: Json) -> tuple[str, FunctionDocument]:
    """(name, document) of the function that a request names. Raises ResourceNotFoundException."""
    name, _ = parse_name(request["FunctionName"])
    return name, find(context, name)


def resolve(context: Context, request: Mapping[str, Any]) -> tuple[FunctionDocument, Configuration]:
    """(document, configuration of the version) that FunctionName and Qualifier of a request name."""
    name, qualifier = parse_name(request["FunctionName"], request.get("Qualifier"))
    body = find(context, name)
    if qualifier in (None, LATEST):
        return body, body["Configuration"]
    version = body["Aliases"][qualifier]["FunctionVersion"] if qualifier in body["Aliases"] else qualifier
    if version == LATEST:
        return body, body["Configuration"]
    if version not in body["Versions"]:
        raise not_found(context, f"{name}:{qualifier}")
    return body, body["Versions"][version]


def paged(items: Sequence[Mapping[str, Any]], request: Json, answer: str) -> Json:
    marker = request.get("Marker", "0")
    if not is_whole(marker):
        raise invalid(f"Invalid Marker: {marker}")
    last = int(marker) + request.get("MaxItems", 50)
    return {answer: items[int(marker) : last], "NextMarker": str(last) if last < len(items) else None}


def delete_urls(context: Context, name: str, alias: str | None = None) -> None:
    """Delete the URLs of a function that is gone, or of one of its aliases."""
    for identifier, url in context.store.items(URL):
        if url["_Function"] == name and alias in (None, url["_Qualifier"]):
            context.store.delete(URL, identifier)


def moment() -> str:
    """Now, as Lambda writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000+0000", time.gmtime())


def check_revision(current: Configuration | Alias, request: Json) -> None:
    if request.get("RevisionId", current["RevisionId"]) != current["RevisionId"]:
        message = "The Revision Id provided does not match the latest Revision Id. Get the latest one and retry."
        raise AwsError("PreconditionFailedException", message, 412)


def not_found(context: Context, name: str) -> AwsError:
    return missing(f"Function not found: {context.arn('lambda', f'function:{name}')}")


def forget(stored: FunctionDocument, qualifier: str) -> None:
    """Take a version or an alias out of a function's document, with what belongs to it."""
    for kept in (stored["Versions"], stored["Aliases"], stored.get("Provisioned"), stored.get("EventConfigs")):
        cast(Json, kept or {}).pop(qualifier, None)


def _delete_version(context: Context, name: str, version: str) -> None:
    body = context.store.change(FUNCTION, name, lambda stored: forget(stored, version))
    pool(context).retire(name, version)
    provisioned.apply(context, name, body)


def _changed(context: Context, name: str, changes: Json) -> Configuration:
    body = context.store.change(FUNCTION, name, lambda stored: amend(stored["Configuration"], changes | _touched()))
    pool(context).current(name, body["Configuration"]["RevisionId"])
    return body["Configuration"]


def _check_configuration(request: Json) -> None:
    runtime = request.get("Runtime", "python3")
    if not runtime.startswith("python3"):
        raise invalid(f"The embedded Lambda runs Python 3 functions, not {runtime}.")
    if request.get("PackageType", "Zip") != "Zip":
        raise invalid("The embedded Lambda runs functions from a zip, not from a container image.")
    if "." not in request.get("Handler", "a.b"):
        raise invalid(f"Handler {request['Handler']!r} is not of the form module.function.")
    reserved = RESERVED_VARIABLES & set(request.get("Environment", {}).get("Variables", {}))
    if reserved:
        raise invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            "provided contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(sorted(reserved))}"
        )


def _of_code(code: lambda_code.Code) -> Json:
    return {"CodeSize": code.size, "CodeSha256": code.sha256, "_Code": str(code.directory)}


def _touched() -> dict[str, str]:
    return {"LastModified": moment(), "RevisionId": str(uuid.uuid4())}
