"""SageMaker's training jobs."""

import time
from functools import partial
from typing import cast

from sagelocal.core import listing
from sagelocal.core.context import Context
from sagelocal.core.errors import ResourceInUse, ResourceNotFound, ValidationException
from sagelocal.core.json import Json
from sagelocal.core.registry import on_start, operation
from sagelocal.core.store import AlreadyExists
from sagelocal.definition import local
from sagelocal.runtime import cluster, images, process
from sagelocal.services.sagemaker.documents import TRAINING_JOB, TrainingJob
from sagelocal.services.sagemaker.jobs import metrics, rules, training

SUMMARY = [
    *["TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingEndTime", "LastModifiedTime"],
    *["TrainingJobStatus", "SecondaryStatus"],
]
SETTINGS = [  # members of the request that Describe answers as they are
    *["TrainingJobName", "HyperParameters", "AlgorithmSpecification", "RoleArn", "InputDataConfig", "OutputDataConfig"],
    *["ResourceConfig", "StoppingCondition", "CheckpointConfig", "Environment", "RetryStrategy", "VpcConfig"],
    *["EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining"],
    *["DebugHookConfig", "DebugRuleConfigurations", "ProfilerConfig", "TensorBoardOutputConfig", "ExperimentConfig"],
]


@operation("sagemaker", "CreateTrainingJob")
def create_training_job(context: Context, request: Json) -> Json:
    check(context, request)
    body = insert(context, request)
    name = body["TrainingJobName"]
    control = cluster.register(context, TRAINING_JOB, name)
    context.spawn(f"training job {name}", training.run, context, name, control)
    return {"TrainingJobArn": body["TrainingJobArn"]}


def insert(context: Context, request: Json, extra: Json | None = None) -> TrainingJob:
    """Put a new job's document into the store, not yet running. Raises ResourceInUse when the name is taken."""
    name = request["TrainingJobName"]
    document: Json = {
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
        "EnableNetworkIsolation": False,
        "EnableInterContainerTrafficEncryption": False,
        "EnableManagedSpotTraining": False,
        **{key: request[key] for key in SETTINGS if key in request},
        **(extra or {}),
        "_Tags": request.get("Tags", []),
        "TrainingJobArn": context.arn("sagemaker", f"training-job/{name}"),
        "TrainingJobStatus": "InProgress",
        "CreationTime": time.time(),
        "ProfilingStatus": "Disabled",
    }
    body = cast(TrainingJob, document)
    body["StoppingCondition"].setdefault("MaxRuntimeInSeconds", 86400)
    if body.get("DebugRuleConfigurations"):
        body["DebugRuleEvaluationStatuses"] = rules.statuses(context, body)
    training.enter(body, "Starting")
    try:
        context.store.insert(TRAINING_JOB, name, body)
    except AlreadyExists:
        raise ResourceInUse(f"Job name must be unique within an AWS account and region: {name} is taken.") from None
    rules.create(context, body)
    return body


def check(context: Context, request: Json) -> None:
    """Refuse what cannot run here now, by name, not later by a confusing failure."""
    algorithm = request["AlgorithmSpecification"]
    local.refuse("CreateTrainingJob", request)
    if not algorithm.get("TrainingImage"):
        raise ValidationException("AlgorithmSpecification needs a TrainingImage.")
    image = images.find(context, algorithm["TrainingImage"], "training")
    script = request.get("HyperParameters", {}).get("sagemaker_program")
    if script and not image.toolkit and not image.train and not algorithm.get("ContainerEntrypoint"):
        raise ValidationException(
            f"The image {algorithm['TrainingImage']} has no training toolkit, so sagemaker_program cannot run: "
            f"set toolkit = true for {image.pattern} in images.toml, or give a ContainerEntrypoint."
        )
    if not script and not image.train and not algorithm.get("ContainerEntrypoint"):
        raise ValidationException(
            f"Nothing says what the image {algorithm['TrainingImage']} should run: give the hyperparameters "
            "sagemaker_program and sagemaker_submit_directory, or a ContainerEntrypoint."
        )
    metrics.definitions(algorithm.get("MetricDefinitions", []))
    rules.check(context, request)
    if "ResourceConfig" not in request or "StoppingCondition" not in request:
        missing = "ResourceConfig" if "ResourceConfig" not in request else "StoppingCondition"
        raise ValidationException(f"{missing} is required.")
    for channel in request.get("InputDataConfig", []):
        if "S3DataSource" not in channel["DataSource"]:
            raise ValidationException(f"Channel {channel['ChannelName']} has no S3DataSource.")


@operation("sagemaker", "DescribeTrainingJob")
def describe_training_job(context: Context, request: Json) -> TrainingJob:
    return _found(context, request["TrainingJobName"])


def _found(context: Context, name: str) -> TrainingJob:
    body = context.store.get(TRAINING_JOB, name)
    if body is None:
        raise ResourceNotFound(f"Requested resource not found: training job {name}.")
    return body


@operation("sagemaker", "ListTrainingJobs")
def list_training_jobs(context: Context, request: Json) -> Json:
    return listing.page(
        context.store.list(TRAINING_JOB),
        request,
        name="TrainingJobName",
        status="TrainingJobStatus",
        summary=listing.members(SUMMARY),
        answer="TrainingJobSummaries",
    )


@operation("sagemaker", "StopTrainingJob")
def stop_training_job(context: Context, request: Json) -> None:
    name = request["TrainingJobName"]
    body = _found(context, name)
    control = cluster.control_of(context, TRAINING_JOB, name)
    if body["TrainingJobStatus"] not in ("InProgress", "Stopping") or control is None:
        raise ValidationException(f"The request was rejected because the job {name} is {body['TrainingJobStatus']}.")

    def stopping(body: TrainingJob) -> None:
        body["TrainingJobStatus"] = "Stopping"
        training.enter(body, "Stopping")

    context.store.change(TRAINING_JOB, name, stopping)
    context.spawn(f"stop {name}", control.end, cluster.STOPPED, training.GRACE_SECONDS)


@on_start
def pick_up(context: Context) -> None:
    process.end_orphans(context)
    cut_off = partial(training.finished, result=training.failed(training.CUT_OFF))
    for body in context.store.list(TRAINING_JOB):
        if body["TrainingJobStatus"] in ("InProgress", "Stopping"):
            context.store.change(TRAINING_JOB, body["TrainingJobName"], cut_off)
        rules.cut_off(context, body)
