"""SageMaker's processing jobs."""

import time
from typing import cast

from sagelocal.core import listing
from sagelocal.core.context import Context
from sagelocal.core.errors import ResourceInUse, ResourceNotFound, ValidationException
from sagelocal.core.json import Json
from sagelocal.core.registry import on_start, on_stop, operation
from sagelocal.core.store import AlreadyExists
from sagelocal.definition import local
from sagelocal.runtime import cluster, images, launch, process, warm
from sagelocal.services.sagemaker.documents import PROCESSING_JOB, ProcessingJob
from sagelocal.services.sagemaker.jobs import processing

SUMMARY = [
    *["ProcessingJobName", "ProcessingJobArn", "CreationTime", "ProcessingEndTime", "LastModifiedTime"],
    *["ProcessingJobStatus", "FailureReason", "ExitMessage"],
]


@operation("sagemaker", "CreateProcessingJob")
def create_processing_job(context: Context, request: Json) -> Json:
    name = request["ProcessingJobName"]
    images.find(context, request["AppSpecification"]["ImageUri"], "processing")
    _check(request)
    now = time.time()
    document = {
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
        **{key: value for key, value in request.items() if key != "Tags"},
        "_Tags": request.get("Tags", []),
        "ProcessingJobArn": context.arn("sagemaker", f"processing-job/{name}"),
        "ProcessingJobStatus": "InProgress",
        "CreationTime": now,
        "LastModifiedTime": now,
    }
    body = cast(ProcessingJob, document)
    try:
        context.store.insert(PROCESSING_JOB, name, body)
    except AlreadyExists:
        raise ResourceInUse(f"Job name must be unique within an AWS account and region: {name} is taken.") from None
    control = cluster.register(context, PROCESSING_JOB, name)
    context.spawn(f"processing job {name}", processing.run, context, name, control)
    return {"ProcessingJobArn": body["ProcessingJobArn"]}


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


@operation("sagemaker", "DescribeProcessingJob")
def describe_processing_job(context: Context, request: Json) -> ProcessingJob:
    return _found(context, request["ProcessingJobName"])


def _found(context: Context, name: str) -> ProcessingJob:
    body = context.store.get(PROCESSING_JOB, name)
    if body is None:
        raise ResourceNotFound(f"Could not find requested job with name: {name}")
    return body


@operation("sagemaker", "ListProcessingJobs")
def list_processing_jobs(context: Context, request: Json) -> Json:
    return listing.page(
        context.store.list(PROCESSING_JOB),
        request,
        name="ProcessingJobName",
        status="ProcessingJobStatus",
        summary=listing.members(SUMMARY),
        answer="ProcessingJobSummaries",
    )


@operation("sagemaker", "StopProcessingJob")
def stop_processing_job(context: Context, request: Json) -> None:
    name = request["ProcessingJobName"]
    body = _found(context, name)
    control = cluster.control_of(context, PROCESSING_JOB, name)
    if body["ProcessingJobStatus"] not in ("InProgress", "Stopping") or control is None:
        raise ValidationException(f"The request was rejected because the job {name} is {body['ProcessingJobStatus']}.")
    context.store.update(PROCESSING_JOB, name, {"ProcessingJobStatus": "Stopping", "LastModifiedTime": time.time()})
    context.spawn(f"stop {name}", control.end, cluster.STOPPED, processing.GRACE_SECONDS)


@on_start
def pick_up(context: Context) -> None:
    process.end_orphans(context)
    for body in context.store.list(PROCESSING_JOB):
        if body["ProcessingJobStatus"] in ("InProgress", "Stopping"):
            now = time.time()
            changes = {"FailureReason": processing.CUT_OFF, "ProcessingEndTime": now, "LastModifiedTime": now}
            context.store.update(
                PROCESSING_JOB, body["ProcessingJobName"], {"ProcessingJobStatus": "Failed", **changes}
            )
    warm.worker(context).prepare()
    context.spawn("find out about namespaces", launch.isolation)


@on_stop
def end_jobs(context: Context) -> None:
    cluster.end_all(context)
    warm.worker(context).stop()
