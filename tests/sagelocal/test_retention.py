"""What is old goes when it is told to, and what anything needs stays."""

import json
import os
import time
import uuid

import pytest

from sagelocal.core import pruning
from sagelocal.core.pruning import Wanted
from sagelocal.services.s3 import objects
from sagelocal.services.sagemaker import sweep
from tests.sagelocal.fake_jobs import FakeJobs
from tests.waiting import ended

ROLE = "arn:aws:iam::123456789012:role/pipeline"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/python:3"
CACHED = {"CacheConfig": {"Enabled": True, "ExpireAfter": "P30D"}}
EVERYTHING = Wanted(before=float("inf"), keep=0)


@pytest.fixture
def account(context, monkeypatch):
    objects.create_bucket(context, "bucket")
    FakeJobs(context).install(monkeypatch)
    context.call("sagemaker", "CreateModelPackageGroup", ModelPackageGroupName="group")
    return context


def pipeline(context, name, *, cached=False, approval="PendingManualApproval"):
    training = {
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "HyperParameters": {"epochs": {"Get": "Parameters.Epochs"}},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/models"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "RoleArn": ROLE,
    }
    data = {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}
    package = {
        "ModelPackageGroupName": "group",
        "InferenceSpecification": {
            "Containers": [{"Image": IMAGE, "ModelDataUrl": data}],
            "SupportedContentTypes": ["text/plain"],
            "SupportedResponseMIMETypes": ["text/plain"],
        },
        "ModelApprovalStatus": approval,
    }
    train = {"Name": "Train", "Type": "Training", "Arguments": training, **(CACHED if cached else {})}
    steps = [train, {"Name": "Register-RegisterModel", "Type": "RegisterModel", "Arguments": package}]
    parameters = [{"Name": "Epochs", "Type": "String", "DefaultValue": "1"}]
    document = json.dumps({"Version": "2020-12-01", "Parameters": parameters, "Steps": steps})
    token = uuid.uuid4().hex
    context.call(
        "sagemaker",
        "CreatePipeline",
        PipelineName=name,
        PipelineDefinition=document,
        RoleArn=ROLE,
        ClientRequestToken=token,
    )


