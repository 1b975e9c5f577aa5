"""Scalable targets and scaling policies of endpoint variants."""

import uuid

import pytest
from botocore.exceptions import ClientError

from benchmarks.archives import tar_gz
from tests.waiting import ended

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/python:3.11"
DIMENSION = "sagemaker:variant:DesiredInstanceCount"

SERVE = b"""
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

http.server.HTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""


@pytest.fixture
def scaling(client):
    return client("application-autoscaling")


@pytest.fixture(scope="module")
def endpoint(server):
    """The name of an endpoint with the variant AllTraffic."""
    import boto3

    sagemaker, s3 = (
        boto3.client(service, endpoint_url=server.url, region_name="us-east-1") for service in ("sagemaker", "s3")
    )
    name = f"scaled-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="model.tar.gz", Body=tar_gz({"code/serve.py": SERVE}))
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{name}/model.tar.gz"}
    sagemaker.create_model(ModelName=name, PrimaryContainer=container)
    variant = {"VariantName": "AllTraffic", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    ended(lambda: sagemaker.describe_endpoint(EndpointName=name), "EndpointStatus")
    yield name
    sagemaker.delete_endpoint(EndpointName=name)


@pytest.fixture
def target(scaling, endpoint: str):
    """The three members that name the endpoint's variant as a registered target."""
    named = {"ServiceNamespace": "sagemaker", "ResourceId": f"endpoint/{endpoint}/variant/AllTraffic"}
    named["ScalableDimension"] = DIMENSION
    scaling.register_scalable_target(**named, MinCapacity=1, MaxCapacity=4)
    yield named
    if scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[named["ResourceId"]])[
        "ScalableTargets"
    ]:
        scaling.deregister_scalable_target(**named)


def tracking(target_value: float) -> dict:
    metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    return {
        **{"TargetValue": target_value, "PredefinedMetricSpecification": metric},
        **{"ScaleInCooldown": 300, "ScaleOutCooldown": 60},
    }


def test_a_target_is_described_as_it_was_registered_and_changed(scaling, target: dict):
    def described() -> dict:
        found = scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[target["ResourceId"]])
        return found["ScalableTargets"][0]

    first = described()
    assert (first["MinCapacity"], first["MaxCapacity"]) == (1, 4)
    scaling.register_scalable_target(**target, MaxCapacity=8)
    assert (described()["MinCapacity"], described()["MaxCapacity"]) == (1, 8)
    assert described()["CreationTime"] == first["CreationTime"]
    assert scaling.describe_scaling_activities(ServiceNamespace="sagemaker")["ScalingActivities"] == []


def test_a_policy_is_replaced_by_its_name_and_goes_with_its_target(scaling, target: dict):
    policy = {"PolicyName": "requests", "PolicyType": "TargetTrackingScaling", **target}
    arns = {
        scaling.put_scaling_policy(**policy, TargetTrackingScalingPolicyConfiguration=tracking(value))["PolicyARN"]
        for value in (100.0, 200.0)
    }
    assert len(arns) == 1
    found = scaling.describe_scaling_policies(**target)["ScalingPolicies"]
    assert [p["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] for p in found] == [200.0]
    scaling.deregister_scalable_target(**target)
    assert scaling.describe_scaling_policies(**target)["ScalingPolicies"] == []


def test_a_policy_is_deleted_once(scaling, target: dict):
    policy = {"PolicyName": "p", **target}
    scaling.put_scaling_policy(
        **policy, PolicyType="TargetTrackingScaling", TargetTrackingScalingPolicyConfiguration=tracking(10)
    )
    scaling.delete_scaling_policy(**policy)
    with pytest.raises(ClientError, match="ObjectNotFoundException.*No scaling policy found"):
        scaling.delete_scaling_policy(**policy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ResourceId": "endpoint/nobody/variant/AllTraffic"}, "Could not find endpoint"),
        ({"ResourceId": "endpoint/{endpoint}/variant/Other"}, "Could not find variant Other"),
        ({"ResourceId": "table/dogs"}, "Unsupported resource ID"),
        ({"MinCapacity": 5}, "Maximum capacity cannot be less than minimum capacity"),
        ({"MinCapacity": 0}, "at least 1"),
        (
            {"ServiceNamespace": "ecs", "ScalableDimension": "ecs:service:DesiredCount", "ResourceId": "service/a/b"},
            "not ecs ecs:service:DesiredCount",
        ),
    ],
)
def test_a_target_that_cannot_be_scaled_is_refused(scaling, target: dict, endpoint: str, change: dict, message: str):
    change = {k: v.format(endpoint=endpoint) if isinstance(v, str) else v for k, v in change.items()}
    with pytest.raises(ClientError, match=f"ValidationException.*{message}"):
        scaling.register_scalable_target(**{**target, "MinCapacity": 1, "MaxCapacity": 4, **change})


def test_a_policy_without_a_target_is_refused(scaling, endpoint: str):
    with pytest.raises(ClientError, match="ObjectNotFoundException.*No scalable target registered"):
        scaling.put_scaling_policy(
            **{"PolicyName": "p", "PolicyType": "TargetTrackingScaling", "ServiceNamespace": "sagemaker"},
            **{"ResourceId": f"endpoint/{endpoint}/variant/Unregistered", "ScalableDimension": DIMENSION},
            TargetTrackingScalingPolicyConfiguration=tracking(10),
        )
