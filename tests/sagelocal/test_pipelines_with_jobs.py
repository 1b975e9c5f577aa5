"""Pipelines whose steps are real jobs, on a server of their own: tuned, trained, reused; killed and continued."""

import io
import json
import os
import signal
import tarfile
import time
import zipfile

import boto3
import pytest

from benchmarks.archives import tar_gz
from sagelocal.core import lifecycle
from tests.waiting import ended, until

ROLE = "arn:aws:iam::123456789012:role/pipeline"
IMAGE = "python"

TRAIN = """
import os, sys
rate = float(sys.argv[sys.argv.index("--rate") + 1])
print(f"valid:loss={(rate - 0.3) ** 2}")
open(os.environ["SM_MODEL_DIR"] + "/rate.txt", "w").write(str(rate))
"""
PAUSE = """
import pathlib, time
go_on = pathlib.Path("/opt/ml/processing/input/gate/go").read_text()
time.sleep(float(go_on))
pathlib.Path("/opt/ml/processing/output/done.txt").write_text("done")
"""


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory):
    made = tmp_path_factory.mktemp("pipelines")
    yield made
    lifecycle.stop(made)


@pytest.fixture
def client(state_dir):
    """client("s3"): a boto3 client of this module's server, which is started again where a test has killed it."""
    url = lifecycle.ensure(state_dir).url
    return lambda service: boto3.client(service, endpoint_url=url, region_name="us-east-1")


def archive(script):
    return tar_gz({"go.py": script})


def wait(sagemaker, arn):
    return ended(lambda: sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn), "PipelineExecutionStatus")


def steps_of(sagemaker, arn):
    listed = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
    return {step["StepName"]: step for step in listed}


def run(sagemaker, name):
    arn = sagemaker.start_pipeline_execution(PipelineName=name)["PipelineExecutionArn"]
    execution, steps = wait(sagemaker, arn), steps_of(sagemaker, arn)
    reasons = {step["StepName"]: step.get("FailureReason") for step in steps.values()}
    assert execution["PipelineExecutionStatus"] == "Succeeded", reasons
    return steps


def get(expression):
    return {"Get": expression}


def tuned_and_trained(bucket):
    """Tune -> Train with the best rate -> Register."""
    script = {"sagemaker_program": "go.py", "sagemaker_submit_directory": f"s3://{bucket}/code.tar.gz"}
    metrics = [{"Name": "valid:loss", "Regex": "valid:loss=([0-9.e-]+)"}]
    algorithm = {"TrainingImage": IMAGE, "TrainingInputMode": "File", "MetricDefinitions": metrics}
    common = {
        "AlgorithmSpecification": algorithm,
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/models"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "RoleArn": ROLE,
    }
    config = {
        "Strategy": "Random",
        "RandomSeed": 1,
        "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "valid:loss"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": 3},
        "ParameterRanges": {"ContinuousParameterRanges": [{"Name": "rate", "MinValue": "0", "MaxValue": "1"}]},
    }
    cached = {"CacheConfig": {"Enabled": True, "ExpireAfter": "P30D"}}
    container = {"Image": IMAGE, "ModelDataUrl": get("Steps.Train.ModelArtifacts.S3ModelArtifacts")}
    best = get("Steps.Tune.BestTrainingJob.TunedHyperParameters['rate']")
    tuning = {
        "HyperParameterTuningJobConfig": config,
        "TrainingJobDefinition": {**common, "StaticHyperParameters": script},
    }
    package = {
        "ModelPackageGroupName": f"{bucket}-group",
        "InferenceSpecification": {
            "Containers": [container],
            "SupportedContentTypes": ["text/plain"],
            "SupportedResponseMIMETypes": ["text/plain"],
        },
        "ModelApprovalStatus": "Approved",
    }
    return [
        {"Name": "Tune", "Type": "Tuning", "Arguments": tuning, **cached},
        {
            "Name": "Train",
            "Type": "Training",
            "Arguments": {**common, "HyperParameters": {**script, "rate": best}},
            **cached,
        },
        {"Name": "Register", "Type": "RegisterModel", "Arguments": package},
    ]


