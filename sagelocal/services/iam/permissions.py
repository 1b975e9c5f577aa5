"""Which permissions a request needs: IAM actions on resources, with the condition keys of the request.

Source: the service authorization reference,
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
An operation that is not named here needs `<service>:<Operation>` on `*`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from sagelocal.core.context import Context
from sagelocal.core.json import Json
from sagelocal.core.registry import guard
from sagelocal.core.store import Kind
from sagelocal.services.iam import enforcement
from sagelocal.services.iam.documents import ROLE
from sagelocal.services.iam.policy import Call, keys_of

IAM_PREFIX = {"sagemaker-runtime": "sagemaker", "service-quotas": "servicequotas", "elbv2": "elasticloadbalancing"}
FREE = {("sts", "GetCallerIdentity"), ("sts", "GetSessionToken")}  # nobody needs a permission for these

# Of services that import this one: a request that names a resource needs a permission for what is there.
PACKAGE_GROUP = Kind[Mapping[str, Any]]("model-package-group")
SCALABLE_TARGET = Kind[Mapping[str, Any]]("scalable-target")
SCALING_POLICY = Kind[Mapping[str, Any]]("scaling-policy")

SCALING_ROLE = "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
SCALING_PRINCIPAL = "sagemaker.application-autoscaling.amazonaws.com"

# SageMaker: verb + noun -> the ARN's kind and the member of the request that names the resource
VERBS = ("Create", "Describe", "Update", "Delete", "Stop")
NOUNS = {
    "ProcessingJob": ("processing-job", "ProcessingJobName"),
    "TrainingJob": ("training-job", "TrainingJobName"),
    "HyperParameterTuningJob": ("hyper-parameter-tuning-job", "HyperParameterTuningJobName"),
    "Model": ("model", "ModelName"),
    "EndpointConfig": ("endpoint-config", "EndpointConfigName"),
    "Endpoint": ("endpoint", "EndpointName"),
    "ModelPackageGroup": ("model-package-group", "ModelPackageGroupName"),
    "ModelPackage": ("model-package", "ModelPackageName"),
    "Pipeline": ("pipeline", "PipelineName"),
    "PipelineExecution": ("pipeline-execution", "PipelineExecutionArn"),
}
SAGEMAKER = {f"{verb}{noun}": named for verb in VERBS for noun, named in NOUNS.items()} | {
    "UpdateModelPackage": ("model-package", "ModelPackageArn"),
    "UpdateEndpointWeightsAndCapacities": NOUNS["Endpoint"],
    "ListTrainingJobsForHyperParameterTuningJob": NOUNS["HyperParameterTuningJob"],
    "ListPipelineExecutions": NOUNS["Pipeline"],
    "StartPipelineExecution": NOUNS["Pipeline"],
    **dict.fromkeys(("RetryPipelineExecution", "ListPipelineExecutionSteps"), NOUNS["PipelineExecution"]),
    "ListPipelineParametersForExecution": NOUNS["PipelineExecution"],
    "DescribePipelineDefinitionForExecution": NOUNS["PipelineExecution"],
    **dict.fromkeys(("AddTags", "DeleteTags", "ListTags"), ("", "ResourceArn")),
}

LOG_GROUP = "logs:log-group:{logGroupName}:log-stream:"
LOG_STREAM = f"{LOG_GROUP}{{logStreamName}}"
# service -> operation -> resource; `{Member}` is the request's, an ARN in a member stands for the whole
RESOURCES: dict[str, dict[str, str]] = {
    "sagemaker-runtime": dict.fromkeys(
        ("InvokeEndpoint", "InvokeEndpointAsync", "InvokeEndpointWithResponseStream"),
        "sagemaker:endpoint/{EndpointName}",
    ),
    "logs": {
        **dict.fromkeys(("CreateLogGroup", "DeleteLogGroup", "DescribeLogStreams", "FilterLogEvents"), LOG_GROUP),
        **dict.fromkeys(("PutRetentionPolicy", "DeleteRetentionPolicy"), LOG_GROUP),
        **dict.fromkeys(("CreateLogStream", "DeleteLogStream", "PutLogEvents", "GetLogEvents"), LOG_STREAM),
    },
    "cloudwatch": {
        "PutMetricAlarm": "cloudwatch:alarm:{AlarmName}",
        "DescribeAlarms": "cloudwatch:alarm:{AlarmNames}",
        "DeleteAlarms": "cloudwatch:alarm:{AlarmNames}",
        "SetAlarmState": "cloudwatch:alarm:{AlarmName}",
    },
    "scheduler": {
        **dict.fromkeys(
            ("CreateSchedule", "GetSchedule", "UpdateSchedule", "DeleteSchedule"),
            "scheduler:schedule/{GroupName=default}/{Name}",
        ),
        **dict.fromkeys(
            ("CreateScheduleGroup", "GetScheduleGroup", "DeleteScheduleGroup"), "scheduler:schedule-group/{Name}"
        ),
    },
    "events": {
        **dict.fromkeys(("PutRule", "DescribeRule", "DeleteRule", "EnableRule", "DisableRule"), "events:rule/{Name}"),
        **dict.fromkeys(("PutTargets", "RemoveTargets", "ListTargetsByRule"), "events:rule/{Rule}"),
        "PutEvents": "events:event-bus/default",
    },
    "sqs": dict.fromkeys(
        ("SendMessage", "ReceiveMessage", "DeleteMessage", "GetQueueAttributes", "SetQueueAttributes", "PurgeQueue"),
        "sqs:{QueueUrl}",
    )
    | {"CreateQueue": "sqs:{QueueName}", "GetQueueUrl": "sqs:{QueueName}", "DeleteQueue": "sqs:{QueueUrl}"},
    "sns": dict.fromkeys(
        ("Publish", "Subscribe", "GetTopicAttributes", "SetTopicAttributes", "DeleteTopic"), "sns:{TopicArn}"
    )
    | {"CreateTopic": "sns:{Name}"},
    "cloudformation": dict.fromkeys(
        (
            *("CreateStack", "UpdateStack", "DeleteStack", "DescribeStacks", "DescribeStackEvents", "GetTemplate"),
            *("DescribeStackResources", "ListStackResources", "CreateChangeSet", "DescribeChangeSet"),
            *("ExecuteChangeSet", "DeleteChangeSet"),
        ),
        "cloudformation:stack/{StackName}/*",
    ),
}
LAMBDA_ACTIONS = {"Invoke": "InvokeFunction", "InvokeWithResponseStream": "InvokeFunction"}
QUALIFIED = {  # those whose resource is the version or alias itself
    *LAMBDA_ACTIONS,
    *(f"{verb}ProvisionedConcurrencyConfig" for verb in ("Put", "Get", "Delete")),
}


@guard
def authorize(context: Context, service: str, operation: str, request: Json) -> None:
    """Raise AccessDenied unless the context's caller may make the request, and pass on the roles in it."""
    if enforcement.enforced(context) or operation == "AssumeRole":  # the root too needs the role's trust
        enforcement.authorize(context, service, needed(context, service, operation, request))


