"""A small whole pipeline, and what must be true of an account after whatever has happened while it ran."""

import hashlib
import io
import json
import shutil
import sqlite3
import tarfile
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from benchmarks.archives import tar_gz
from sagelocal.core import lifecycle
from tests.faults import injection
from tests.faults.nursery import Nursery, Order
from tests.waiting import is_gone, until

ROLE = "arn:aws:iam::123456789012:role/pipeline"
TOKEN = "one-start-however-often-it-is-asked-for"
MOVING = ("Executing", "Starting", "Stopping", "InProgress", "Creating", "Updating", "SystemUpdating")

IMAGES = """
[[image]]
pattern = "server"
runs = ["serving"]
serve = ["python3", "serve.py"]
"""
PREPARE = 'open("/opt/ml/processing/output/data.txt", "w").write("data" * 1000)'
TRAIN = """
import os, sys
rate = float(sys.argv[sys.argv.index("--rate") + 1])
print(f"valid:loss={(rate - 0.3) ** 2}")
open(os.environ["SM_MODEL_DIR"] + "/rate.txt", "w").write(str(rate))
"""
EVALUATE = """
import json, tarfile
archive = tarfile.open("/opt/ml/processing/input/model/model.tar.gz")
rate = float(archive.extractfile("rate.txt").read())
json.dump({"accuracy": 1 - (rate - 0.3) ** 2}, open("/opt/ml/processing/output/evaluation.json", "w"))
"""
# It does what it is asked for once for a request id, as a function must whose caller may ask again.
RELEASE = """
import boto3

def handler(event, context):
    name = "released-" + context.aws_request_id
    client = boto3.client("sagemaker")
    try:
        client.create_model(
            ModelName=name,
            ExecutionRoleArn=event["role"],
            PrimaryContainer={"ModelPackageName": event["package"]},
        )
    except client.exceptions.ClientError as refused:
        if "exist" not in str(refused):
            raise
    return {"model": name}
"""


def zipped(name: str, script: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr(name, script)
    return packed.getvalue()


def get(expression: str) -> dict[str, str]:
    return {"Get": expression}


def processing(name: str, script: str, output: str, **inputs: Any) -> dict[str, Any]:
    sources = {"code": f"s3://lab/code/{script}", **inputs}
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
    return {
        "Name": name,
        "Type": "Processing",
        "CacheConfig": {"Enabled": True, "ExpireAfter": "P1D"},
        "Arguments": {
            "RoleArn": ROLE,
            "AppSpecification": {
                "ImageUri": "python",
                "ContainerEntrypoint": ["python3", f"/opt/ml/processing/input/code/{script}"],
            },
            "ProcessingResources": {"ClusterConfig": resources},
            "ProcessingInputs": [
                {
                    "InputName": key,
                    "S3Input": {
                        "S3Uri": uri,
                        "LocalPath": f"/opt/ml/processing/input/{key}",
                        "S3DataType": "S3Prefix",
                        "S3InputMode": "File",
                    },
                }
                for key, uri in sources.items()
            ],
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": "out",
                        "S3Output": {
                            "S3Uri": f"s3://lab/{output}",
                            "LocalPath": "/opt/ml/processing/output",
                            "S3UploadMode": "EndOfJob",
                        },
                    }
                ]
            },
        },
    }