def test_a_model_is_tuned_trained_and_registered_and_the_second_run_reuses_it(client):
    sagemaker, s3, bucket = client("sagemaker"), client("s3"), "tuned"
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="code.tar.gz", Body=archive(TRAIN))
    definition = json.dumps({"Version": "2020-12-01", "Steps": tuned_and_trained(bucket)})
    sagemaker.create_pipeline(PipelineName="tuned", PipelineDefinition=definition, RoleArn=ROLE)

    first = run(sagemaker, "tuned")
    package = sagemaker.describe_model_package(ModelPackageName=first["Register"]["Metadata"]["RegisterModel"]["Arn"])
    assert package["ModelPackageVersion"] == 1 and package["ModelPackageGroupName"] == "tuned-group"
    model = package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"].removeprefix(f"s3://{bucket}/")
    with tarfile.open(fileobj=io.BytesIO(s3.get_object(Bucket=bucket, Key=model)["Body"].read())) as tar:
        rate = float(tar.extractfile("rate.txt").read())
    trials = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=first["Tune"]["Metadata"]["TuningJob"]["Arn"].rpartition("/")[2]
    )["TrainingJobSummaries"]
    tried = [float(trial["TunedHyperParameters"]["rate"]) for trial in trials]
    assert len(tried) == 3 and rate == min(tried, key=lambda r: (r - 0.3) ** 2)

    second = run(sagemaker, "tuned")
    assert {name for name, step in second.items() if "CacheHitResult" in step} == {"Tune", "Train"}
    assert second["Train"]["Metadata"] == first["Train"]["Metadata"]
    assert second["Register"]["Metadata"] != first["Register"]["Metadata"]

    s3.delete_object(Bucket=bucket, Key=model)
    third = run(sagemaker, "tuned")
    assert {name for name, step in third.items() if "CacheHitResult" in step} == {"Tune"}


FUNCTION = """
def handler(event, context):
    if event["endpoint"] == "broken":
        raise ValueError("no such model")
    return {"name": event["endpoint"], "instances": event["instances"] + 1}
"""


def test_a_lambda_step_runs_a_function_and_fails_with_its_error(client):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive_file:
        archive_file.writestr("deploy.py", FUNCTION)
    function = client("lambda").create_function(
        FunctionName="deploy",
        Runtime="python3.12",
        Role=ROLE,
        Handler="deploy.handler",
        Code={"ZipFile": packed.getvalue()},
    )["FunctionArn"]
    step = {
        "Name": "Deploy",
        "Type": "Lambda",
        "FunctionArn": function,
        "Arguments": {"endpoint": get("Parameters.Endpoint"), "instances": 1},
        "OutputParameters": [
            {"OutputName": "name", "OutputType": "String"},
            {"OutputName": "instances", "OutputType": "Integer"},
        ],
    }
    parameters = [{"Name": "Endpoint", "Type": "String", "DefaultValue": "breeds"}]
    sagemaker = client("sagemaker")
    definition = json.dumps({"Parameters": parameters, "Steps": [step]})
    sagemaker.create_pipeline(PipelineName="deploys", PipelineDefinition=definition, RoleArn=ROLE)
    outputs = run(sagemaker, "deploys")["Deploy"]["Metadata"]["Lambda"]["OutputParameters"]
    assert outputs == [{"Name": "name", "Value": "breeds"}, {"Name": "instances", "Value": "2"}]

    arn = sagemaker.start_pipeline_execution(
        PipelineName="deploys", PipelineParameters=[{"Name": "Endpoint", "Value": "broken"}]
    )["PipelineExecutionArn"]
    assert wait(sagemaker, arn)["PipelineExecutionStatus"] == "Failed"
    assert "ValueError: no such model" in steps_of(sagemaker, arn)["Deploy"]["FailureReason"]


