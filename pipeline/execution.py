"""Executions of the pipeline: start one, see where its steps stand, read their logs, say how it ended."""

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from contract.s3 import bucket_and_key
from pipeline import hints
from pipeline.cloud import Cloud
from pipeline.errors import UserError
from pipeline.parameters import Value

LOG_GROUPS = {
    "ProcessingJob": "/aws/sagemaker/ProcessingJobs",
    "TrainingJob": "/aws/sagemaker/TrainingJobs",
    "TuningJob": "/aws/sagemaker/TrainingJobs",
}
ENDED = ("Succeeded", "Failed", "Stopped", "CompletedWithFailures")


@dataclass
class Step:
    """A step of an execution, as people want to see it.

    `arn`: what it made; `job`: (kind, name) where that is a job, kind as in LOG_GROUPS.
    """

    name: str
    type: str
    status: str
    seconds: float
    cached: bool
    reason: str = ""
    arn: str = ""
    job: tuple[str, str] | None = None


def start(cloud: Cloud, parameters: Mapping[str, Value]) -> str:
    """Start an execution; its ARN."""
    given = [{"Name": name, "Value": str(value)} for name, value in parameters.items()]
    try:
        return cloud.client("sagemaker").start_pipeline_execution(
            PipelineName=cloud.settings.pipeline_name, PipelineParameters=given
        )["PipelineExecutionArn"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFound":
            what = f"There is no pipeline {cloud.settings.pipeline_name} in this account."
            raise UserError(what, f"Create it first: {hints.UPSERT}") from None
        raise


def latest(cloud: Cloud) -> str:
    """The ARN of the newest execution. Raises UserError when there is none."""
    try:
        found = cloud.client("sagemaker").list_pipeline_executions(
            PipelineName=cloud.settings.pipeline_name, SortBy="CreationTime", SortOrder="Descending", MaxResults=1
        )["PipelineExecutionSummaries"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFound":
            raise
        found = []
    if not found:
        raise UserError("The pipeline was never started here.", f"Start it: {hints.RUN} or {hints.START}")
    return found[0]["PipelineExecutionArn"]


def executions(cloud: Cloud) -> Iterator[dict[str, Any]]:
    """Summaries of the pipeline's executions, newest first."""
    which = {"PipelineName": cloud.settings.pipeline_name, "SortBy": "CreationTime", "SortOrder": "Descending"}
    return cloud.listed("sagemaker", "list_pipeline_executions", "PipelineExecutionSummaries", **which)


def resolve(cloud: Cloud, name: str | None) -> str:
    """The ARN of an execution given by ARN, by id, or not at all (the newest)."""
    if not name:
        return latest(cloud)
    if name.startswith("arn:"):
        return name
    return f"{cloud.settings.pipeline_arn}/execution/{name}"


def describe(cloud: Cloud, arn: str) -> dict[str, Any]:
    """DescribePipelineExecution. Raises UserError for an execution that does not exist."""
    try:
        return cloud.client("sagemaker").describe_pipeline_execution(PipelineExecutionArn=arn)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("ResourceNotFound", "ValidationException"):
            raise UserError(f"There is no execution {arn}.", f"See the newest: {hints.STATUS}") from None
        raise


def stop(cloud: Cloud, arn: str) -> None:
    """Stop an execution. Raises UserError for one that does not exist."""
    describe(cloud, arn)
    cloud.client("sagemaker").stop_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=_token())


def retry(cloud: Cloud, arn: str) -> None:
    """Go on with a failed or stopped execution. Raises UserError for one in another state."""
    state = describe(cloud, arn)["PipelineExecutionStatus"]
    if state not in ("Failed", "Stopped"):
        raise UserError(f"The execution is {state}: there is nothing to retry.", f"Start another: {hints.START}")
    cloud.client("sagemaker").retry_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=_token())


def _token() -> str:
    return uuid.uuid4().hex * 2


def steps(cloud: Cloud, arn: str) -> list[Step]:
    """The steps that have begun, in the order in which they began."""
    which = {"PipelineExecutionArn": arn, "SortOrder": "Ascending"}
    listed = cloud.listed("sagemaker", "list_pipeline_execution_steps", "PipelineExecutionSteps", **which)
    return [_step(entry) for entry in listed]


def _step(entry: dict[str, Any]) -> Step:
    began = entry.get("StartTime")
    ended = entry.get("EndTime") or datetime.now(UTC)
    metadata = entry.get("Metadata", {})
    kind = next(iter(metadata), "")
    arn = metadata.get(kind, {}).get("Arn", "")
    return Step(
        name=entry["StepName"],
        type=kind.removesuffix("Job"),
        status=entry["StepStatus"],
        seconds=round((ended - began).total_seconds(), 2) if began else 0.0,
        cached="CacheHitResult" in entry,
        reason=entry.get("FailureReason", ""),
        arn=arn,
        job=(kind, arn.rpartition("/")[2]) if kind in LOG_GROUPS and arn else None,
    )


