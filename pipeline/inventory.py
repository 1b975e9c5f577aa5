"""Everything that this project made in an account, in the order in which it can be deleted.

What belongs to the project is told by exact names, by names with the hash that the deploy function gives, by the tag
Project, or by belonging to something that does; a project whose name merely begins with this one's is not touched.
"""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from contract.deployment import alarm_names
from contract.gone import is_gone
from pipeline import changeset, execution, infra
from pipeline.cloud import Cloud
from pipeline.errors import UserError

Answer = TypeVar("Answer")
WAIT_SECONDS = 1200.0
JOB_LOGS = {kind: execution.LOG_GROUPS[kind] for kind in ("ProcessingJob", "TrainingJob")}
DELETE_JOB = {
    "ProcessingJob": ("delete_processing_job", "ProcessingJobName"),
    "TrainingJob": ("delete_training_job", "TrainingJobName"),
    "TuningJob": ("delete_hyper_parameter_tuning_job", "HyperParameterTuningJobName"),
}


@dataclass(frozen=True)
class Item:
    """One thing that exists, and how it is deleted."""

    kind: str
    name: str
    delete: Callable[[], object]


def find(cloud: Cloud, *, keep_data: bool) -> list[Item]:
    """What there is, in the order in which it can be deleted. `keep_data` leaves the bucket, its key and the jobs."""
    executions = _executions(cloud)
    return [
        *_schedules(cloud),
        *_running(cloud, executions),
        *_instances(cloud),
        *_endpoint(cloud),
        *_alarms(cloud),
        *_configs_and_models(cloud),
        *([] if keep_data else _jobs(cloud, executions)),
        *_pipeline(cloud),
        *_packages(cloud),
        *_stack(cloud),
        *_endpoint_logs(cloud),
        *([] if keep_data else _data(cloud)),
    ]


def _schedules(cloud: Cloud) -> Iterator[Item]:
    scheduler = cloud.client("scheduler")
    for entry in cloud.listed("scheduler", "list_schedules", "Schedules"):
        if entry["Target"]["Arn"] == cloud.settings.pipeline_arn:
            name = {"Name": entry["Name"], "GroupName": entry["GroupName"]}
            yield Item("schedule", entry["Name"], partial(scheduler.delete_schedule, **name))


def _executions(cloud: Cloud) -> list[dict[str, Any]]:
    return _all_of(execution.executions(cloud))


def _running(cloud: Cloud, executions: list[dict[str, Any]]) -> Iterator[Item]:
    for entry in executions:
        if entry["PipelineExecutionStatus"] in ("Executing", "Stopping"):
            arn = entry["PipelineExecutionArn"]
            yield Item("running execution", arn.rpartition("/")[2], partial(_stop, cloud, arn))


def _stop(cloud: Cloud, arn: str) -> None:
    sagemaker = cloud.client("sagemaker")
    described = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
    if described["PipelineExecutionStatus"] == "Executing":
        sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=f"destroy-{time.time_ns():032d}")

    def over() -> bool:
        described = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
        return described["PipelineExecutionStatus"] not in ("Executing", "Stopping")

    _wait(over, f"execution {arn} to stop")


def _instances(cloud: Cloud) -> Iterator[Item]:
    from pipeline import ec2

    remains = ec2.remains(cloud)
    if remains:
        yield Item("EC2 instances and security group", ", ".join(remains), partial(ec2.remove, cloud))


def _endpoint(cloud: Cloud) -> Iterator[Item]:
    """The endpoint of the project's name and those with its tag. Scaling goes first: an endpoint leaves it behind,
    and deregistering it takes its alarms along."""
    scaling = "application-autoscaling"
    names = [each["EndpointName"] for each in cloud.listed("sagemaker", "list_endpoints", "Endpoints")]
    ours = [name for name in names if name == cloud.settings.endpoint_name or _tagged(cloud, "endpoint", name)]
    for target in cloud.listed(scaling, "describe_scalable_targets", "ScalableTargets", ServiceNamespace="sagemaker"):
        endpoint = target["ResourceId"].split("/")[1]
        if endpoint in (cloud.settings.endpoint_name, *ours):
            which = {m: target[m] for m in ("ServiceNamespace", "ResourceId", "ScalableDimension")}
            deregister = partial(cloud.client(scaling).deregister_scalable_target, **which)
            yield Item("scalable target", target["ResourceId"], deregister)
    for name in ours:
        yield Item("endpoint", name, partial(_delete_endpoint, cloud, name))