@guard
def check_trust(context: Context, service: str, operation: str, request: Json) -> None:
    """Raise the service's error when a role in the request does not trust the service, whoever asks."""
    if service in enforcement.PRINCIPALS and operation.startswith(("Create", "Update", "Start", "Put")):
        for role_arn in set(enforcement.passed_roles(request)):
            source = needed(context, service, operation, request)[0].resource
            enforcement.check_trust(context, service, role_arn, source)


def needed(context: Context, service: str, operation: str, request: Json) -> list[Call]:
    """Everything that a caller must be allowed for one request, the operation's own action first."""
    if (service, operation) in FREE:
        return []
    tags = _tag_keys(request)
    calls = [replace(call, keys=call.keys + tags) for call in _own(context, service, operation, request)]
    if request.get("Tags") and service == "sagemaker" and operation.startswith("Create"):
        calls.append(Call("sagemaker:AddTags", calls[0].resource, calls[0].keys))
    if service not in ("sts", "iam"):
        principal = enforcement.PRINCIPALS.get(service, f"{service}.amazonaws.com")
        for role_arn in dict.fromkeys(enforcement.passed_roles(request)):
            keys = {"iam:PassedToService": principal, "iam:AssociatedResourceArn": calls[0].resource}
            calls.append(Call("iam:PassRole", role_arn, keys_of(keys)))
    return calls