def log_lines(cloud: Cloud, step: Step, *, limit: int = 10_000) -> list[str]:
    """The last log lines of a step's jobs, all hosts, in time order; empty for a step without a job."""
    if not step.job:
        return []
    kind, name = step.job
    logs = cloud.client("logs")
    events = []
    try:
        streams = logs.describe_log_streams(logGroupName=LOG_GROUPS[kind], logStreamNamePrefix=name)["logStreams"]
        for stream in streams:
            events += logs.get_log_events(
                logGroupName=LOG_GROUPS[kind], logStreamName=stream["logStreamName"], limit=limit, startFromHead=False
            )["events"]
    except logs.exceptions.ResourceNotFoundException:
        return []
    events.sort(key=lambda event: event["timestamp"])
    return [event["message"] for event in events[-limit:]]


def trials(cloud: Cloud, tuning_job: str) -> Iterator[dict[str, Any]]:
    """Summaries of a tuning job's training jobs."""
    operation = "list_training_jobs_for_hyper_parameter_tuning_job"
    return cloud.listed("sagemaker", operation, "TrainingJobSummaries", HyperParameterTuningJobName=tuning_job)


def cache_misses(cloud: Cloud, arn: str) -> dict[str, str]:
    """Why steps were run instead of reused, where a similar run was there to compare with.

    Only the embedded SageMaker tells; AWS keeps the reason to itself.
    """
    logs = cloud.client("logs")
    try:
        group, stream = "/aws/sagemaker/PipelineExecutions", f"{arn.rpartition('/')[2]}/events"
        events = logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)["events"]
    except logs.exceptions.ResourceNotFoundException:
        return {}
    told = [json.loads(event["message"]) for event in events]
    return {
        entry["step"]: entry["detail"]
        for entry in told
        if entry["event"] == "cache-miss" and not entry["detail"].startswith("no earlier")
    }


def progress(cloud: Cloud, step: Step) -> str:
    """One short line on what a running step is doing: tuning counts, or its last log line."""
    if step.job and step.job[0] == "TuningJob":
        job = cloud.client("sagemaker").describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=step.job[1])
        counts = job["TrainingJobStatusCounters"]
        total = job["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"]
        best = job.get("BestTrainingJob", {}).get("FinalHyperParameterTuningJobObjectiveMetric")
        return f"{counts['Completed']} of {total} trials" + (f", best {best['Value']:.4f}" if best else "")
    lines = log_lines(cloud, step, limit=1)
    return lines[-1].strip() if lines else ""


def report(cloud: Cloud, arn: str, *, began: float) -> dict[str, Any]:
    """What `--json` prints of an execution. `began`: time.monotonic() at its start."""
    found = steps(cloud, arn)
    done = _succeeded(found)
    return {
        "execution_arn": arn,
        "status": describe(cloud, arn)["PipelineExecutionStatus"],
        "seconds": round(time.monotonic() - began, 2),
        "steps": [{k: v for k, v in asdict(s).items() if k not in ("reason", "arn", "job")} for s in found],
        "metrics": _test_metrics(cloud, done),
        "model_package_arn": done["Register"].arn if "Register" in done else None,
        "endpoint": cloud.settings.endpoint_name if "Deploy" in done else None,
    }


def output_location(cloud: Cloud, step: Step) -> tuple[str, str]:
    """(bucket, key prefix without a slash at its end) of what a processing step wrote."""
    assert step.job, f"{step.name} is no processing step"
    job = cloud.client("sagemaker").describe_processing_job(ProcessingJobName=step.job[1])
    uri = job["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
    return bucket_and_key(uri, UserError)


def evaluation_metrics(cloud: Cloud, arn: str) -> dict[str, float]:
    """test:top1 and test:top5 from the Evaluate step's report; empty before it has one."""
    return _test_metrics(cloud, _succeeded(steps(cloud, arn)))


def _test_metrics(cloud: Cloud, done: dict[str, Step]) -> dict[str, float]:
    if "Evaluate" not in done:
        return {}
    bucket, prefix = output_location(cloud, done["Evaluate"])
    body = cloud.client("s3").get_object(Bucket=bucket, Key=f"{prefix}/evaluation.json")["Body"].read()
    ours = json.loads(body)["pawline"]
    return {"test:top1": ours["top1"], "test:top5": ours["top5"]}


def _succeeded(found: list[Step]) -> dict[str, Step]:
    return {step.name: step for step in found if step.status == "Succeeded"}
