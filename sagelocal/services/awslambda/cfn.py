"""AWS::Lambda::Function, Version, Alias, Permission, Url and EventInvokeConfig, and AWS::Logs::LogGroup, where
functions write."""

import time

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.services.cloudformation.resource import Handler, PhysicalResource, call, call_unless_gone, register

CONFIGURATION = (
    *("Role", "Handler", "Description", "Timeout", "VpcConfig", "MemorySize", "Environment", "Runtime", "Layers"),
    *("DeadLetterConfig", "TracingConfig", "EphemeralStorage", "LoggingConfig"),
)
# What a removed property goes back to.
DEFAULTS: Json = {
    **{"Description": "", "Timeout": 3, "MemorySize": 128, "Environment": {"Variables": {}}, "Layers": []},
    "DeadLetterConfig": {"TargetArn": ""},
}
PROVISIONING_SECONDS = 300.0  # how long a stack waits for an alias's workers


class Function(Handler):
    type = "AWS::Lambda::Function"
    fixed = frozenset({"FunctionName", "PackageType"})

    def create(self, context: Context, properties: Json, name: str) -> PhysicalResource:
        function = properties.get("FunctionName", name)
        request = {m: properties[m] for m in (*CONFIGURATION, "Code", "Architectures") if m in properties}
        arn = call(context, "lambda", "CreateFunction", {"FunctionName": function, **request})["FunctionArn"]
        _reserve(context, function, properties)
        return PhysicalResource(function, {"Arn": arn})

    def update(self, context: Context, made: PhysicalResource, properties: Json, before: Json) -> PhysicalResource:
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

    def delete(self, context: Context, made: PhysicalResource, properties: Json) -> None:
        call_unless_gone(context, "lambda", "DeleteFunction", {"FunctionName": made.physical_id})


class Version(Handler):
    type = "AWS::Lambda::Version"
    fixed = frozenset({"FunctionName", "Description", "CodeSha256"})

    def create(self, context: Context, properties: Json, name: str) -> PhysicalResource:
        function = {"FunctionName": properties["FunctionName"]}
        known = call(context, "lambda", "ListVersionsByFunction", function)["Versions"]
        published = call(context, "lambda", "PublishVersion", properties)
        number, arn = published["Version"], published["FunctionArn"]
        if number in {version["Version"] for version in known}:
            message = (
                f"A version for this Lambda function exists ( {number} ). Modify the function to create a new version."
            )
            raise AwsError("AlreadyExists", message, 409)
        return PhysicalResource(arn, {"Version": number, "FunctionArn": arn})

    def delete(self, context: Context, made: PhysicalResource, properties: Json) -> None:
        call_unless_gone(context, "lambda", "DeleteFunction", {"FunctionName": made.physical_id})


class Alias(Handler):
    type = "AWS::Lambda::Alias"
    fixed = frozenset({"FunctionName", "Name"})

    def create(self, context: Context, properties: Json, name: str) -> PhysicalResource:
        arn = call(context, "lambda", "CreateAlias", _alias(properties))["AliasArn"]
        try:
            self._converge(context, properties)
        except AwsError:
            self.delete(context, PhysicalResource(arn), properties)
            raise
        return PhysicalResource(arn, {"AliasArn": arn})

    def update(self, context: Context, made: PhysicalResource, properties: Json, before: Json) -> PhysicalResource:
        try:
            self._converge(context, properties)
        except AwsError:
            self._converge(context, before)  # a version whose workers do not start must not stay behind the alias
            raise
        return made

    def _converge(self, context: Context, properties: Json) -> None:
        call(context, "lambda", "UpdateAlias", {"RoutingConfig": {}, **_alias(properties)})
        if "ProvisionedConcurrencyConfig" in properties:
            _provision(context, properties)
        else:
            asked = {"FunctionName": properties["FunctionName"], "Qualifier": properties["Name"]}
            call_unless_gone(context, "lambda", "DeleteProvisionedConcurrencyConfig", asked)

    def delete(self, context: Context, made: PhysicalResource, properties: Json) -> None:
        request = {"FunctionName": properties["FunctionName"], "Name": properties["Name"]}
        call_unless_gone(context, "lambda", "DeleteAlias", request)


class Permission(Handler):
    type = "AWS::Lambda::Permission"
    fixed = frozenset({"FunctionName", "Action", "Principal", "SourceArn", "SourceAccount"})

    def create(self, context: Context, properties: Json, name: str) -> PhysicalResource:
        call(context, "lambda", "AddPermission", {**properties, "StatementId": name})
        return PhysicalResource(name, {"Id": name})

    def delete(self, context: Context, made: PhysicalResource, properties: Json) -> None:
        request = {"FunctionName": properties["FunctionName"], "StatementId": made.physical_id}
        call_unless_gone(context, "lambda", "RemovePermission", request)