def pausing(name, bucket, **members):
    """A processing step that sleeps for as long as the object gate/<name>/go says."""
    uris = {"code": f"s3://{bucket}/code/pause.py", "gate": f"s3://{bucket}/gate/{name}/"}
    inputs = [
        {
            "InputName": key,
            "S3Input": {
                "S3Uri": uri,
                "LocalPath": f"/opt/ml/processing/input/{key}",
                "S3DataType": "S3Prefix",
                "S3InputMode": "File",
            },
        }
        for key, uri in uris.items()
    ]
    output = {
        "S3Uri": f"s3://{bucket}/out/{name}",
        "LocalPath": "/opt/ml/processing/output",
        "S3UploadMode": "EndOfJob",
    }
    arguments = {
        "AppSpecification": {
            "ImageUri": IMAGE,
            "ContainerEntrypoint": ["python3", "/opt/ml/processing/input/code/pause.py"],
        },
        "ProcessingInputs": inputs,
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "out", "S3Output": output}]},
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
        "RoleArn": ROLE,
    }
    return {"Name": name, "Type": "Processing", "Arguments": arguments, **members}


@pytest.fixture
def paused(client):
    """The ARN of an execution of which A has finished and B sleeps for an hour; C waits for B."""
    sagemaker, s3, bucket = client("sagemaker"), client("s3"), "paused"
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="code/pause.py", Body=PAUSE.encode())
    for step, seconds in {"A": 0, "B": 3600, "C": 0}.items():
        s3.put_object(Bucket=bucket, Key=f"gate/{step}/go", Body=str(seconds).encode())
    steps = [pausing("A", bucket), pausing("B", bucket, DependsOn=["A"]), pausing("C", bucket, DependsOn=["B"])]
    name = f"paused-{time.time_ns()}"
    sagemaker.create_pipeline(PipelineName=name, PipelineDefinition=json.dumps({"Steps": steps}), RoleArn=ROLE)
    arn = sagemaker.start_pipeline_execution(PipelineName=name)["PipelineExecutionArn"]
    until(lambda: steps_of(sagemaker, arn).get("B"), lambda step: step and step["StepStatus"] == "Executing")
    return arn


def test_a_killed_servers_execution_goes_on_by_itself_and_runs_only_what_was_left(state_dir, client, paused):
    arn = paused
    before = steps_of(client("sagemaker"), arn)
    os.kill(lifecycle.find(state_dir).pid, signal.SIGKILL)
    until(lambda: lifecycle.find(state_dir) is None)
    gate = state_dir / "s3" / "paused" / "gate" / "B" / "go"
    gate.unlink()
    gate.write_text("0")
    url = lifecycle.ensure(state_dir).url
    sagemaker = boto3.client("sagemaker", endpoint_url=url, region_name="us-east-1")
    assert wait(sagemaker, arn)["PipelineExecutionStatus"] == "Succeeded"
    steps = steps_of(sagemaker, arn)
    assert steps["A"] == before["A"] and set(steps) == {"A", "B", "C"}
    cut_off = before["B"]["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2]
    job = sagemaker.describe_processing_job(ProcessingJobName=cut_off)
    assert (job["ProcessingJobStatus"], job["FailureReason"]) == (
        "Failed",
        "The embedded SageMaker stopped while the job ran.",
    )


def test_stopping_an_execution_ends_the_process_of_its_running_step(client, paused):
    arn = paused
    sagemaker = client("sagemaker")
    sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)
    assert wait(sagemaker, arn)["PipelineExecutionStatus"] == "Stopped"
    steps = steps_of(sagemaker, arn)
    assert {name: step["StepStatus"] for name, step in steps.items()} == {"A": "Succeeded", "B": "Stopped"}
    job = steps["B"]["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2]
    assert sagemaker.describe_processing_job(ProcessingJobName=job)["ProcessingJobStatus"] == "Stopped"
