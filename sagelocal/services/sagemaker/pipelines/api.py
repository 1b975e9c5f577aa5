"""SageMaker's operations on pipelines; those on their executions are in executions_api.py."""

import time
from functools import partial

from sagelocal import definition
from sagelocal.core import listing
from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError, ConflictException, ResourceNotFound, ValidationException
from sagelocal.core.json import Json
from sagelocal.core.registry import operation
from sagelocal.core.store import amend
from sagelocal.runtime import images
from sagelocal.services.s3 import objects
from sagelocal.services.sagemaker.documents import EXECUTION, PIPELINE, START_TOKEN, Pipeline
from sagelocal.services.sagemaker.execution import cache, events, records
from sagelocal.services.sagemaker.resources import Resource

PIPELINES = Resource(
    PIPELINE,
    "Pipeline",
    missing=lambda _, arn: ResourceNotFound(f"Pipeline '{arn}' does not exist."),
    taken=lambda name, _: ValidationException(
        f"Pipeline names must be unique within an AWS account and region. Pipeline with name ({name}) already exists."
    ),
)


@operation("sagemaker", "CreatePipeline")
def create_pipeline(context: Context, request: Json) -> Json:
    name, now = request["PipelineName"], time.time()
    known = _known(context, request)
    if known:
        return {"PipelineArn": known}
    document = {
        "PipelineArn": PIPELINES.arn(context, name),
        "PipelineName": name,
        "PipelineDisplayName": request.get("PipelineDisplayName", name),
        "PipelineDefinition": _checked_definition(context, request),
        "PipelineDescription": request.get("PipelineDescription"),
        "RoleArn": request["RoleArn"],
        "PipelineStatus": "Active",
        "CreationTime": now,
        "LastModifiedTime": now,
        "ParallelismConfiguration": request.get("ParallelismConfiguration"),
        "Tags": request.get("Tags", []),
        "_ClientRequestToken": request["ClientRequestToken"],
        "_VersionId": 1,
    }
    with context.store.transaction():
        return {"PipelineArn": _known(context, request) or PIPELINES.insert(context, name, document)["PipelineArn"]}


@operation("sagemaker", "UpdatePipeline")
def update_pipeline(context: Context, request: Json) -> Json:
    name = request["PipelineName"]
    PIPELINES.find(context, name)
    members = ("PipelineDisplayName", "PipelineDescription", "RoleArn", "ParallelismConfiguration")
    changes = {member: request[member] for member in members if member in request}
    if "PipelineDefinition" in request or "PipelineDefinitionS3Location" in request:
        changes["PipelineDefinition"] = _checked_definition(context, request)

    def edit(body: Pipeline) -> None:
        amend(body, changes)
        body.update({"LastModifiedTime": time.time(), "_VersionId": body["_VersionId"] + 1})

    updated = context.store.change(PIPELINE, name, edit)
    return {"PipelineArn": updated["PipelineArn"], "PipelineVersionId": updated["_VersionId"]}


@operation("sagemaker", "DescribePipeline")
def describe_pipeline(context: Context, request: Json) -> Pipeline:
    refuse(request, "PipelineVersionId", "PipelineVersionAlias")
    return PIPELINES.find(context, request["PipelineName"])


@operation("sagemaker", "DeletePipeline")
def delete_pipeline(context: Context, request: Json) -> Json:
    """Deletes the pipeline's executions with it, as AWS does; refused while one of them runs."""
    with context.store.transaction():
        pipeline = PIPELINES.find(context, request["PipelineName"])
        going = context.store.list(EXECUTION, parent=pipeline["PipelineArn"], status=records.RUNNING)
        running = [execution["PipelineExecutionArn"] for execution in going]
        if running:
            raise ConflictException(
                f"Pipeline '{pipeline['PipelineArn']}' has running executions: {', '.join(running)}. Stop them first."
            )
        all_executions = context.store.list(EXECUTION, parent=pipeline["PipelineArn"])
        for execution in all_executions:
            records.forget(context.store, execution["PipelineExecutionArn"])
            context.store.delete(START_TOKEN, execution["_StartToken"])
        cache.forget(context, pipeline["PipelineName"])
        context.store.delete(PIPELINE, pipeline["PipelineName"])
    for execution in all_executions:
        events.forget(context, execution["PipelineExecutionArn"])
    return {"PipelineArn": pipeline["PipelineArn"]}


@operation("sagemaker", "ListPipelines")
def list_pipelines(context: Context, request: Json) -> Json:
    def summary(pipeline: Pipeline) -> Json:
        return {**pipeline, "LastExecutionTime": pipeline.get("LastRunTime")}

    prefix = request.get("PipelineNamePrefix", "")
    return listing.stored(context.store, PIPELINE, request, "PipelineSummaries", summary, prefix=prefix)


def refuse(request: Json, *members: str) -> None:
    """Raise ValidationException when a request has one of `members`."""
    for member in members:
        if member in request:
            raise ValidationException(f"{member} is not run by the embedded SageMaker. Leave it out.")


def _known(context: Context, request: Json) -> str | None:
    """The ARN of the pipeline that an earlier request with the same ClientRequestToken has created."""
    pipeline = context.store.get(PIPELINE, request["PipelineName"])
    same = pipeline is not None and pipeline["_ClientRequestToken"] == request["ClientRequestToken"]
    return pipeline["PipelineArn"] if pipeline and same else None


def _checked_definition(context: Context, request: Json) -> str:
    """The definition's text, given directly or in S3. Raises ValidationException when it could not run."""
    text, location = request.get("PipelineDefinition"), request.get("PipelineDefinitionS3Location")
    if text is not None and location is not None:
        raise ValidationException("PipelineDefinition and PipelineDefinitionS3Location are both given. Leave one out.")
    if text is None:
        if location is None:
            raise ValidationException("Either PipelineDefinition or PipelineDefinitionS3Location must be given.")
        text = _from_s3(context, location)
    found = definition.errors(definition.lint(text, local=partial(images.find, context)))
    if found:
        count = f"{definition.counted(len(found), 'problem')}: " if len(found) > 1 else ""
        raise ValidationException(count + " ".join(map(str, found)))
    return text


def _from_s3(context: Context, location: Json) -> str:
    uri = f"s3://{location['Bucket']}/{location['ObjectKey']}"
    try:
        return objects.read_bytes(context, uri).decode()
    except AwsError as missing:
        raise ValidationException(f"Cannot read the pipeline definition at {uri}: {missing.message}") from None
    except UnicodeDecodeError:
        raise ValidationException(f"The pipeline definition at {uri} is not UTF-8 text.") from None
