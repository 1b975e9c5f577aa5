"""An endpoint under load, scaled by its policies: a real server whose minutes last half a second."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from benchmarks.archives import tar_gz
from sagelocal.core import lifecycle
from tests.waiting import ended, until

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/python:3.11"
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
SPEED = 120

SERVE = b"""
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer()

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer()

    def answer(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""


class Scaled:
    """An endpoint with one registered variant, and short words for what the tests do with it."""

    name = "scaled"

    def __init__(self, state_dir: Path):
        self.state_dir = state_dir

    def connect(self, url: str) -> None:
        def made(service: str) -> Any:
            config = Config(retries={"total_max_attempts": 1})
            return boto3.client(service, endpoint_url=url, region_name="us-east-1", config=config)

        self.sagemaker, self.runtime, self.s3 = made("sagemaker"), made("sagemaker-runtime"), made("s3")
        self.scaling, self.cloudwatch = made("application-autoscaling"), made("cloudwatch")
        self.target = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": f"endpoint/{self.name}/variant/AllTraffic",
            "ScalableDimension": DIMENSION,
        }

    def deploy(self) -> None:
        self.s3.create_bucket(Bucket="models")
        self.s3.put_object(Bucket="models", Key="model.tar.gz", Body=tar_gz({"code/serve.py": SERVE}))
        container = {"Image": IMAGE, "ModelDataUrl": "s3://models/model.tar.gz"}
        self.sagemaker.create_model(ModelName=self.name, PrimaryContainer=container)
        variant = {"VariantName": "AllTraffic", "ModelName": self.name, "InstanceType": "ml.m5.large"}
        self.sagemaker.create_endpoint_config(
            EndpointConfigName=self.name, ProductionVariants=[variant | {"InitialInstanceCount": 1}]
        )
        self.sagemaker.create_endpoint(EndpointName=self.name, EndpointConfigName=self.name)
        assert ended(self.described, "EndpointStatus")["EndpointStatus"] == "InService"

    def described(self) -> dict:
        return self.sagemaker.describe_endpoint(EndpointName=self.name)

    def count(self) -> int:
        return self.described()["ProductionVariants"][0]["CurrentInstanceCount"]

    def activities(self) -> list[dict]:
        return self.scaling.describe_scaling_activities(ServiceNamespace="sagemaker")["ScalingActivities"]

    def requests(self, per_second: float, stop: threading.Event) -> None:
        while not stop.wait(1 / per_second):
            self.runtime.invoke_endpoint(EndpointName=self.name, Body=b"x")


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scaled]:
    state_dir: Path = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAGELOCAL_SPEED", str(SPEED))
        running = lifecycle.ensure(state_dir)
    made = Scaled(state_dir)
    made.connect(running.url)
    made.deploy()
    yield made
    lifecycle.stop(state_dir)


def test_under_load_an_endpoint_goes_from_one_to_three_instances_and_back(scaled: Scaled):
    per_second, clients = 6.0, 3
    scaled.scaling.register_scalable_target(**scaled.target, MinCapacity=1, MaxCapacity=3)
    policy = scaled.scaling.put_scaling_policy(
        PolicyName="requests",
        PolicyType="TargetTrackingScaling",
        **scaled.target,
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": per_second * clients * 60 / 8,  # a slow machine sends less, and three are enough still
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
            "ScaleOutCooldown": 60,
            "ScaleInCooldown": 120,
        },
    )
    high, low = (alarm["AlarmName"] for alarm in policy["Alarms"])
    stop = threading.Event()
    load = [threading.Thread(target=scaled.requests, args=(per_second, stop)) for _ in range(clients)]
    for client in load:
        client.start()
    try:
        until(scaled.count, lambda count: count == 3)
    finally:
        stop.set()
        for client in load:
            client.join()
    until(scaled.count, lambda count: count == 1)
    until(scaled.activities, lambda found: found[0]["StatusCode"] == "Successful")
    found = scaled.activities()
    counts = [activity["Description"] for activity in reversed(found)]
    assert counts[-2:] == ["Setting desired instance count to 2.", "Setting desired instance count to 1."]
    assert "Setting desired instance count to 3." in counts
    assert found[0]["Cause"] == f"monitor alarm {low} in state ALARM triggered policy requests"
    assert found[-1]["Cause"] == f"monitor alarm {high} in state ALARM triggered policy requests"
    message = "Successfully set desired instance count to 1. Change successfully fulfilled by sagemaker."
    assert (found[0]["StatusCode"], found[0]["StatusMessage"]) == ("Successful", message)
    pause = (found[0]["StartTime"] - found[1]["EndTime"]).total_seconds()
    assert pause >= 120 / SPEED, "the scale-in cooldown"


def test_activities_alarms_and_metrics_survive_a_restart(scaled: Scaled):
    def known() -> list:
        now = datetime.now(UTC)
        invocations = scaled.cloudwatch.get_metric_statistics(
            **{"Namespace": "AWS/SageMaker", "MetricName": "Invocations", "Statistics": ["Sum"], "Period": 3600},
            Dimensions=[{"Name": "EndpointName", "Value": "scaled"}, {"Name": "VariantName", "Value": "AllTraffic"}],
            **{"StartTime": now - timedelta(hours=2), "EndTime": now},
        )["Datapoints"]
        alarms = scaled.cloudwatch.describe_alarms()["MetricAlarms"]
        names = [alarm["AlarmName"] for alarm in alarms]
        return [scaled.activities(), names, sum(point["Sum"] for point in invocations)]

    before = known()
    assert before[0] and before[1] and before[2] > 0
    lifecycle.stop(scaled.state_dir)
    scaled.connect(lifecycle.ensure(scaled.state_dir).url)
    assert known() == before
