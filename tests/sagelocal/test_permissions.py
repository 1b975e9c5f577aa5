"""Which permissions each request needs, checked against AWS's service authorization reference as cfn-lint ships it."""

import fnmatch
import json
import pathlib
import re

import cfnlint
import pytest
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from sagelocal.core import registry, service_models
from sagelocal.services.iam import permissions
from sagelocal.services.s3 import permissions as s3

SAGEMAKER = "arn:aws:sagemaker:us-east-1:123456789012:"
ROLE = "arn:aws:iam::123456789012:role/pawline-job"
VARIANT = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/pawline/variant/A",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}

# The reference has CreateModelPackage on packages alone; roles are asked for the group too, to be on the safe side.
BEYOND_THE_REFERENCE = ("sagemaker:CreateModelPackage", f"{SAGEMAKER}model-package-group/g")


@pytest.fixture(scope="module")
def reference():
    """service -> {"Actions": {action: {"Resources": [type…]}}, "Resources": {type: {"ARNFormats": […]}}}."""
    path = pathlib.Path(cfnlint.__file__).parent / "data/AdditionalSpecs/Policies.json"
    return json.loads(path.read_text())


REQUESTS = [
    ("sagemaker", "CreateProcessingJob", {"ProcessingJobName": "j", "RoleArn": ROLE}, ["processing-job/j"]),
    ("sagemaker", "CreateTrainingJob", {"TrainingJobName": "j"}, ["training-job/j"]),
    ("sagemaker", "StopTrainingJob", {"TrainingJobName": "j"}, ["training-job/j"]),
    (
        "sagemaker",
        "ListTrainingJobsForHyperParameterTuningJob",
        {"HyperParameterTuningJobName": "t"},
        ["hyper-parameter-tuning-job/t"],
    ),
    ("sagemaker", "CreateModel", {"ModelName": "m"}, ["model/m"]),
    ("sagemaker", "CreateEndpointConfig", {"EndpointConfigName": "c"}, ["endpoint-config/c"]),
    (
        "sagemaker",
        "CreateEndpoint",
        {"EndpointName": "e", "EndpointConfigName": "c"},
        ["endpoint/e", "endpoint-config/c"],
    ),
    (
        "sagemaker",
        "UpdateEndpoint",
        {"EndpointName": "e", "EndpointConfigName": "c"},
        ["endpoint/e", "endpoint-config/c"],
    ),
    ("sagemaker", "UpdateEndpointWeightsAndCapacities", {"EndpointName": "e"}, ["endpoint/e"]),
    ("sagemaker", "DeleteEndpoint", {"EndpointName": "e"}, ["endpoint/e"]),
    (
        "sagemaker",
        "CreateModelPackage",
        {"ModelPackageGroupName": "g"},
        ["model-package-group/g", "model-package/g/1"],
    ),
    ("sagemaker", "DescribeModelPackage", {"ModelPackageName": f"{SAGEMAKER}model-package/g/3"}, ["model-package/g/3"]),
    ("sagemaker", "UpdateModelPackage", {"ModelPackageArn": f"{SAGEMAKER}model-package/g/3"}, ["model-package/g/3"]),
    ("sagemaker", "ListModelPackages", {"ModelPackageGroupName": "g"}, ["model-package/g/*"]),
    ("sagemaker", "StartPipelineExecution", {"PipelineName": "p"}, ["pipeline/p"]),
    ("sagemaker", "StartPipelineExecution", {"PipelineName": f"{SAGEMAKER}pipeline/p"}, ["pipeline/p"]),
    (
        "sagemaker",
        "DescribePipelineExecution",
        {"PipelineExecutionArn": f"{SAGEMAKER}pipeline/p/execution/x"},
        ["pipeline/p/execution/x"],
    ),
    ("sagemaker", "ListModels", {}, ["*"]),
    ("sagemaker", "Search", {}, ["*"]),
    ("sagemaker-runtime", "InvokeEndpoint", {"EndpointName": "e"}, ["endpoint/e"]),
    ("lambda", "Invoke", {"FunctionName": "f"}, ["function:f"]),
    ("lambda", "Invoke", {"FunctionName": "f", "Qualifier": "live"}, ["function:f:live"]),
    (
        "lambda",
        "Invoke",
        {"FunctionName": "arn:aws:lambda:us-east-1:123456789012:function:f:live"},
        ["function:f:live"],
    ),
    ("lambda", "GetFunction", {"FunctionName": "f", "Qualifier": "live"}, ["function:f"]),
    ("lambda", "ListFunctions", {}, ["*"]),
    ("logs", "CreateLogStream", {"logGroupName": "/g", "logStreamName": "s"}, ["log-group:/g:log-stream:s"]),
    ("logs", "PutLogEvents", {"logGroupName": "/g", "logStreamName": "s"}, ["log-group:/g:log-stream:s"]),
    ("logs", "DescribeLogGroups", {}, ["*"]),
    ("cloudwatch", "PutMetricAlarm", {"AlarmName": "a"}, ["alarm:a"]),
    ("cloudwatch", "DeleteAlarms", {"AlarmNames": ["a", "b"]}, ["alarm:a", "alarm:b"]),
    ("scheduler", "CreateSchedule", {"Name": "s"}, ["schedule/default/s"]),
    ("scheduler", "GetSchedule", {"Name": "s", "GroupName": "g"}, ["schedule/g/s"]),
    ("events", "PutRule", {"Name": "r"}, ["rule/r"]),
    ("events", "PutTargets", {"Rule": "r"}, ["rule/r"]),
    ("sqs", "SendMessage", {"QueueUrl": "http://127.0.0.1:1/123456789012/q"}, ["q"]),
    ("sns", "Publish", {"TopicArn": "arn:aws:sns:us-east-1:123456789012:t"}, ["t"]),
    ("cloudformation", "CreateStack", {"StackName": "s"}, ["stack/s/*"]),
    ("iam", "GetRole", {"RoleName": "r"}, ["role/r"]),
    ("iam", "SimulatePrincipalPolicy", {"PolicySourceArn": ROLE}, ["role/pawline-job"]),
    ("sts", "AssumeRole", {"RoleArn": ROLE}, ["role/pawline-job"]),
    ("application-autoscaling", "DescribeScalableTargets", {"ServiceNamespace": "sagemaker"}, ["*"]),
]


