"""SageMaker's training jobs."""

import time
from typing import cast

from sagelocal.core.context import Context
from sagelocal.core.errors import ResourceInUse, ResourceNotFound, ValidationException
from sagelocal.core.json import Json
from sagelocal.core.registry import on_start, operation
from sagelocal.definition import local
from sagelocal.runtime import cluster, images
from sagelocal.services.sagemaker.documents import TRAINING_JOB, TrainingJob
from sagelocal.services.sagemaker.jobs import metrics, rules, training
from sagelocal.services.sagemaker.jobs.job import Job, start

JOBS = Job(
    TRAINING_JOB,
    "TrainingJob",
    missing=lambda name, _: ResourceNotFound(f"Requested resource not found: training job {name}."),
    taken=lambda name, _: ResourceInUse(f"Job name must be unique within an AWS account and region: {name} is taken."),
)
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
JOBS.answers_describe("DescribeTrainingJob")
JOBS.answers_list("ListTrainingJobs", "TrainingJobSummaries", SUMMARY)
JOBS.answers_delete("DeleteTrainingJob")
WATCHED = JOBS.watched(
    lambda context, name, why: rules.start(context, training.end(context, name, training.failed("") | why))
)


@operation("sagemaker", "CreateTrainingJob")
def create_training_job(context: Context, request: Json) -> Json:
    check(context, request)
    body = insert(context, request)
    name = body["TrainingJobName"]
    start(context, TRAINING_JOB, name, training.run)
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
        "TrainingJobArn": JOBS.arn(context, name),
        "TrainingJobStatus": "InProgress",
        "CreationTime": time.time(),
        "ProfilingStatus": "Disabled",
    }
    body = cast(TrainingJob, document)
    body["StoppingCondition"].setdefault("MaxRuntimeInSeconds", 86400)
    if body.get("DebugRuleConfigurations"):
        body["DebugRuleEvaluationStatuses"] = rules.statuses(context, body)
    training.enter(body, "Starting")
    with context.store.transaction():
        JOBS.insert(context, name, body)
        rules.create(context, body)
    rules.register(context, body)
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


@operation("sagemaker", "StopTrainingJob")
def stop_training_job(context: Context, request: Json) -> None:
    name = request["TrainingJobName"]

    def stopping(body: TrainingJob) -> None:
        body["TrainingJobStatus"] = "Stopping"
        training.enter(body, "Stopping")

    control = JOBS.stop(context, name, stopping)
    context.spawn(f"stop {name}", control.end, cluster.STOPPED, training.GRACE_SECONDS)


@on_start
def pick_up(context: Context) -> None:
    JOBS.take_up(context, WATCHED)
    rules.cut_off(context)