def _alarms(cloud: Cloud) -> Iterator[Item]:
    """The alarms that the deploy function sets on the endpoint."""
    cloudwatch, wanted = cloud.client("cloudwatch"), alarm_names(cloud.settings.endpoint_name)
    for alarm in cloudwatch.describe_alarms(AlarmNames=wanted, AlarmTypes=["MetricAlarm"])["MetricAlarms"]:
        yield Item("alarm", alarm["AlarmName"], partial(cloudwatch.delete_alarms, AlarmNames=[alarm["AlarmName"]]))


def _delete_endpoint(cloud: Cloud, name: str) -> None:
    sagemaker = cloud.client("sagemaker")
    sagemaker.delete_endpoint(EndpointName=name)
    describe = partial(sagemaker.describe_endpoint, EndpointName=name)
    _wait(lambda: _if_there(describe) is None, f"endpoint {name} to be deleted")


def _configs_and_models(cloud: Cloud) -> Iterator[Item]:
    sagemaker, project = cloud.client("sagemaker"), re.escape(cloud.settings.project)
    named = {"NameContains": cloud.settings.project}
    for entry in cloud.listed("sagemaker", "list_endpoint_configs", "EndpointConfigs", **named):
        name = entry["EndpointConfigName"]
        if re.fullmatch(rf"{project}-[0-9a-f]{{10}}", name) or _tagged(cloud, "endpoint-config", name):
            delete = partial(sagemaker.delete_endpoint_config, EndpointConfigName=name)
            yield Item("endpoint configuration", name, delete)
    for entry in cloud.listed("sagemaker", "list_models", "Models", **named):
        name = entry["ModelName"]
        if re.fullmatch(rf"{project}-\d+-[0-9a-f]{{10}}", name) or _tagged(cloud, "model", name):
            yield Item("model", name, partial(sagemaker.delete_model, ModelName=name))


def _jobs(cloud: Cloud, executions: list[dict[str, Any]]) -> Iterator[Item]:
    """The jobs of all executions with their logs, a tuning job's trials among them; they go before the pipeline, which
    is what knows them."""
    jobs: dict[tuple[str, str], None] = {}
    for entry in executions:
        for step in execution.steps(cloud, entry["PipelineExecutionArn"]):
            if step.job:
                jobs[step.job] = None
    for kind, name in jobs:
        if kind == "TuningJob":
            for trial in _all_of(execution.trials(cloud, name)):
                trained = trial["TrainingJobName"]
                yield Item("trial", trained, partial(_delete_job, cloud, "TrainingJob", trained))
    for kind, name in jobs:
        yield Item(kind, name, partial(_delete_job, cloud, kind, name))


def _delete_job(cloud: Cloud, kind: str, name: str) -> None:
    if kind in JOB_LOGS:
        _delete_streams(cloud, JOB_LOGS[kind], f"{name}/")
    operation, member = DELETE_JOB[kind]
    getattr(cloud.client("sagemaker"), operation)(**{member: name})


def _delete_streams(cloud: Cloud, group: str, prefix: str) -> None:
    which = {"logGroupName": group, "logStreamNamePrefix": prefix}
    for stream in _all_of(cloud.listed("logs", "describe_log_streams", "logStreams", **which)):
        cloud.client("logs").delete_log_stream(logGroupName=group, logStreamName=stream["logStreamName"])


def _pipeline(cloud: Cloud) -> Iterator[Item]:
    sagemaker, name = cloud.client("sagemaker"), cloud.settings.pipeline_name
    if _if_there(partial(sagemaker.describe_pipeline, PipelineName=name)):
        token = f"destroy-{time.time_ns():032d}"
        yield Item("pipeline", name, partial(sagemaker.delete_pipeline, PipelineName=name, ClientRequestToken=token))


def _packages(cloud: Cloud) -> Iterator[Item]:
    sagemaker, group = cloud.client("sagemaker"), cloud.settings.model_package_group
    listed = cloud.listed("sagemaker", "list_model_packages", "ModelPackageSummaryList", ModelPackageGroupName=group)
    for entry in _all_of(listed):
        arn = entry["ModelPackageArn"]
        delete = partial(sagemaker.delete_model_package, ModelPackageName=arn)
        yield Item("model package", arn.partition("/")[2], delete)