def definition() -> str:
    script = {"sagemaker_program": "train.py", "sagemaker_submit_directory": "s3://lab/code.tar.gz"}
    common = {
        "AlgorithmSpecification": {
            "TrainingImage": "python",
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "valid:loss", "Regex": "valid:loss=([0-9.e-]+)"}],
        },
        "OutputDataConfig": {"S3OutputPath": "s3://lab/models"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        "RoleArn": ROLE,
    }
    search = {
        "Strategy": "Random",
        "RandomSeed": 1,
        "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "valid:loss"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2},
        "ParameterRanges": {"ContinuousParameterRanges": [{"Name": "rate", "MinValue": "0", "MaxValue": "1"}]},
    }
    cached = {"CacheConfig": {"Enabled": True, "ExpireAfter": "P1D"}}
    tuning = {
        "HyperParameterTuningJobConfig": search,
        "TrainingJobDefinition": {**common, "StaticHyperParameters": script},
    }
    best = get("Steps.Tune.BestTrainingJob.TunedHyperParameters['rate']")
    model = get("Steps.Train.ModelArtifacts.S3ModelArtifacts")
    evaluate = processing("Evaluate", "evaluate.py", "evaluation", model=model)
    evaluate["PropertyFiles"] = [{"PropertyFileName": "report", "OutputName": "out", "FilePath": "evaluation.json"}]
    accuracy = {"Std:JsonGet": {"PropertyFile": get("Steps.Evaluate.PropertyFiles.report"), "Path": "accuracy"}}
    package = {
        "ModelPackageGroupName": "lab",
        "ModelApprovalStatus": "Approved",
        "InferenceSpecification": {
            "Containers": [{"Image": "server", "ModelDataUrl": model}],
            "SupportedContentTypes": ["text/plain"],
            "SupportedResponseMIMETypes": ["text/plain"],
        },
    }
    release = {
        "Name": "Release",
        "Type": "Lambda",
        "FunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:release",
        "Arguments": {"role": ROLE, "package": get("Steps.Register.ModelPackageArn")},
        "OutputParameters": [{"OutputName": "model", "OutputType": "String"}],
    }
    gate = {
        "Conditions": [{"Type": "GreaterThanOrEqualTo", "LeftValue": accuracy, "RightValue": 0.1}],
        "IfSteps": [{"Name": "Register", "Type": "RegisterModel", "Arguments": package}, release],
        "ElseSteps": [],
    }
    train = {**common, "HyperParameters": {**script, "rate": best}}
    steps = [
        processing("Prepare", "prepare.py", "data"),
        {"Name": "Tune", "Type": "Tuning", "DependsOn": ["Prepare"], "Arguments": tuning, **cached},
        {"Name": "Train", "Type": "Training", "Arguments": train, **cached},
        evaluate,
        {"Name": "Gate", "Type": "Condition", "Arguments": gate},
    ]
    return json.dumps({"Version": "2020-12-01", "Steps": steps})


Client = Callable[[str], Any]