class Url(Handler):
    type = "AWS::Lambda::Url"
    fixed = frozenset({"TargetFunctionArn", "Qualifier"})

    def create(self, context: Context, properties: Json, name: str) -> PhysicalResource:
        made = call(context, "lambda", "CreateFunctionUrlConfig", _url(properties))
        arn = made["FunctionArn"]
        return PhysicalResource(arn, {"FunctionArn": arn, "FunctionUrl": made["FunctionUrl"]})

    def update(self, context: Context, made: PhysicalResource, properties: Json, before: Json) -> PhysicalResource:
        call(context, "lambda", "UpdateFunctionUrlConfig", {"Cors": {}, **_url(properties)})
        return made

    def delete(self, context: Context, made: PhysicalResource, properties: Json) -> None:
        asked = {"FunctionName": properties["TargetFunctionArn"], "Qualifier": properties.get("Qualifier")}
        call_unless_gone(context, "lambda", "DeleteFunctionUrlConfig", asked)


class EventInvokeConfig(Handler):
    type = "AWS::Lambda::EventInvokeConfig"
    fixed = frozenset({"FunctionName", "Qualifier"})

    def create(self, context: Context, properties: Json, name: str) -> PhysicalResource:
        call(context, "lambda", "PutFunctionEventInvokeConfig", properties)
        return PhysicalResource(name)

    def update(self, context: Context, made: PhysicalResource, properties: Json, before: Json) -> PhysicalResource:
        call(context, "lambda", "PutFunctionEventInvokeConfig", properties)
        return made

    def delete(self, context: Context, made: PhysicalResource, properties: Json) -> None:
        asked = {member: properties[member] for member in ("FunctionName", "Qualifier")}
        call_unless_gone(context, "lambda", "DeleteFunctionEventInvokeConfig", asked)


class LogGroup(Handler):
    """Retention is kept by the stack alone: the embedded logs stay until somebody deletes them."""

    type = "AWS::Logs::LogGroup"
    fixed = frozenset({"LogGroupName"})

    def create(self, context: Context, properties: Json, name: str) -> PhysicalResource:
        group = properties.get("LogGroupName", name)
        call(context, "logs", "CreateLogGroup", {"logGroupName": group})
        return PhysicalResource(group, {"Arn": f"{context.arn('logs', f'log-group:{group}')}:*"})

    def delete(self, context: Context, made: PhysicalResource, properties: Json) -> None:
        call_unless_gone(context, "logs", "DeleteLogGroup", {"logGroupName": made.physical_id})


def _reserve(context: Context, function: str, properties: Json) -> None:
    limit = properties.get("ReservedConcurrentExecutions")
    if limit is None:
        call(context, "lambda", "DeleteFunctionConcurrency", {"FunctionName": function})
        return
    asked = {"FunctionName": function, "ReservedConcurrentExecutions": limit}
    call(context, "lambda", "PutFunctionConcurrency", asked)


def _alias(properties: Json) -> Json:
    members = ("FunctionName", "Name", "FunctionVersion", "Description")
    request = {member: properties[member] for member in members if member in properties}
    if "RoutingConfig" in properties:
        weights = properties["RoutingConfig"].get("AdditionalVersionWeights", [])
        by_version = {str(each["FunctionVersion"]): float(each["FunctionWeight"]) for each in weights}
        request["RoutingConfig"] = {"AdditionalVersionWeights": by_version}
    return request


def _provision(context: Context, properties: Json) -> None:
    """Ask for an alias's workers and wait until they are ready, as CloudFormation does. Raises AwsError."""
    wanted = properties["ProvisionedConcurrencyConfig"]
    alias = {"FunctionName": properties["FunctionName"], "Qualifier": properties["Name"]}
    state = call(context, "lambda", "PutProvisionedConcurrencyConfig", {**alias, **wanted})
    deadline = time.monotonic() + PROVISIONING_SECONDS
    while state["Status"] == "IN_PROGRESS" and time.monotonic() < deadline and not context.stopping.wait(0.05):
        state = call(context, "lambda", "GetProvisionedConcurrencyConfig", alias)
    if state["Status"] != "READY":
        reason = state.get("StatusReason", "it took too long")
        message = f"The provisioned concurrency of {alias['FunctionName']}:{alias['Qualifier']} is not ready: {reason}."
        raise AwsError("NotStabilized", message, 400)


def _url(properties: Json) -> Json:
    members = ("Qualifier", "AuthType", "Cors", "InvokeMode")
    request = {member: properties[member] for member in members if member in properties}
    return request | {"FunctionName": properties["TargetFunctionArn"]}


register(LogGroup(), Function(), Version(), Alias(), Permission(), Url(), EventInvokeConfig())