def _stack(cloud: Cloud) -> Iterator[Item]:
    name = infra.stack_name(cloud.settings)
    if changeset.stack(cloud, name):
        yield Item("stack", f"{name} (roles, functions, rules, queue, topic)", partial(_delete_stack, cloud, name))


def _delete_stack(cloud: Cloud, name: str) -> None:
    cloud.client("cloudformation").delete_stack(StackName=name)
    if failed := changeset.follow(cloud, name, set(), lambda event: None):
        raise UserError(f"it is {failed[0]}. {failed[1]}")


def _endpoint_logs(cloud: Cloud) -> Iterator[Item]:
    logs, group = cloud.client("logs"), f"/aws/sagemaker/Endpoints/{cloud.settings.endpoint_name}"
    found = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    if any(each["logGroupName"] == group for each in found):
        yield Item("log group", group, partial(logs.delete_log_group, logGroupName=group))


def _data(cloud: Cloud) -> Iterator[Item]:
    """The bucket with all versions of everything in it, and its key. From a bucket that somebody else made only what is
    under the project's prefix."""
    settings, s3 = cloud.settings, cloud.client("s3")
    stack = changeset.stack(cloud, infra.stack_name(settings))
    made = {p["ParameterKey"]: p["ParameterValue"] for p in (stack or {}).get("Parameters", [])}
    named_by_us = settings.bucket == f"{settings.project}-{settings.account}-{settings.region}"
    ours = made.get("CreateBucket") == "true" or named_by_us
    try:
        s3.head_bucket(Bucket=settings.bucket)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
    else:
        if ours:
            yield Item("bucket", f"{settings.bucket} with everything in it", partial(_delete_bucket, cloud))
        else:
            where = f"s3://{settings.bucket}/{settings.project}/"
            yield Item("objects", where, partial(_empty, cloud, f"{settings.project}/"))
    if made.get("CreateKey") == "true":
        resource = cloud.client("cloudformation").describe_stack_resources(
            StackName=infra.stack_name(settings), LogicalResourceId="Key"
        )
        for each in resource["StackResources"]:
            key = each["PhysicalResourceId"]
            schedule = partial(cloud.client("kms").schedule_key_deletion, KeyId=key, PendingWindowInDays=7)
            yield Item("key (in 7 days)", key, schedule)


def _delete_bucket(cloud: Cloud) -> None:
    _empty(cloud, "")
    cloud.client("s3").delete_bucket(Bucket=cloud.settings.bucket)


def _empty(cloud: Cloud, prefix: str) -> None:
    s3, bucket = cloud.client("s3"), cloud.settings.bucket
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        if found:
            objects = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in found]
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
            for problem in answer.get("Errors", [])[:1]:
                raise UserError(f"{problem['Key']}: {problem['Message']}")
    for upload in cloud.listed("s3", "list_multipart_uploads", "Uploads", Bucket=bucket, Prefix=prefix):
        s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])


def _tagged(cloud: Cloud, kind: str, name: str) -> bool:
    """Whether a resource carries the project's tag; where nobody may look, it is not taken for ours."""
    settings = cloud.settings
    arn = f"arn:aws:sagemaker:{settings.region}:{settings.account}:{kind}/{name.lower()}"
    try:
        tags = cloud.client("sagemaker").list_tags(ResourceArn=arn)["Tags"]
    except ClientError:
        return False
    return {"Key": "Project", "Value": settings.project} in tags


def _if_there(ask: Callable[[], Answer]) -> Answer | None:
    """The answer; None where AWS says that what was asked about does not exist."""
    try:
        return ask()
    except ClientError as error:
        if is_gone(error):
            return None
        raise


def _all_of(entries: Iterator[Any]) -> list[Any]:
    """What is listed; nothing where AWS says that there is nothing of which it could be listed."""
    return _if_there(lambda: list(entries)) or []


def _wait(over: Callable[[], bool], what: str) -> None:
    deadline, pause = time.monotonic() + WAIT_SECONDS, 0.05
    while not over():
        if time.monotonic() > deadline:
            raise TimeoutError(f"gave up waiting for {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 5.0)
