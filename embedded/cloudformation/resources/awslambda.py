"""AWS::Lambda::Function, Version, Alias and Permission, and AWS::Logs::LogGroup, where functions write."""

import shutil

from embedded import logs
from embedded.cloudformation.resources.base import Handler, Made, answered, call, call_unless_gone
from embedded.context import Context
from embedded.errors import AwsError

CONFIGURATION = (
    *("Role", "Handler", "Description", "Timeout", "VpcConfig", "MemorySize", "Environment", "Runtime", "Layers"),
    *("DeadLetterConfig", "TracingConfig", "EphemeralStorage", "LoggingConfig"),
)
# What a removed property goes back to.
DEFAULTS = {"Description": "", "Timeout": 3, "MemorySize": 128, "Environment": {"Variables": {}}, "Layers": []}


class Function(Handler):
    type = "AWS::Lambda::Function"
    fixed = frozenset({"FunctionName", "PackageType"})

    def create(self, context: Context, properties: dict, name: str) -> Made:
        function = properties.get("FunctionName", name)
        request = {m: properties[m] for m in (*CONFIGURATION, "Code", "Architectures") if m in properties}
        arn = call(context, "lambda", "CreateFunction", {"FunctionName": function, **request})["FunctionArn"]
        _reserve(context, function, properties)
        return Made(function, {"Arn": arn})

    def update(self, context: Context, made: Made, properties: dict, before: dict) -> Made:
        function = {"FunctionName": made.physical_id}
        if properties["Code"] != before["Code"]:
            call(context, "lambda", "UpdateFunctionCode", {**function, **properties["Code"]})
        changed = {
            member: properties.get(member, DEFAULTS.get(member))
            for member in CONFIGURATION
            if properties.get(member) != before.get(member)
        }
        if changed:
            call(context, "lambda", "UpdateFunctionConfiguration", {**function, **changed})
        _reserve(context, made.physical_id, properties)
        return made

    def delete(self, context: Context, made: Made, properties: dict) -> None:
        call_unless_gone(context, "lambda", "DeleteFunction", {"FunctionName": made.physical_id})


class Version(Handler):
    type = "AWS::Lambda::Version"
    fixed = frozenset({"FunctionName", "Description", "CodeSha256"})

    def create(self, context: Context, properties: dict, name: str) -> Made:
        function = {"FunctionName": properties["FunctionName"]}
        known = call(context, "lambda", "ListVersionsByFunction", function)["Versions"]
        published = call(context, "lambda", "PublishVersion", {m: properties.get(m) for m in properties})
        number, arn = published["Version"], published["FunctionArn"]
        if number in {version["Version"] for version in known}:
            message = (
                f"A version for this Lambda function exists ( {number} ). Modify the function to create a new version."
            )
            raise AwsError("AlreadyExists", message, 409)
        return Made(arn, {"Version": number, "FunctionArn": arn})

    def update(self, context: Context, made: Made, properties: dict, before: dict) -> Made:
        return made

    def delete(self, context: Context, made: Made, properties: dict) -> None:
        call_unless_gone(context, "lambda", "DeleteFunction", {"FunctionName": made.physical_id})


class Alias(Handler):
    """Provisioned concurrency is kept by the stack alone: the embedded Lambda keeps its workers warm anyway."""

    type = "AWS::Lambda::Alias"
    fixed = frozenset({"FunctionName", "Name"})

    def create(self, context: Context, properties: dict, name: str) -> Made:
        arn = call(context, "lambda", "CreateAlias", _alias(properties))["AliasArn"]
        return Made(arn, {"AliasArn": arn})

    def update(self, context: Context, made: Made, properties: dict, before: dict) -> Made:
        call(context, "lambda", "UpdateAlias", _alias(properties))
        return made

    def delete(self, context: Context, made: Made, properties: dict) -> None:
        request = {"FunctionName": properties["FunctionName"], "Name": properties["Name"]}
        call_unless_gone(context, "lambda", "DeleteAlias", request)


class Permission(Handler):
    type = "AWS::Lambda::Permission"
    fixed = frozenset({"FunctionName", "Action", "Principal", "SourceArn", "SourceAccount"})

    def create(self, context: Context, properties: dict, name: str) -> Made:
        call(context, "lambda", "AddPermission", {**properties, "StatementId": name})
        return Made(name, {"Id": name})

    def update(self, context: Context, made: Made, properties: dict, before: dict) -> Made:
        return made

    def delete(self, context: Context, made: Made, properties: dict) -> None:
        request = {"FunctionName": properties["FunctionName"], "StatementId": made.physical_id}
        call_unless_gone(context, "lambda", "RemovePermission", request)


class LogGroup(Handler):
    """Retention is kept by the stack alone: the embedded logs stay until somebody deletes them."""

    type = "AWS::Logs::LogGroup"
    fixed = frozenset({"LogGroupName"})

    def create(self, context: Context, properties: dict, name: str) -> Made:
        group = properties.get("LogGroupName", name)
        call(context, "logs", "CreateLogGroup", {"logGroupName": group})
        return Made(group, {"Arn": f"{context.arn('logs', f'log-group:{group}')}:*"})

    def update(self, context: Context, made: Made, properties: dict, before: dict) -> Made:
        return made

    def delete(self, context: Context, made: Made, properties: dict) -> None:
        if answered("logs", "DeleteLogGroup"):
            call_unless_gone(context, "logs", "DeleteLogGroup", {"logGroupName": made.physical_id})
        else:
            shutil.rmtree(logs.group_directory(context, made.physical_id), ignore_errors=True)


def _reserve(context: Context, function: str, properties: dict) -> None:
    limit = properties.get("ReservedConcurrentExecutions")
    if limit is None:
        call(context, "lambda", "DeleteFunctionConcurrency", {"FunctionName": function})
        return
    request = {"FunctionName": function, "ReservedConcurrentExecutions": limit}
    call(context, "lambda", "PutFunctionConcurrency", request)


def _alias(properties: dict) -> dict:
    return {m: properties[m] for m in ("FunctionName", "Name", "FunctionVersion", "Description") if m in properties}


HANDLERS = (LogGroup(), Function(), Version(), Alias(), Permission())