def _tag_keys(request: Json) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """aws:RequestTag and aws:TagKeys: the tags that a request gives, or takes away."""
    given = request.get("Tags") or {}
    tags = given if isinstance(given, dict) else {tag["Key"]: tag.get("Value", "") for tag in given if "Key" in tag}
    names = [*tags, *request.get("TagKeys", [])]
    return keys_of({f"aws:RequestTag/{key}": tags[key] for key in tags} | {"aws:TagKeys": names or None})


def _own(context: Context, service: str, operation: str, request: Json) -> Iterator[Call]:
    special = SPECIAL.get(service)
    if special:
        yield from special(context, operation, request)
        return
    prefix = IAM_PREFIX.get(service, service)
    keys = keys_of({"cloudwatch:namespace": request.get("Namespace")}) if operation == "PutMetricData" else ()
    template = RESOURCES.get(service, {}).get(operation)
    for resource in _resources(context, template, request) if template else ("*",):
        yield Call(f"{prefix}:{operation}", resource, keys)


def _resources(context: Context, template: str, request: Json) -> Iterator[str]:
    """The ARNs that a template gives, one for each item of a list; `*` where the request leaves the resource open."""
    members = re.findall(r"\{(\w+)(?:=(\w+))?\}", template)
    values = {member: request.get(member) or default for member, default in members}
    many = next((member for member, value in values.items() if isinstance(value, list)), None)
    for item in values[many] if many else [None]:
        texts = {**values, many: item} if many else values
        whole = next((text for text in texts.values() if text.startswith("arn:")), None)
        if whole or not all(texts.values()):
            yield whole or "*"
            continue
        service, _, path = template.partition(":")
        for member, default in members:
            path = path.replace(f"{{{member}={default}}}" if default else f"{{{member}}}", texts[member])
        yield context.arn(service, path.rpartition("/")[2] if path.startswith("http") else path)


def _sagemaker(context: Context, operation: str, request: Json) -> Iterator[Call]:
    action = f"sagemaker:{operation}"
    kind, member = SAGEMAKER.get(operation, ("", ""))
    name = request.get(member, "")
    if operation == "CreateModelPackage":
        group = request.get("ModelPackageGroupName", "").rpartition("/")[2]
        version = (context.store.get(PACKAGE_GROUP, group) or {}).get("_LastVersion", 0) + 1
        yield Call(action, context.arn("sagemaker", f"model-package-group/{group}"))
        yield Call(action, context.arn("sagemaker", f"model-package/{group}/{version}"))
    elif operation == "ListModelPackages":
        group = request.get("ModelPackageGroupName", "").rpartition("/")[2]
        yield Call(action, context.arn("sagemaker", f"model-package/{group}/*" if group else "model-package/*"))
    elif operation in ("CreateEndpoint", "UpdateEndpoint"):
        yield Call(action, context.arn("sagemaker", f"endpoint/{name}"))
        yield Call(action, context.arn("sagemaker", f"endpoint-config/{request['EndpointConfigName']}"))
    elif name.startswith("arn:"):
        yield Call(action, name)
    elif kind:
        yield Call(action, context.arn("sagemaker", f"{kind}/{name}"))
    else:
        yield Call(action)


def _lambda(context: Context, operation: str, request: Json) -> Iterator[Call]:
    action = f"lambda:{LAMBDA_ACTIONS.get(operation, operation)}"
    given = request.get("FunctionName")
    if not given:
        yield Call(action, request.get("Resource", "*"))
        return
    parts = given.split(":")
    path = ":".join(parts[parts.index("function") + 1 :] if "function" in parts[:-1] else parts)
    qualifier = request.get("Qualifier")
    if qualifier and ":" not in path and operation in QUALIFIED:
        path = f"{path}:{qualifier}"
    yield Call(action, context.arn("lambda", f"function:{path}"))