@pytest.mark.parametrize(
    ("service", "operation", "request_", "resources"),
    REQUESTS,
    ids=[f"{r[0]}-{r[1]}-{n}" for n, r in enumerate(REQUESTS)],
)
def test_a_request_needs_its_action_on_its_resources(context, service, operation, request_, resources):
    calls = [c for c in permissions.needed(context, service, operation, request_) if c.action != "iam:PassRole"]
    name = {"Invoke": "InvokeFunction"}.get(operation, operation) if service == "lambda" else operation
    assert {c.action for c in calls} == {f"{permissions.IAM_PREFIX.get(service, service)}:{name}"}
    assert [c.resource if c.resource == "*" else c.resource.split(":", 5)[5] for c in calls] == resources


def test_every_action_exists_and_has_a_resource_of_its_own_types(context, reference):
    requests = [(s, o, r) for s, o, r, _ in REQUESTS]
    requests += [("application-autoscaling", o, VARIANT) for o in ("RegisterScalableTarget", "PutScalingPolicy")]
    for service, operation, request in requests:
        for call in permissions.needed(context, service, operation, request):
            if (call.action, call.resource) != BEYOND_THE_REFERENCE:
                _check(reference, call)


def test_every_operation_that_is_answered_here_needs_an_action_that_exists(context, reference):
    missing = set()
    for service, operation in registry.OPERATIONS:
        members = service_models.operation_model(service, operation).input_shape
        strings = members.members.items() if members else ()
        request = {name: "x" for name, shape in strings if shape.type_name == "string"}
        for call in permissions.needed(context, service, operation, request):
            prefix, _, action = call.action.partition(":")
            if action.lower() not in reference[prefix]["Actions"]:
                missing.add(call.action)
    assert missing == set()


def _check(reference: dict, call) -> None:
    prefix, _, action = call.action.partition(":")
    known = reference[prefix]["Actions"].get(action.lower())
    assert known is not None, call.action
    kinds = known.get("Resources", [])
    if call.resource == "*":
        return
    assert kinds, f"{call.action} has no resource type, so {call.resource} can never match"
    formats = [form for kind in kinds for form in reference[prefix]["Resources"][kind.lower()]["ARNFormats"]]
    patterns = [_pattern(form) for form in formats]
    assert any(fnmatch.fnmatch(call.resource, pattern) for pattern in patterns), (call, patterns)


def _pattern(form: str) -> str:
    return re.sub(r"\$\{\w+\}", "*", form).replace(".*", "*")


def test_a_request_that_hands_on_a_role_needs_passrole_to_that_service(context):
    request = {
        "HyperParameterTuningJobName": "t",
        "TrainingJobDefinition": {"RoleArn": ROLE, "StaticHyperParameters": {"Role": "backbone"}},
    }
    (_, passed) = permissions.needed(context, "sagemaker", "CreateHyperParameterTuningJob", request)
    assert (passed.action, passed.resource) == ("iam:PassRole", ROLE)
    assert dict(passed.keys)["iam:PassedToService"] == ("sagemaker.amazonaws.com",)
    (_, passed) = permissions.needed(context, "scheduler", "CreateSchedule", {"Name": "s", "Target": {"RoleArn": ROLE}})
    assert dict(passed.keys)["iam:PassedToService"] == ("scheduler.amazonaws.com",)


