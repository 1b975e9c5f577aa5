"""The deploy function against the embedded SageMaker: real processes serve, alarms go off, fleets come back."""

import hashlib
import json
import threading

import boto3
import pytest
from botocore.exceptions import ClientError
from calls import Backoff, Clients
from deletion import Deletion, delete
from deploy_support import EVENT, RELEASES, RESOURCE
from deployment import Deployment
from events import STATE_CHANGE, finish
from failures import SmokeTestFailed, UpdateRolledBack
from reconcile import Report, reconcile

from tests.sagelocal.endpoint_account import IMAGE, SERVE, archive
from tests.waiting import ended

SPEED = 30
# The model says the breed that its archive holds; an archive that holds a number answers with that status.
SCRIPT = SERVE.replace(
    "        said = ",
    '        breed = open("/opt/ml/model/version").read()\n'
    "        if breed.isdigit():\n"
    '            return self.answer(int(breed), b"broken")\n'
    '        said = {"predictions": [{"breed": breed, "probability": 0.9}]}\n'
    "        _ = ",
)


class Account:
    def __init__(self, url: str):
        made = {name: boto3.client(name, endpoint_url=url) for name in ("sagemaker", "cloudwatch", "s3")}
        self.sagemaker, self.s3 = made["sagemaker"], made["s3"]
        self.scaling = boto3.client("application-autoscaling", endpoint_url=url)
        self.runtime = boto3.client("sagemaker-runtime", endpoint_url=url)
        self.clients = Clients(self.sagemaker, self.scaling, made["cloudwatch"], self.s3, self.runtime, RELEASES)
        self.s3.create_bucket(Bucket="bucket")
        evaluation = {"smoke_test": {"file": "smoke.jpg", "breed": "beagle"}}
        self.s3.put_object(Bucket="bucket", Key="evaluation/evaluation.json", Body=json.dumps(evaluation).encode())
        self.s3.put_object(Bucket="bucket", Key="evaluation/smoke.jpg", Body=b"a JPEG")
        self.sagemaker.create_model_package_group(ModelPackageGroupName="dogs")

    def package(self, breed: str) -> str:
        """An approved model that says `breed` of every photo."""
        content = archive(breed, SCRIPT)
        self.s3.put_object(Bucket="bucket", Key=f"{breed}/model.tar.gz", Body=content)
        container = {
            "Image": IMAGE,
            "ModelDataUrl": f"s3://bucket/{breed}/model.tar.gz",
            "Environment": {"MODEL_SHA256": hashlib.sha256(content).hexdigest()},
        }
        statistics = {"ContentType": "application/json", "S3Uri": "s3://bucket/evaluation/evaluation.json"}
        return self.sagemaker.create_model_package(
            ModelPackageGroupName="dogs",
            ModelApprovalStatus="Approved",
            InferenceSpecification={
                "Containers": [container],
                "SupportedContentTypes": ["image/jpeg"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
            ModelMetrics={"ModelQuality": {"Statistics": statistics}},
        )["ModelPackageArn"]

    def deploy(self, package: str, **changes) -> Report:
        deployment = Deployment.from_event(EVENT | {"model_package_arn": package} | changes)
        return reconcile(deployment, self.clients, Backoff(60))

    def event(self) -> Report:
        detail = {"EndpointName": "dogs", "EndpointStatus": "IN_SERVICE"}
        return finish({"detail-type": STATE_CHANGE, "detail": detail}, self.clients, Backoff(60))

    def breed(self) -> str:
        answer = self.runtime.invoke_endpoint(EndpointName="dogs", Body=b"x", ContentType="image/jpeg")
        return json.loads(answer["Body"].read())["predictions"][0]["breed"]


@pytest.fixture(scope="module")
def account(server) -> Account:
    server.ask("POST", f"/_sagelocal/clock?speed={SPEED}")
    return Account(server.url)


@pytest.fixture
def serving(account: Account):
    """The package that knows the dog, in service."""
    package = account.package("beagle")
    assert account.deploy(package).status == "InService"
    yield package
    delete(Deletion(endpoint_name="dogs"), account.clients, Backoff(60))


def test_it_deploys_tests_scales_and_deletes_and_twice_changes_nothing(account: Account):
    package = account.package("beagle")
    report = account.deploy(package)
    assert (report.status, account.breed()) == ("InService", "beagle")
    assert "smoke test was passed: beagle" in report.message
    again = account.deploy(package)
    assert (again.status, again.changes) == ("InService", "")
    assert account.event().changes == ""
    found = account.scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert [(target["ResourceId"], target["MaxCapacity"]) for target in found] == [(RESOURCE, 3)]
    assert delete(Deletion(endpoint_name="dogs"), account.clients, Backoff(60)).status == "Deleted"
    assert account.sagemaker.list_endpoints()["Endpoints"] == account.sagemaker.list_models()["Models"] == []
    assert account.sagemaker.list_endpoint_configs()["EndpointConfigs"] == []
    assert account.scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []
    assert account.clients.cloudwatch.describe_alarms()["MetricAlarms"] == []


def test_a_model_that_does_not_know_the_dog_is_taken_back(account: Account, serving: str):
    with pytest.raises(SmokeTestFailed, match="took a photo of beagle for pug.*serves again"):
        account.deploy(account.package("pug"))
    assert account.breed() == "beagle"
    assert account.event().status == "Ignored"


def test_an_alarm_during_the_canary_brings_the_old_model_back(account: Account, serving: str):
    carefully = {"canary_percent": 50, "canary_wait_seconds": 600, "min_instances": 2}
    account.deploy(serving, **carefully)
    account.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="dogs", DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 2}]
    )
    ended(lambda: account.sagemaker.describe_endpoint(EndpointName="dogs"), "EndpointStatus")
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.05):
            try:
                account.breed()
            except ClientError:
                continue

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        with pytest.raises(UpdateRolledBack, match="alarm.*dogs-(5xx|model-errors)"):
            account.deploy(account.package("500"), **carefully)
    finally:
        over.set()
        asking.join()
    assert account.breed() == "beagle"