def _autoscaling(context: Context, operation: str, request: Json) -> Iterator[Call]:
    """Its own action, and what it does to the endpoint and its alarms in the caller's name.

    Source: https://docs.aws.amazon.com/autoscaling/application/userguide/security_iam_permission_validation.html
    """
    action = f"application-autoscaling:{operation}"
    if operation.startswith("Describe"):
        yield Call(action)
        return
    keys = {
        "application-autoscaling:service-namespace": request.get("ServiceNamespace"),
        "application-autoscaling:scalable-dimension": request.get("ScalableDimension"),
    }
    name = f"{request.get('ResourceId')}|{request.get('ScalableDimension')}"
    target = context.store.get(SCALABLE_TARGET, name) or {}
    unknown = context.arn("application-autoscaling", "scalable-target/new")
    yield Call(action, target.get("ScalableTargetARN", unknown), keys_of(keys))
    endpoint = context.arn("sagemaker", "/".join(request.get("ResourceId", "").split("/")[:2]))
    alarms = context.arn("cloudwatch", f"alarm:TargetTracking-{request.get('ResourceId')}-Alarm")
    if operation == "RegisterScalableTarget":
        yield Call("sagemaker:DescribeEndpoint", endpoint)
        yield Call("sagemaker:UpdateEndpointWeightsAndCapacities", endpoint)
        if context.store.get(ROLE, SCALING_ROLE) is None:
            arn = f"arn:aws:iam::{context.account}:role/aws-service-role/{SCALING_PRINCIPAL}/{SCALING_ROLE}"
            yield Call("iam:CreateServiceLinkedRole", arn, keys_of({"iam:AWSServiceName": SCALING_PRINCIPAL}))
    elif operation == "PutScalingPolicy" and request.get("PolicyType") == "TargetTrackingScaling":
        yield Call("cloudwatch:PutMetricAlarm", alarms)
        yield Call("cloudwatch:DescribeAlarms", alarms)
    elif operation == "DeleteScalingPolicy" or (
        operation == "DeregisterScalableTarget" and context.store.list(SCALING_POLICY, f"{name}|")
    ):
        yield Call("cloudwatch:DeleteAlarms", alarms)


def _iam(context: Context, operation: str, request: Json) -> Iterator[Call]:
    action = f"iam:{operation}"
    base = f"arn:aws:iam::{context.account}"
    if "PolicySourceArn" in request:
        yield Call(action, request["PolicySourceArn"])
    elif "InstanceProfileName" in request:
        yield Call(action, f"{base}:instance-profile/{request['InstanceProfileName']}")
        if operation == "AddRoleToInstanceProfile":
            passed = context.store.get(ROLE, request["RoleName"])
            role = passed["Arn"] if passed else f"{base}:role/{request['RoleName']}"
            yield Call("iam:PassRole", role, keys_of({"iam:PassedToService": "ec2.amazonaws.com"}))
    elif "RoleName" in request:
        known = context.store.get(ROLE, request["RoleName"])
        path = request.get("Path", "/")
        keys = {
            "iam:PolicyARN": request.get("PolicyArn"),
            "iam:PermissionsBoundary": request.get("PermissionsBoundary"),
        }
        yield Call(action, known["Arn"] if known else f"{base}:role{path}{request['RoleName']}", keys_of(keys))
    elif "PolicyArn" in request:
        yield Call(action, request["PolicyArn"])
    elif "PolicyName" in request:
        yield Call(action, f"{base}:policy{request.get('Path', '/')}{request['PolicyName']}")
    elif "AWSServiceName" in request:
        name = request["AWSServiceName"]
        arn = f"{base}:role/aws-service-role/{name}/*"
        yield Call(action, arn, keys_of({"iam:AWSServiceName": name}))
    else:
        yield Call(action)


def _sts(context: Context, operation: str, request: Json) -> Iterator[Call]:
    """Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html"""
    role, source_identity = request.get("RoleArn", "*"), request.get("SourceIdentity")
    keys = {
        "sts:ExternalId": request.get("ExternalId"),
        "sts:RoleSessionName": request.get("RoleSessionName"),
        **{name: source_identity for name in ("sts:SourceIdentity", "aws:SourceIdentity")},
    }
    if not source_identity:
        del keys["aws:SourceIdentity"]  # the caller's own, if it has one
    yield Call(f"sts:{operation}", role, keys_of(keys))
    if request.get("Tags"):
        yield Call("sts:TagSession", role, keys_of(keys))
    if source_identity:
        yield Call("sts:SetSourceIdentity", role, keys_of(keys))


SPECIAL: dict[str, Callable[[Context, str, Json], Iterator[Call]]] = {
    "sagemaker": _sagemaker,
    "lambda": _lambda,
    "application-autoscaling": _autoscaling,
    "iam": _iam,
    "sts": _sts,
}