def test_tags_need_their_own_permission(context):
    request = {"ModelName": "m", "Tags": [{"Key": "project", "Value": "pawline"}]}
    (own, tagged) = permissions.needed(context, "sagemaker", "CreateModel", request)
    assert (tagged.action, tagged.resource) == ("sagemaker:AddTags", f"{SAGEMAKER}model/m")
    assert dict(own.keys)["aws:RequestTag/project"] == ("pawline",)


def test_scaling_a_variant_is_done_in_the_callers_name(context):
    def actions(operation: str, **more) -> list[str]:
        return [c.action for c in permissions.needed(context, "application-autoscaling", operation, VARIANT | more)]

    assert actions("RegisterScalableTarget") == [
        "application-autoscaling:RegisterScalableTarget",
        "sagemaker:DescribeEndpoint",
        "sagemaker:UpdateEndpointWeightsAndCapacities",
        "iam:CreateServiceLinkedRole",
    ]
    context.call("iam", "CreateServiceLinkedRole", AWSServiceName="sagemaker.application-autoscaling.amazonaws.com")
    assert "iam:CreateServiceLinkedRole" not in actions("RegisterScalableTarget")
    assert actions("PutScalingPolicy", PolicyType="TargetTrackingScaling")[1:] == [
        "cloudwatch:PutMetricAlarm",
        "cloudwatch:DescribeAlarms",
    ]
    own = permissions.needed(context, "application-autoscaling", "PutScalingPolicy", VARIANT)[0]
    assert dict(own.keys) == {
        "application-autoscaling:service-namespace": ("sagemaker",),
        "application-autoscaling:scalable-dimension": ("sagemaker:variant:DesiredInstanceCount",),
    }


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/b/k", ["s3:GetObject b/k"]),
        ("HEAD", "/b/k", ["s3:GetObject b/k"]),
        ("PUT", "/b/k", ["s3:PutObject b/k"]),
        ("DELETE", "/b/k", ["s3:DeleteObject b/k"]),
        ("POST", "/b/k?uploads", ["s3:PutObject b/k"]),
        ("PUT", "/b/k?partNumber=1&uploadId=u", ["s3:PutObject b/k"]),
        ("DELETE", "/b/k?uploadId=u", ["s3:AbortMultipartUpload b/k"]),
        ("GET", "/b/k?uploadId=u", ["s3:ListMultipartUploadParts b/k"]),
        ("GET", "/b/k?tagging", ["s3:GetObjectTagging b/k"]),
        ("GET", "/b?list-type=2&prefix=p/", ["s3:ListBucket b"]),
        ("HEAD", "/b", ["s3:ListBucket b"]),
        ("GET", "/b?versions", ["s3:ListBucketVersions b"]),
        ("GET", "/b?uploads", ["s3:ListBucketMultipartUploads b"]),
        ("GET", "/b?location", ["s3:GetBucketLocation b"]),
        ("PUT", "/b", ["s3:CreateBucket b"]),
        ("DELETE", "/b", ["s3:DeleteBucket b"]),
        ("PUT", "/b?policy", ["s3:PutBucketPolicy b"]),
        ("DELETE", "/b?policy", ["s3:DeleteBucketPolicy b"]),
        ("GET", "/b?encryption", ["s3:GetEncryptionConfiguration b"]),
        ("DELETE", "/b?lifecycle", ["s3:PutLifecycleConfiguration b"]),
        ("GET", "/", ["s3:ListAllMyBuckets *"]),
    ],
)
def test_an_s3_request_needs_its_action(reference, method, path, expected):
    request = Request(EnvironBuilder(path, method=method).get_environ())
    bucket, _, key = request.path.removeprefix("/").partition("/")
    calls = list(s3.needed(bucket, key, request))
    assert [f"{call.action} {call.resource.removeprefix('arn:aws:s3:::')}" for call in calls] == expected
    for call in calls:
        _check(reference, call)


def test_a_listing_is_known_by_its_prefix():
    request = Request(EnvironBuilder("/b?list-type=2&prefix=pawline/raw/&delimiter=/").get_environ())
    (call,) = s3.needed("b", "", request)
    assert dict(call.keys) == {"s3:prefix": ("pawline/raw/",), "s3:delimiter": ("/",)}


def test_a_copy_needs_to_read_its_source():
    headers = {"x-amz-copy-source": "/from/a%20key"}
    request = Request(EnvironBuilder("/b/k", method="PUT", headers=headers).get_environ())
    assert [(call.action, call.resource) for call in s3.needed("b", "k", request)] == [
        ("s3:PutObject", "arn:aws:s3:::b/k"),
        ("s3:GetObject", "arn:aws:s3:::from/a key"),
    ]
