"""SageMaker's operations on pipeline executions: start, stop, retry, and what an execution did."""

import secrets
import string
import time

from sagelocal.core import listing, supervisor
from sagelocal.core.context import Context
from sagelocal.core.errors import ResourceNotFound, ValidationException
from sagelocal.core.json import Json
from sagelocal.core.registry import on_start, operation
from sagelocal.core.store import AlreadyExists
from sagelocal.definition import document, parameters
from sagelocal.definition.document import Definition
from sagelocal.services.sagemaker.documents import DEFINITION, EXECUTION, PIPELINE, START_TOKEN, STEP, Execution
from sagelocal.services.sagemaker.execution import records, resume, runner
from sagelocal.services.sagemaker.pipelines.api import PIPELINES, refuse

NOT_RUN_HERE = ("SelectiveExecutionConfig", "PipelineVersionId", "PipelineVersionAlias")


@operation("sagemaker", "StartPipelineExecution")
def start_pipeline_execution(context: Context, request: Json) -> Json:
    refuse(request, *NOT_RUN_HERE)
    pipeline = PIPELINES.find(context, request["PipelineName"])
    parsed = document.read(pipeline["PipelineDefinition"])
    values = parameters.bind(parsed.parameter_types, request.get("PipelineParameters", []))
    identifier = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(12))
    arn = f"{pipeline['PipelineArn']}/execution/{identifier}"
    token = f"{pipeline['PipelineName']}/{request['ClientRequestToken']}"
    now = time.time()
    body: Execution = {
        "PipelineArn": pipeline["PipelineArn"],
        "PipelineExecutionArn": arn,
        "PipelineExecutionDisplayName": request.get("PipelineExecutionDisplayName", f"execution-{int(now * 1000)}"),
        "PipelineExecutionStatus": "Executing",
        "PipelineExecutionDescription": request.get("PipelineExecutionDescription"),
        "PipelineExperimentConfig": _experiment(parsed, pipeline["PipelineName"], identifier),
        "CreationTime": now,
        "LastModifiedTime": now,
        "ParallelismConfiguration": request.get("ParallelismConfiguration", pipeline["ParallelismConfiguration"]),
        "PipelineVersionId": pipeline["_VersionId"],
        "RoleArn": request.get("RoleArn", pipeline["RoleArn"]),
        "_Parameters": values,
        "_Variables": runner.variables(arn, pipeline["PipelineArn"], now),
        "_StartToken": token,
    }
    written = {"PipelineDefinition": pipeline["PipelineDefinition"], "CreationTime": now}
    try:
        with context.store.transaction():
            context.store.insert(START_TOKEN, token, {"PipelineExecutionArn": arn})
            context.store.put(DEFINITION, arn, written)
            context.store.put(EXECUTION, arn, body)
            context.store.update(PIPELINE, pipeline["PipelineName"], {"LastRunTime": now})
    except AlreadyExists:
        return {"PipelineExecutionArn": context.store.expect(START_TOKEN, token)["PipelineExecutionArn"]}
    runner.Run(context, body, parsed).start()
    return {"PipelineExecutionArn": arn}


@operation("sagemaker", "DescribePipelineExecution")
def describe_pipeline_execution(context: Context, request: Json) -> Execution:
    return _execution(context, request)


@operation("sagemaker", "ListPipelineExecutions")
def list_pipeline_executions(context: Context, request: Json) -> Json:
    refuse(request, "PipelineVersionAlias")
    pipeline = PIPELINES.find(context, request["PipelineName"])

    def summary(body: Execution) -> Json:
        reason = body.get("FailureReason")
        return {**body, "StartTime": body["CreationTime"], "PipelineExecutionFailureReason": reason}

    arn, answer = pipeline["PipelineArn"], "PipelineExecutionSummaries"
    return listing.stored(context.store, EXECUTION, request, answer, summary, parent=arn)


@operation("sagemaker", "ListPipelineExecutionSteps")
def list_pipeline_execution_steps(context: Context, request: Json) -> Json:
    """Steps that have started, the latest first unless asked otherwise."""
    arn = _execution(context, request)["PipelineExecutionArn"]
    return listing.stored(context.store, STEP, request, "PipelineExecutionSteps", dict, parent=arn)