def run(context, name, **parameters):
    """An execution that has succeeded; its ID, and the URI of its model."""
    arn = context.call(
        "sagemaker",
        "StartPipelineExecution",
        PipelineName=name,
        PipelineParameters=[{"Name": key, "Value": value} for key, value in parameters.items()],
        ClientRequestToken=uuid.uuid4().hex,
    )["PipelineExecutionArn"]
    found = ended(
        lambda: context.call("sagemaker", "DescribePipelineExecution", PipelineExecutionArn=arn),
        "PipelineExecutionStatus",
    )
    assert found["PipelineExecutionStatus"] == "Succeeded", found
    (train,) = [step for step in steps(context, arn) if step["StepName"] == "Train"]
    job = train["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    return arn.rpartition("/")[2], f"s3://bucket/models/{job}/output/model.tar.gz"


def steps(context, arn):
    return context.call("sagemaker", "ListPipelineExecutionSteps", PipelineExecutionArn=arn)["PipelineExecutionSteps"]


def pruned(context, wanted=EVERYTHING, *, really=True):
    return [item["name"] for item in pruning.prune(context, wanted, really=really) if item["kind"] == "execution"]


def packages(context):
    return context.store.list("model-package")


def test_it_is_shown_with_its_bytes_and_removed_only_on_demand(account):
    pipeline(account, "p")
    execution, model = run(account, "p")
    shown = pruning.prune(account, EVERYTHING, really=False)
    assert [(item["kind"], item["name"]) for item in shown] == [("execution", f"p/{execution}")]
    assert shown[0]["bytes"] >= len(b"model")
    assert objects.exists(account, model) and len(packages(account)) == 1
    assert pruning.prune(account, EVERYTHING, really=True) == shown
    assert pruning.prune(account, EVERYTHING, really=True) == []
    assert not objects.exists(account, model) and not packages(account)
    for kind in ("pipeline-execution", "pipeline-execution-step", "pipeline-execution-definition", "training-job"):
        assert account.store.list(kind) == []
    assert run(account, "p")


def test_the_newest_of_each_pipeline_and_what_is_young_stay(account):
    for name in ("p", "q"):
        pipeline(account, name)
    made = [f"{name}/{run(account, name)[0]}" for name in ("p", "p", "q", "p")]
    assert pruned(account, Wanted(before=time.time() - 60, keep=0)) == []
    assert pruned(account, Wanted(before=float("inf"), keep=1), really=False) == [made[1], made[0]]
    assert set(pruned(account)) == set(made)


def test_what_runs_stays(account):
    pipeline(account, "p")
    execution, _ = run(account, "p")
    (arn,) = [body["PipelineExecutionArn"] for body in account.store.list("pipeline-execution")]
    account.store.update("pipeline-execution", arn, {"PipelineExecutionStatus": "Executing"})
    assert pruned(account) == []
    account.store.update("pipeline-execution", arn, {"PipelineExecutionStatus": "Failed"})
    assert pruned(account) == [f"p/{execution}"]


def test_the_model_of_an_approved_package_stays_with_its_job_while_the_execution_goes(account):
    pipeline(account, "p", approval="Approved")
    execution, model = run(account, "p")
    assert pruned(account) == [f"p/{execution}"]
    assert objects.exists(account, model) and len(packages(account)) == 1
    assert len(account.store.list("training-job")) == 1


@pytest.mark.parametrize("by", ["package", "archive"])
def test_what_a_model_serves_stays_whether_it_is_approved_or_not(account, by):
    pipeline(account, "p", approval="Approved")
    _, model = run(account, "p")
    (package,) = packages(account)
    arn = package["ModelPackageArn"]
    container = {"ModelPackageName": arn} if by == "package" else {"Image": IMAGE, "ModelDataUrl": model}
    account.call("sagemaker", "CreateModel", ModelName="m", PrimaryContainer=container, ExecutionRoleArn=ROLE)
    account.call("sagemaker", "UpdateModelPackage", ModelPackageArn=arn, ModelApprovalStatus="Rejected")
    pruned(account)
    assert objects.exists(account, model)
    assert len(packages(account)) == (by == "package")
    account.call("sagemaker", "DeleteModel", ModelName="m")


def test_what_a_later_execution_reused_stays_and_so_does_what_the_next_would_reuse(account):
    pipeline(account, "p", cached=True)
    first, model = run(account, "p")
    other, other_model = run(account, "p", Epochs="2")
    reusing, _ = run(account, "p")
    assert pruned(account, Wanted(before=float("inf"), keep=1)) == []  # one is reused, one is the newest cache entry
    assert pruned(account) == [f"p/{reusing}", f"p/{first}"]
    assert not objects.exists(account, model) and objects.exists(account, other_model)
    assert f"p/{other}" not in pruned(account)
    again, _ = run(account, "p", Epochs="2")
    (train,) = [
        s for s in steps(account, account.arn("sagemaker", f"pipeline/p/execution/{again}")) if s["StepName"] == "Train"
    ]
    assert train["CacheHitResult"]["SourcePipelineExecutionArn"].endswith(other)


def test_objects_that_do_not_bear_the_name_of_the_run_are_not_touched(account):
    pipeline(account, "p")
    execution, model = run(account, "p")
    others = {"models/mine.tar.gz", "raw/photo.jpg", f"models/{execution}x/y"}
    for key in others:
        objects.write_bytes(account, f"s3://bucket/{key}", b"mine")
    pruned(account)
    assert set(objects.keys(account, "s3://bucket/")) == others


def test_folders_of_failed_jobs_are_swept_after_a_week_and_those_of_no_job_after_a_day(account):
    account.store.put("training-job", "failed", {"TrainingJobStatus": "Failed"})
    account.store.put("training-job", "running", {"TrainingJobStatus": "InProgress"})
    root = account.state_dir / "jobs" / "training"
    for name in ("failed", "running", "orphan"):
        (root / name / "algo-1").mkdir(parents=True)
    for days, left in ((0, ["failed", "orphan", "running"]), (2, ["failed", "running"]), (8, ["running"])):
        for folder in root.iterdir():
            moment = time.time() - days * 86400
            os.utime(folder, (moment, moment))
        sweep.sweep(account)
        assert sorted(folder.name for folder in root.iterdir()) == left


def test_only_a_setting_makes_the_server_remove_executions_by_itself(account, monkeypatch):
    pipeline(account, "p")
    monkeypatch.setattr(sweep, "KEPT_BY_ITSELF", 1)
    for _ in range(2):
        run(account, "p")
    for body in account.store.list("pipeline-execution"):
        account.store.update(
            "pipeline-execution", body["PipelineExecutionArn"], {"LastModifiedTime": time.time() - 8 * 86400}
        )
    for value, left in (("", 2), ("soon", 2), ("9", 2), ("7", 1)):
        monkeypatch.setenv(sweep.VARIABLE, value)
        sweep.sweep(account)
        assert len(account.store.list("pipeline-execution")) == left
