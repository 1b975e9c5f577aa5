"""The events that SageMaker sends of itself, made from changes of documents in the store.

Shapes: https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html. Job and endpoint
events carry the Describe answer with times in milliseconds, the others times as ISO text.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sagelocal.core import service_models
from sagelocal.core.json import Json

STEP_TYPES = {"ProcessingJob": "Processing", "TrainingJob": "Training", "TuningJob": "HyperparameterTuning"}


@dataclass(frozen=True)
class Event:
    """What a change is worth telling: the event's detail-type, the ARNs it is about, and its detail."""

    detail_type: str
    resources: tuple[str, ...]
    detail: Json


def of_change(kind: str, before: Json | None, after: Json | None) -> Event | None:
    """The event of a document's change; None for changes that AWS sends nothing for."""
    reader = _READERS[kind]
    if after is None or (before and all(before.get(m) == after.get(m) for m in reader.members)):
        return None
    return reader.event(before or {}, after)


def _execution(before: Json, after: Json) -> Event:
    ended = after["PipelineExecutionStatus"] not in ("Executing", "Stopping")
    detail = {
        "pipelineExecutionDisplayName": after.get("PipelineExecutionDisplayName"),
        "pipelineExecutionDescription": after.get("PipelineExecutionDescription"),
        "currentPipelineExecutionStatus": after["PipelineExecutionStatus"],
        "previousPipelineExecutionStatus": before.get("PipelineExecutionStatus"),
        "executionStartTime": iso(after["CreationTime"]),
        "executionEndTime": iso(after["LastModifiedTime"]) if ended else None,
        "pipelineArn": after["PipelineArn"],
        "pipelineExecutionArn": after["PipelineExecutionArn"],
    }
    resources = (after["PipelineArn"], after["PipelineExecutionArn"])
    return Event("SageMaker Model Building Pipeline Execution Status Change", resources, _without_none(detail))


def step_event(execution_arn: str, before: Json | None, after: Json | None) -> Event | None:
    """The event of a step's change; a step's document does not name its execution."""
    if after is None or (before and before["StepStatus"] == after["StepStatus"]):
        return None
    pipeline_arn = execution_arn.partition("/execution/")[0]
    metadata = after.get("Metadata") or {}
    kind = next(iter(metadata), "")
    detail = {
        "metadata": _camel(metadata),
        "stepStartTime": iso(after["StartTime"]),
        "stepEndTime": iso(after["EndTime"]) if "EndTime" in after else None,
        "stepName": after["StepName"],
        "stepType": STEP_TYPES.get(kind, kind) or None,
        "previousStepStatus": before["StepStatus"] if before else None,
        "currentStepStatus": after["StepStatus"],
        "failureReason": after.get("FailureReason"),
        "cacheHitResult": _camel(after["CacheHitResult"]) if after.get("CacheHitResult") else None,
        "pipelineArn": pipeline_arn,
        "pipelineExecutionArn": execution_arn,
    }
    resources = (pipeline_arn, execution_arn)
    return Event("SageMaker Model Building Pipeline Execution Step Status Change", resources, _without_none(detail))


def _model_package(before: Json, after: Json) -> Event:
    changed = [member for member in _READERS["model-package"].members if before.get(member) != after.get(member)]
    detail = _described("DescribeModelPackage", after, iso)
    if before:
        detail["UpdatedModelPackageFields"] = changed
    else:  # only a package that was changed since it was made has a time of that
        detail.pop("LastModifiedTime", None)
    return Event("SageMaker Model Package State Change", (after["ModelPackageArn"],), detail)


def _endpoint(before: Json, after: Json) -> Event:
    """A change of the endpoint's status, or of how far its deployment is."""
    of_status = before.get("EndpointStatus") != after["EndpointStatus"]
    detail = _described("DescribeEndpoint", after, milliseconds) | {"Tags": _tags(after)}
    detail["EndpointStatus"] = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", after["EndpointStatus"]).upper()
    what = "Endpoint State Change" if of_status else "Endpoint Deployment State Change"
    return Event(f"SageMaker {what}", (after["EndpointArn"],), detail)


def _job(kind: str, words: str) -> Callable[[Json, Json], Event]:
    def event(before: Json, after: Json) -> Event:
        detail = _described(f"Describe{kind}Job", after, milliseconds) | {"Tags": _tags(after)}
        return Event(f"SageMaker {words} Job State Change", (after[f"{kind}JobArn"],), detail)

    return event


@dataclass(frozen=True)
class _Reader:
    """Which members of a document, when they change, are an event, and how it is made."""

    members: tuple[str, ...]
    event: Callable[[Json, Json], Event]


STEP = "pipeline-execution-step"
_READERS = {
    "pipeline-execution": _Reader(("PipelineExecutionStatus",), _execution),
    "model-package": _Reader(("ModelPackageStatus", "ModelApprovalStatus", "ApprovalDescription"), _model_package),
    "endpoint": _Reader(("EndpointStatus", "PendingDeploymentSummary"), _endpoint),
    "training-job": _Reader(
        ("TrainingJobStatus", "SecondaryStatus", "DebugRuleEvaluationStatuses"), _job("Training", "Training")
    ),
    "processing-job": _Reader(("ProcessingJobStatus",), _job("Processing", "Processing")),
    "tuning-job": _Reader(("HyperParameterTuningJobStatus",), _job("HyperParameterTuning", "HyperParameter Tuning")),
}
KINDS = (*_READERS, STEP)


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


def _described(operation: str, body: Json, time: Callable[[float], Any]) -> Json:
    """A document as its Describe call answers it, with its times (at any depth) through `time`."""
    shape = service_models.operation_model("sagemaker", operation).output_shape
    described: Json = _with_times(service_models.shaped(body, shape), shape, time)
    return described


def _with_times(value: Any, shape: Any, time: Callable[[float], Any]) -> Any:
    if shape.type_name == "structure":
        return {name: _with_times(item, shape.members[name], time) for name, item in value.items()}
    if shape.type_name == "list":
        return [_with_times(item, shape.member, time) for item in value]
    return time(value) if shape.type_name == "timestamp" else value


def _tags(body: Json) -> Json:
    return {tag["Key"]: tag["Value"] for tag in body.get("_Tags") or []}


def _camel(value: Any) -> Any:
    """{"TrainingJob": {"Arn": …}} as {"trainingJob": {"arn": …}}."""
    if isinstance(value, dict):
        return {name[:1].lower() + name[1:]: _camel(item) for name, item in value.items()}
    return value


def _without_none(detail: Json) -> Json:
    return {name: value for name, value in detail.items() if value is not None}
