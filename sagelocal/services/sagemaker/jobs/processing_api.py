"""SageMaker's processing jobs."""

import time

from sagelocal.core.context import Context
from sagelocal.core.errors import ResourceInUse, ResourceNotFound, ValidationException
from sagelocal.core.json import Json
from sagelocal.core.registry import on_start, on_stop, operation
from sagelocal.core.store import amend
from sagelocal.definition import local
from sagelocal.runtime import cluster, images, launch, warm
from sagelocal.services.sagemaker.documents import PROCESSING_JOB
from sagelocal.services.sagemaker.jobs import processing
from sagelocal.services.sagemaker.jobs.job import Job, start

JOBS = Job(
    PROCESSING_JOB,
    "ProcessingJob",
    missing=lambda name, _: ResourceNotFound(f"Could not find requested job with name: {name}"),
    taken=lambda name, _: ResourceInUse(f"Job name must be unique within an AWS account and region: {name} is taken."),
)
SUMMARY = [
    *["ProcessingJobName", "ProcessingJobArn", "CreationTime", "ProcessingEndTime", "LastModifiedTime"],
    *["ProcessingJobStatus", "FailureReason", "ExitMessage"],
]
JOBS.answers_describe("DescribeProcessingJob")
JOBS.answers_list("ListProcessingJobs", "ProcessingJobSummaries", SUMMARY)
JOBS.answers_delete("DeleteProcessingJob")
WATCHED = JOBS.watched(
    lambda context, name, why: processing.end(context, name, {"ProcessingJobStatus": "Failed", **why})
)


@operation("sagemaker", "CreateProcessingJob")
def create_processing_job(context: Context, request: Json) -> Json:
    name, now = request["ProcessingJobName"], time.time()
    images.find(context, request["AppSpecification"]["ImageUri"], "processing")
    _check(request)
    document = {
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
        **{key: value for key, value in request.items() if key != "Tags"},
        "_Tags": request.get("Tags", []),
        "ProcessingJobArn": JOBS.arn(context, name),
        "ProcessingJobStatus": "InProgress",
        "CreationTime": now,
        "LastModifiedTime": now,
    }
    JOBS.insert(context, name, document)
    start(context, PROCESSING_JOB, name, processing.run)
    return {"ProcessingJobArn": document["ProcessingJobArn"]}


def _check(request: Json) -> None:
    """What cannot run here is refused now, with its name, not later by a confusing failure."""
    local.refuse("CreateProcessingJob", request)
    if not request["AppSpecification"].get("ContainerEntrypoint"):
        raise ValidationException("AppSpecification needs a ContainerEntrypoint: the image's own is not known here.")
    names = [item["InputName"] for item in request.get("ProcessingInputs", [])]
    names += [item["OutputName"] for item in request.get("ProcessingOutputConfig", {}).get("Outputs", [])]
    double = {name for name in names if names.count(name) > 1}
    if double:
        raise ValidationException(f"Input and output names must be unique: {', '.join(sorted(double))} is used twice.")
    for item in request.get("ProcessingInputs", []):
        where = f"Processing input {item['InputName']}"
        source = item.get("S3Input")
        if source is None:
            raise ValidationException(f"{where} has no S3Input.")
        if not item.get("AppManaged"):
            _check_path(source.get("LocalPath"), where)
    for item in request.get("ProcessingOutputConfig", {}).get("Outputs", []):
        where = f"Processing output {item['OutputName']}"
        if "S3Output" not in item:
            raise ValidationException(f"{where} has no S3Output.")
        _check_path(item["S3Output"].get("LocalPath"), where)


def _check_path(path: str | None, where: str) -> None:
    if not path or not path.startswith("/opt/ml/processing") or ".." in path.split("/"):
        raise ValidationException(f"{where}: LocalPath must begin with /opt/ml/processing, not {path!r}.")


@operation("sagemaker", "StopProcessingJob")
def stop_processing_job(context: Context, request: Json) -> None:
    name = request["ProcessingJobName"]
    stopping = {"ProcessingJobStatus": "Stopping", "LastModifiedTime": time.time()}
    control = JOBS.stop(context, name, lambda body: amend(body, stopping))
    context.spawn(f"stop {name}", control.end, cluster.STOPPED, processing.GRACE_SECONDS)


@on_start
def pick_up(context: Context) -> None:
    JOBS.take_up(context, WATCHED)
    warm.worker(context).prepare()


@on_stop
def end_jobs(context: Context) -> None:
    cluster.end_all(context)
    warm.worker(context).stop()
    launch.keeper(context).stop()
