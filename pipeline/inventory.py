"""Everything that this project made in an account, in the order in which it can be deleted.

What belongs to the project is told by exact names, by names with the hash that the deploy function gives, by the tag
Project, or by belonging to something that does; a project whose name merely begins with this one's is not touched.
"""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from contract.deployment import alarm_names
from contract.gone import is_gone
from pipeline import changeset, infra
from pipeline.cloud import Cloud
from pipeline.errors import UserError

WAIT_SECONDS = 1200.0
JOB_LOGS = {
    "ProcessingJob": "/aws/sagemaker/ProcessingJobs",
    "TrainingJob": "/aws/sagemaker/TrainingJobs",
}
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
    scheduler, settings = cloud.client("scheduler"), cloud.settings
    target = f"arn:aws:sagemaker:{settings.region}:{settings.account}:pipeline/{settings.pipeline_name}"
    for page in scheduler.get_paginator("list_schedules").paginate():
        for entry in page["Schedules"]:
            if entry["Target"]["Arn"] == target:
                name = {"Name": entry["Name"], "GroupName": entry["GroupName"]}
                yield Item("schedule", entry["Name"], _bound(scheduler.delete_schedule, **name))


def _executions(cloud: Cloud) -> list[dict[str, Any]]:
    pages = cloud.client("sagemaker").get_paginator("list_pipeline_executions")
    try:
        found = pages.paginate(PipelineName=cloud.settings.pipeline_name)
        return [entry for page in found for entry in page["PipelineExecutionSummaries"]]
    except ClientError as error:
        if is_gone(error):
            return []
        raise


def _running(cloud: Cloud, executions: list[dict[str, Any]]) -> Iterator[Item]:
    for entry in executions:
        if entry["PipelineExecutionStatus"] in ("Executing", "Stopping"):
            arn = entry["PipelineExecutionArn"]
            yield Item("running execution", arn.rpartition("/")[2], _bound(_stop, cloud, arn))


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
        yield Item("EC2 instances and security group", ", ".join(remains), _bound(ec2.remove, cloud))


def _endpoint(cloud: Cloud) -> Iterator[Item]:
    """The endpoint of the project's name and those with its tag. Scaling goes first: an endpoint leaves it behind,
    and deregistering it takes its alarms along."""
    sagemaker, autoscaling = cloud.client("sagemaker"), cloud.client("application-autoscaling")
    names = [e["EndpointName"] for p in sagemaker.get_paginator("list_endpoints").paginate() for e in p["Endpoints"]]
    ours = [name for name in names if name == cloud.settings.endpoint_name or _tagged(cloud, "endpoint", name)]
    targets = autoscaling.get_paginator("describe_scalable_targets").paginate(ServiceNamespace="sagemaker")
    for target in [each for page in targets for each in page["ScalableTargets"]]:
        endpoint = target["ResourceId"].split("/")[1]
        if endpoint in (cloud.settings.endpoint_name, *ours):
            which = {m: target[m] for m in ("ServiceNamespace", "ResourceId", "ScalableDimension")}
            deregister = _bound(autoscaling.deregister_scalable_target, **which)
            yield Item("scalable target", target["ResourceId"], deregister)
    for name in ours:
        yield Item("endpoint", name, _bound(_delete_endpoint, cloud, name))


def _alarms(cloud: Cloud) -> Iterator[Item]:
    """The alarms that the deploy function sets on the endpoint."""
    cloudwatch, wanted = cloud.client("cloudwatch"), alarm_names(cloud.settings.endpoint_name)
    for alarm in cloudwatch.describe_alarms(AlarmNames=wanted, AlarmTypes=["MetricAlarm"])["MetricAlarms"]:
        yield Item("alarm", alarm["AlarmName"], _bound(cloudwatch.delete_alarms, AlarmNames=[alarm["AlarmName"]]))


def _delete_endpoint(cloud: Cloud, name: str) -> None:
    sagemaker = cloud.client("sagemaker")
    sagemaker.delete_endpoint(EndpointName=name)

    def gone() -> bool:
        try:
            sagemaker.describe_endpoint(EndpointName=name)
        except ClientError as error:
            if is_gone(error):
                return True
            raise
        return False

    _wait(gone, f"endpoint {name} to be deleted")


def _configs_and_models(cloud: Cloud) -> Iterator[Item]:
    sagemaker, project = cloud.client("sagemaker"), re.escape(cloud.settings.project)
    pages = sagemaker.get_paginator("list_endpoint_configs").paginate(NameContains=cloud.settings.project)
    for entry in [each for page in pages for each in page["EndpointConfigs"]]:
        name = entry["EndpointConfigName"]
        if re.fullmatch(rf"{project}-[0-9a-f]{{10}}", name) or _tagged(cloud, "endpoint-config", name):
            delete = _bound(sagemaker.delete_endpoint_config, EndpointConfigName=name)
            yield Item("endpoint configuration", name, delete)
    pages = sagemaker.get_paginator("list_models").paginate(NameContains=cloud.settings.project)
    for entry in [each for page in pages for each in page["Models"]]:
        name = entry["ModelName"]
        if re.fullmatch(rf"{project}-\d+-[0-9a-f]{{10}}", name) or _tagged(cloud, "model", name):
            yield Item("model", name, _bound(sagemaker.delete_model, ModelName=name))