@operation("sagemaker", "ListPipelineParametersForExecution")
def list_pipeline_parameters_for_execution(context: Context, request: Json) -> Json:
    values = _execution(context, request)["_Parameters"]
    shown = [{"Name": name, "Value": parameters.as_text(value)} for name, value in values.items()]
    return listing.page(shown, request, "PipelineParameters", dict)


@operation("sagemaker", "DescribePipelineDefinitionForExecution")
def describe_pipeline_definition_for_execution(context: Context, request: Json) -> Json:
    return context.store.expect(DEFINITION, _execution(context, request)["PipelineExecutionArn"])


@operation("sagemaker", "StopPipelineExecution")
def stop_pipeline_execution(context: Context, request: Json) -> Json:
    """Running jobs are stopped; the answer does not wait for them."""
    arn = _execution(context, request)["PipelineExecutionArn"]

    def edit(body: Execution) -> None:
        status = body["PipelineExecutionStatus"]
        if status not in records.RUNNING:
            raise ValidationException(f"Pipeline execution '{arn}' is {status}; only a running one can be stopped.")
        body.update({"PipelineExecutionStatus": "Stopping", "LastModifiedTime": time.time()})

    context.store.change(EXECUTION, arn, edit)
    run = runner.running(context).get(arn)
    if run:
        run.stop()
    return {"PipelineExecutionArn": arn}


@operation("sagemaker", "RetryPipelineExecution")
def retry_pipeline_execution(context: Context, request: Json) -> Json:
    """Runs what did not succeed; steps that did keep their results."""
    arn = _execution(context, request)["PipelineExecutionArn"]
    token = request["ClientRequestToken"]
    repeated = False

    def edit(body: Execution) -> None:
        nonlocal repeated
        repeated = body.get("_RetryToken") == token
        status = body["PipelineExecutionStatus"]
        if repeated:
            return
        if status not in ("Failed", "Stopped"):
            fit = "only one that is Failed or Stopped can be retried"
            raise ValidationException(f"Pipeline execution '{arn}' is {status}; {fit}.")
        body.update({"PipelineExecutionStatus": "Executing", "LastModifiedTime": time.time(), "_RetryToken": token})
        body["_Resumes"] = 0
        body.pop("FailureReason", None)
        if "ParallelismConfiguration" in request:
            body["ParallelismConfiguration"] = request["ParallelismConfiguration"]

    with context.store.transaction():
        execution = context.store.change(EXECUTION, arn, edit)
        if not repeated:
            records.drop_unfinished(context.store, arn)
    if not repeated:
        resume.run(context, execution)
    return {"PipelineExecutionArn": arn}


@operation("sagemaker", "UpdatePipelineExecution")
def update_pipeline_execution(context: Context, request: Json) -> Json:
    arn = _execution(context, request)["PipelineExecutionArn"]
    members = ("PipelineExecutionDisplayName", "PipelineExecutionDescription", "ParallelismConfiguration")
    changes = {member: request[member] for member in members if member in request}
    context.store.update(EXECUTION, arn, {**changes, "LastModifiedTime": time.time()})
    return {"PipelineExecutionArn": arn}


@on_start
def go_on(context: Context) -> None:
    supervisor.take_up(context, resume.WATCHED)


def _execution(context: Context, request: Json) -> Execution:
    arn = request.get("PipelineExecutionArn", "")
    body = context.store.get(EXECUTION, arn)
    if body is None:
        raise ResourceNotFound(f"Pipeline execution '{arn}' does not exist.")
    return body


def _experiment(parsed: Definition, pipeline: str, identifier: str) -> Json | None:
    """The experiment and trial that the definition names by pipeline and execution, or literally."""
    known = {"Execution.PipelineName": pipeline, "Execution.PipelineExecutionId": identifier}
    names = {}
    for member, value in (parsed.experiment or {}).items():
        names[member] = known.get(value.get("Get", "")) if isinstance(value, dict) else value
    return names or None