def clients(running: lifecycle.Running) -> Client:
    """client("s3"): a boto3 client of a server, which asks once."""
    given = running.environment()
    config = Config(retries={"total_max_attempts": 1}, read_timeout=60)
    session = boto3.Session(given["AWS_ACCESS_KEY_ID"], given["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1")
    made: dict[str, Any] = {}

    def client(service: str) -> Any:
        if service not in made:
            made[service] = session.client(service, endpoint_url=running.url, config=config)
        return made[service]

    return client


class Account:
    """A server with a fault, and an account that has the pipeline."""

    def __init__(self, nursery: Nursery, state_dir: Path, **fault: str):
        self.nursery, self.state_dir = nursery, state_dir
        self.armed = Path(f"{state_dir}.armed")
        self.armed.unlink(missing_ok=True)
        self.start(**fault)

    def start(self, **fault: str) -> None:
        def come_up() -> lifecycle.Running | None:
            """None when a killed server's last threads still had the directory's lock."""
            self.pid = self.nursery.start(Order(state_dir=str(self.state_dir), **fault))
            until(lambda: lifecycle.find(self.state_dir) or self.is_dead())
            return lifecycle.find(self.state_dir)

        running = until(come_up)
        assert running
        self.client = clients(running)

    def is_dead(self) -> bool:
        return is_gone(self.pid)

    def stop(self) -> None:
        lifecycle.stop(self.state_dir)

    def set_up(self) -> None:
        s3, sagemaker = self.client("s3"), self.client("sagemaker")
        s3.create_bucket(Bucket="lab")
        s3.put_object(Bucket="lab", Key="code/prepare.py", Body=PREPARE.encode())
        s3.put_object(Bucket="lab", Key="code/evaluate.py", Body=EVALUATE.encode())
        s3.put_object(Bucket="lab", Key="code.tar.gz", Body=tar_gz({"train.py": TRAIN}))
        self.client("lambda").create_function(
            FunctionName="release",
            Runtime="python3.12",
            Role=ROLE,
            Handler="app.handler",
            Timeout=60,
            Code={"ZipFile": zipped("app.py", RELEASE)},
        )
        sagemaker.create_pipeline(PipelineName="lab", PipelineDefinition=definition(), RoleArn=ROLE)


def begin(client: Client) -> str:
    """Start the execution: the same one, however often it is asked for."""
    request = {"PipelineName": "lab", "ClientRequestToken": TOKEN}
    return str(client("sagemaker").start_pipeline_execution(**request)["PipelineExecutionArn"])


def status_of(client: Client, arn: str) -> str:
    found = client("sagemaker").describe_pipeline_execution(PipelineExecutionArn=arn)
    return str(found["PipelineExecutionStatus"])


def end_of(client: Client, arn: str) -> str:
    """The status that stays."""
    return until(lambda: status_of(client, arn), lambda status: status not in MOVING)


def make_base(nursery: Nursery, directory: Path, log: Path) -> None:
    """A state directory that has the pipeline, and the list of the operations of one run of it in `log`."""
    directory.mkdir()
    (directory / "images.toml").write_text(IMAGES)
    account = Account(nursery, directory)
    account.set_up()
    account.stop()
    recorded = directory.with_name("recorded")
    shutil.copytree(directory, recorded)
    account = Account(nursery, recorded, log=str(log))
    account.armed.touch()
    arn = begin(account.client)
    assert end_of(account.client, arn) == "Succeeded", failures(account.client, arn)
    account.stop()
    assert problems(recorded, arn) == []


def failures(client: Client, arn: str) -> dict[str, Any]:
    listed = client("sagemaker").list_pipeline_execution_steps(PipelineExecutionArn=arn)
    return {step["StepName"]: step.get("FailureReason") for step in listed["PipelineExecutionSteps"]}


def problems(state_dir: Path, arn: str) -> list[str]:
    """What is wrong in the state that a stopped server has left after an execution that succeeded."""
    with closing(sqlite3.connect(f"file:{state_dir}/state.db?mode=ro", uri=True)) as database:
        integrity = database.execute("PRAGMA integrity_check").fetchone()[0]
        rows = database.execute("SELECT kind, name, body, crc FROM document").fetchall()
    found = [] if integrity == "ok" else [f"integrity_check: {integrity}"]
    found += [
        f"{kind} {name} has another checksum" for kind, name, body, crc in rows if zlib.crc32(body.encode()) != crc
    ]
    documents = {(kind, name): json.loads(body) for kind, name, body, _ in rows}
    return found + _stuck(documents) + _doubled(documents, arn) + _dangling(documents, state_dir) + _files(state_dir)


Documents = dict[tuple[str, str], dict[str, Any]]


def _stuck(documents: Documents) -> list[str]:
    return [
        f"{kind} {name} is {value} with nothing behind it"
        for (kind, name), body in documents.items()
        for member, value in body.items()
        if member.endswith("Status") and value in MOVING
    ]


def _doubled(documents: Documents, arn: str) -> list[str]:
    """Finished jobs, packages, released models: what one execution does once."""
    execution = arn.rpartition("/")[2]
    done: Counter[str] = Counter()
    for (kind, name), body in documents.items():
        if kind == "training-job" and name.startswith(f"pipelines-{execution}"):
            done["training jobs"] += body["TrainingJobStatus"] == "Completed"
        if kind == "training-job" and body.get("TuningJobArn"):
            done["trials"] += body["TrainingJobStatus"] == "Completed"
        if kind == "processing-job":
            done["processing jobs"] += body["ProcessingJobStatus"] == "Completed"
        if kind == "tuning-job":
            done["tuning jobs"] += body["HyperParameterTuningJobStatus"] == "Completed"
        if kind in ("model-package", "model", "pipeline-execution", "pipeline-start-token"):
            done[f"{kind}s"] += 1
    wanted = {"training jobs": 1, "processing jobs": 2, "tuning jobs": 1, "model-packages": 1, "models": 1}
    wanted |= {"trials": 2, "pipeline-executions": 1, "pipeline-start-tokens": 1}
    return [f"{done[what]} {what} instead of {count}" for what, count in wanted.items() if done[what] != count]


def _dangling(documents: Documents, state_dir: Path) -> list[str]:
    """ARNs and addresses that lead nowhere."""
    names = {name for _, name in documents}
    arns = [
        part["Arn"]
        for (kind, _), body in documents.items()
        if kind == "pipeline-execution-step"
        for part in body.get("Metadata", {}).values()
        if "Arn" in part
    ]
    arns += [body["PipelineExecutionArn"] for (kind, _), body in documents.items() if kind == "pipeline-start-token"]
    arns += [body["ModelPackageArn"] for (kind, _), body in documents.items() if kind == "model-package-token"]
    found = [arn for arn in arns if arn not in names and arn.rpartition("/")[2].rpartition(":")[2] not in names]
    for (kind, name), body in documents.items():
        if kind == "model-package":
            uri = body["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
            if not (state_dir / "s3" / uri.removeprefix("s3://")).is_file():
                found.append(f"{uri} of {name}")
    return [f"{address} leads nowhere" for address in found]


def _files(state_dir: Path) -> list[str]:
    """Objects of the execution that are not whole."""
    found = []
    evaluation = state_dir / "s3" / "lab" / "evaluation" / "evaluation.json"
    if not evaluation.is_file() or "accuracy" not in json.loads(evaluation.read_text()):
        found.append("evaluation.json is not whole")
    for model in (state_dir / "s3" / "lab" / "models").rglob("model.tar.gz"):
        try:
            with tarfile.open(model) as tar:
                tar.getmember("rate.txt")
        except (tarfile.TarError, KeyError, EOFError, OSError) as problem:
            found.append(f"{model}: {problem}")
    return found


def etags(client: Client) -> list[str]:
    """Objects whose ETag is not that of their content, or that are listed with another size."""
    s3 = client("s3")
    found = []
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket="lab"):
        for listed in page.get("Contents", []):
            data = s3.get_object(Bucket="lab", Key=listed["Key"])["Body"].read()
            if hashlib.md5(data).hexdigest() != listed["ETag"].strip('"') or len(data) != listed["Size"]:
                found.append(f"{listed['Key']} is not what its ETag says")
    return found


def try_point(nursery: Nursery, base: Path, directory: Path, operation: str, kind: str) -> "Outcome":
    """Run the pipeline with a fault, start the server again where it ended, and look at what is left."""
    shutil.copytree(base, directory)
    began = time.monotonic()
    account = Account(nursery, directory, operation=operation, kind=kind)
    account.armed.touch()
    full = Path(f"{directory}.full")
    arn, status = "", ""

    def look() -> bool:
        """Do what a client does that is cut off: ask again."""
        nonlocal arn, status
        if account.is_dead():
            account.armed.unlink(missing_ok=True)
            account.start()
        if full.exists():
            time.sleep(2)
            full.unlink()
        try:
            arn = arn or begin(account.client)
            status = status_of(account.client, arn)
        except Exception:
            return False
        return status not in MOVING

    until(look, pause=0.05)
    by_itself = status
    if status == "Failed":
        reasons = failures(account.client, arn)
        account.client("sagemaker").retry_pipeline_execution(PipelineExecutionArn=arn)
        until(look, pause=0.05)
        by_itself = f"Failed: {reasons}"
    wrong = [] if status == "Succeeded" else [f"ends {status} after a retry: {failures(account.client, arn)}"]
    wrong += etags(account.client)
    if begin(account.client) != arn:
        wrong.append("the same token started another execution")
    account.stop()
    wrong += problems(directory, arn)
    if not wrong:
        shutil.rmtree(directory)
    return Outcome(operation, kind, by_itself, wrong, time.monotonic() - began)


class Outcome:
    """What came of one fault: how the execution ended without a human, and what is wrong."""

    def __init__(self, operation: str, kind: str, by_itself: str, wrong: list[str], seconds: float):
        self.operation, self.kind, self.by_itself = operation, kind, by_itself
        self.wrong, self.seconds = wrong, seconds

    def __str__(self) -> str:
        said = "; ".join(self.wrong) or "right"
        return f"{self.kind:12} {self.operation:90} {self.by_itself[:60]:12} {self.seconds:5.1f} s  {said}"


def spread(points: list[tuple[str, str]], count: int) -> list[tuple[str, str]]:
    """`count` of the points, evenly over the operations; what is done to them in turn."""
    if count >= len(points):
        return points
    kinds = len(injection.KINDS)  # each operation has a point for each, in this order
    return [points[index * len(points) // count // kinds * kinds + index % kinds] for index in range(count)]


def all_points(log: Path) -> list[tuple[str, str]]:
    operations = log.read_text().splitlines()
    return [(operation, kind) for operation in operations for kind in injection.KINDS]
