"""`make idle`: endpoints that nobody asks, against the embedded server with an endpoint that serves."""

import io
import tarfile
import time

import boto3
import pytest

from pipeline import idle, settings
from pipeline.cloud import Cloud

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/python:3.11"
SERVE = """
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

http.server.HTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def cloud(server) -> Cloud:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        yield Cloud(settings.from_environment({}), boto3.Session(region_name="us-east-1"))


def deploy(cloud: Cloud, name: str, instance_type: str, count: int) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo("code/serve.py")
        member.size = len(SERVE)
        tar.addfile(member, io.BytesIO(SERVE.encode()))
    cloud.client("s3").create_bucket(Bucket="models")
    cloud.client("s3").put_object(Bucket="models", Key="model.tar.gz", Body=packed.getvalue())
    sagemaker = cloud.client("sagemaker")
    sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn="arn:aws:iam::123456789012:role/model",
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": "s3://models/model.tar.gz"},
    )
    variant = {"VariantName": "AllTraffic", "ModelName": name}
    sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[{**variant, "InstanceType": instance_type, "InitialInstanceCount": count}],
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


def test_endpoints_without_invocations_are_flagged_with_their_monthly_cost(cloud: Cloud):
    assert idle.idle(cloud, 1) == []
    deploy(cloud, "pawline", "ml.m5.xlarge", 2)
    deploy(cloud, "pawline-canary", "ml.m5.large", 1)
    deploy(cloud, "somebody-elses", "ml.m5.large", 1)
    young = idle.idle(cloud, 24)
    assert [entry["idle"] for entry in young] == [False, False]

    for _ in range(3):
        cloud.client("sagemaker-runtime").invoke_endpoint(EndpointName="pawline", Body=b"x")
    time.sleep(1.2)
    second = 1 / 3600
    found = {entry["endpoint"]: entry for entry in idle.idle(cloud, 60 * second)}
    assert found["pawline"]["invocations"] == 3 and not found["pawline"]["idle"]
    canary = {entry["endpoint"]: entry for entry in idle.idle(cloud, second)}["pawline-canary"]
    assert canary["idle"] and canary["month"] == pytest.approx(0.115 * 730, abs=0.01)
    assert found["pawline"]["month"] == pytest.approx(2 * 0.23 * 730, abs=0.01)
    assert set(found) == {"pawline", "pawline-canary"}
    idle.show(idle.idle(cloud, second), second)