def _jobs(cloud: Cloud, executions: list[dict[str, Any]]) -> Iterator[Item]:
    """The jobs of all executions with their logs, a tuning job's trials among them; they go before the pipeline, which
    is what knows them."""
    sagemaker = cloud.client("sagemaker")
    jobs: dict[tuple[str, str], None] = {}
    for execution in executions:
        pages = sagemaker.get_paginator("list_pipeline_execution_steps")
        for page in pages.paginate(PipelineExecutionArn=execution["PipelineExecutionArn"]):
            for step in page["PipelineExecutionSteps"]:
                for kind, about in step.get("Metadata", {}).items():
                    if kind in DELETE_JOB:
                        jobs[kind, about["Arn"].rpartition("/")[2]] = None
    for kind, name in jobs:
        if kind == "TuningJob":
            for trial in _trials(cloud, name):
                yield Item("trial", trial, _bound(_delete_job, cloud, "TrainingJob", trial))
    for kind, name in jobs:
        yield Item(kind, name, _bound(_delete_job, cloud, kind, name))


def _trials(cloud: Cloud, tuning_job: str) -> list[str]:
    pages = cloud.client("sagemaker").get_paginator("list_training_jobs_for_hyper_parameter_tuning_job")
    try:
        found = pages.paginate(HyperParameterTuningJobName=tuning_job)
        return [entry["TrainingJobName"] for page in found for entry in page["TrainingJobSummaries"]]
    except ClientError as error:
        if is_gone(error):
            return []
        raise


def _delete_job(cloud: Cloud, kind: str, name: str) -> None:
    if kind in JOB_LOGS:
        _delete_streams(cloud, JOB_LOGS[kind], f"{name}/")
    operation, member = DELETE_JOB[kind]
    getattr(cloud.client("sagemaker"), operation)(**{member: name})


def _delete_streams(cloud: Cloud, group: str, prefix: str) -> None:
    logs = cloud.client("logs")
    try:
        pages = logs.get_paginator("describe_log_streams").paginate(logGroupName=group, logStreamNamePrefix=prefix)
        names = [stream["logStreamName"] for page in pages for stream in page["logStreams"]]
    except logs.exceptions.ResourceNotFoundException:
        return
    for name in names:
        logs.delete_log_stream(logGroupName=group, logStreamName=name)


def _pipeline(cloud: Cloud) -> Iterator[Item]:
    sagemaker, name = cloud.client("sagemaker"), cloud.settings.pipeline_name
    try:
        sagemaker.describe_pipeline(PipelineName=name)
    except ClientError as error:
        if is_gone(error):
            return
        raise
    token = f"destroy-{time.time_ns():032d}"
    yield Item("pipeline", name, _bound(sagemaker.delete_pipeline, PipelineName=name, ClientRequestToken=token))


def _packages(cloud: Cloud) -> Iterator[Item]:
    sagemaker, group = cloud.client("sagemaker"), cloud.settings.model_package_group
    try:
        pages = sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=group)
        arns = [each["ModelPackageArn"] for page in pages for each in page["ModelPackageSummaryList"]]
    except ClientError as error:
        if is_gone(error):
            return
        raise
    for arn in arns:
        yield Item("model package", arn.partition("/")[2], _bound(sagemaker.delete_model_package, ModelPackageName=arn))


def _stack(cloud: Cloud) -> Iterator[Item]:
    name = infra.stack_name(cloud.settings)
    if changeset.stack(cloud, name):
        yield Item("stack", f"{name} (roles, functions, rules, queue, topic)", _bound(_delete_stack, cloud, name))


def _delete_stack(cloud: Cloud, name: str) -> None:
    seen: set[str] = set()
    cloud.client("cloudformation").delete_stack(StackName=name)
    failed = changeset.follow(cloud, name, seen, lambda event: None)
    if failed:
        raise UserError(f"it is {failed[0]}. {failed[1]}")


def _endpoint_logs(cloud: Cloud) -> Iterator[Item]:
    logs, group = cloud.client("logs"), f"/aws/sagemaker/Endpoints/{cloud.settings.endpoint_name}"
    found = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    if any(each["logGroupName"] == group for each in found):
        yield Item("log group", group, _bound(logs.delete_log_group, logGroupName=group))


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
            yield Item("bucket", f"{settings.bucket} with everything in it", _bound(_delete_bucket, cloud))
        else:
            where = f"s3://{settings.bucket}/{settings.project}/"
            yield Item("objects", where, _bound(_empty, cloud, f"{settings.project}/"))
    if made.get("CreateKey") == "true":
        resource = cloud.client("cloudformation").describe_stack_resources(
            StackName=infra.stack_name(settings), LogicalResourceId="Key"
        )
        for each in resource["StackResources"]:
            key = each["PhysicalResourceId"]
            schedule = _bound(cloud.client("kms").schedule_key_deletion, KeyId=key, PendingWindowInDays=7)
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
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix):
        for upload in page.get("Uploads", []):
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


def _wait(over: Callable[[], bool], what: str) -> None:
    deadline, pause = time.monotonic() + WAIT_SECONDS, 0.05
    while not over():
        if time.monotonic() > deadline:
            raise TimeoutError(f"gave up waiting for {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 5.0)


def _bound(function: Callable[..., object], *arguments: Any, **named: Any) -> Callable[[], object]:
    return lambda: function(*arguments, **named)
