"""A processing job: the processing container's contract, kept by one process per instance.

Contract: https://docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html
"""

import shutil
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.runtime import cluster, data, images, process, service_calls
from sagelocal.runtime.cluster import Control, JobFailed
from sagelocal.services.sagemaker.documents import PROCESSING_JOB, ProcessingJob

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import AppSpecificationOutputTypeDef, ProcessingOutputTypeDef
from sagelocal.runtime.launch import ProcessSpec

LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
GRACE_SECONDS = 30.0  # between SIGTERM and SIGKILL
CUT_OFF = "The embedded SageMaker stopped while the job ran."


def run(context: Context, name: str, control: Control) -> None:
    """Run a created job to its end; everything that happens is in its document, nothing is raised."""
    directory = context.state_dir / "jobs" / "processing" / name
    try:
        result = _run(context, name, control, directory)
    except JobFailed as problem:
        result = _failed(str(problem))
    except AwsError as problem:
        result = _failed(f"ClientError: {problem.message}")
    except Exception as problem:
        result = _failed(f"InternalServerError: {type(problem).__name__}: {problem}")
        _finish(context, name, control, result)
        raise
    _finish(context, name, control, result)
    if result["ProcessingJobStatus"] != "Failed":
        shutil.rmtree(directory, ignore_errors=True)


def _finish(context: Context, name: str, control: Control, result: Json) -> None:
    cluster.unregister(context, PROCESSING_JOB, name)
    if control.reason == cluster.SHUT_DOWN:
        result = _failed(CUT_OFF)
    now = time.time()
    context.store.update(PROCESSING_JOB, name, {**result, "ProcessingEndTime": now, "LastModifiedTime": now})


def _failed(reason: str) -> Json:
    return {"ProcessingJobStatus": "Failed", "FailureReason": reason[: data.MESSAGE_LIMIT]}


def _run(context: Context, name: str, control: Control, directory: Path) -> Json:
    job = context.store.get(PROCESSING_JOB, name)
    assert job is not None
    context = context.as_role(job["RoleArn"])
    service_calls.check_pull(context, job["AppSpecification"]["ImageUri"])
    hosts = [f"algo-{n + 1}" for n in range(job["ProcessingResources"]["ClusterConfig"]["InstanceCount"])]
    trees = [directory / host / "ml" for host in hosts]
    for tree in trees:
        (tree / "output").mkdir(parents=True)
        (tree / "config").mkdir()
    cluster.name_hosts(hosts, trees)
    inputs = _bring_inputs(context, job, trees)
    outputs = job.get("ProcessingOutputConfig", {}).get("Outputs", [])
    for tree in trees:
        for output in outputs:
            _local(tree, output["S3Output"]["LocalPath"]).mkdir(parents=True, exist_ok=True)
    _write_configuration(job, hosts, trees)

    started = time.time()
    context.store.update(PROCESSING_JOB, name, {"ProcessingStartTime": started, "LastModifiedTime": started})
    last_lines: deque[str] = deque(maxlen=20)
    specs = [
        _spec(context, job, host, tree, inputs, int(started), last_lines)
        for host, tree in zip(hosts, trees, strict=True)
    ]
    limit = job.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", 86400)
    codes = cluster.run_hosts(context, control, specs, limit, GRACE_SECONDS)
    return _result(context, control, codes, limit, trees, outputs, last_lines)


def _bring_inputs(context: Context, job: ProcessingJob, trees: list[Path]) -> list[str]:
    """Fill the input directories; their paths as the job sees them."""
    paths = []
    for item in job.get("ProcessingInputs", []):
        if item.get("AppManaged"):
            continue
        source = item["S3Input"]
        data.download(
            context,
            source["S3Uri"],
            [_local(tree, source["LocalPath"]) for tree in trees],
            what=f"input {item['InputName']}",
            data_type=source.get("S3DataType", "S3Prefix"),
            distribution=source.get("S3DataDistributionType", "FullyReplicated"),
        )
        paths.append(source["LocalPath"].rstrip("/"))
    return paths


def _local(tree: Path, path: str) -> Path:
    return tree / path.removeprefix("/opt/ml/")


def _write_configuration(job: ProcessingJob, hosts: list[str], trees: list[Path]) -> None:
    public = {key: value for key, value in job.items() if not key.startswith("_")}
    for host, tree in zip(hosts, trees, strict=True):
        resources = {"current_host": host, "hosts": hosts}
        (tree / "config" / "processingjobconfig.json").write_text(data.shown_json(public, tree))
        (tree / "config" / "resourceconfig.json").write_text(data.shown_json(resources, tree))


def _spec(
    context: Context, job: ProcessingJob, host: str, tree: Path, inputs: list[str], started: int, last_lines: deque[str]
) -> ProcessSpec:
    stream = f"{job['ProcessingJobName']}/{host}-{started}"
    write = service_calls.log_writer(context, LOG_GROUP, stream)
    service_calls.note_metrics(context, LOG_GROUP, write)

    def on_line(line: str) -> None:
        last_lines.append(line)
        write(line)

    return ProcessSpec(
        argv=_command(context, job["AppSpecification"]),
        env=process.base_environment(context, tree.parent)
        | {"PROCESSING_JOB_NAME": job["ProcessingJobName"]}
        | job.get("Environment", {}),
        opt_ml=tree,
        read_only=tuple(inputs),
        on_line=on_line,
        warm=True,
    )


def _command(context: Context, application: "AppSpecificationOutputTypeDef") -> list[str]:
    """The entry point of the request; a Debugger rule's job has none, and runs what its image does."""
    if "ContainerEntrypoint" not in application:
        return list(images.find(context, application["ImageUri"], "rules").evaluate)
    images.find(context, application["ImageUri"], "processing")
    return application["ContainerEntrypoint"] + application.get("ContainerArguments", [])


def _result(
    context: Context,
    control: Control,
    codes: list[int],
    limit: int,
    trees: list[Path],
    outputs: "list[ProcessingOutputTypeDef]",
    last_lines: deque[str],
) -> Json:
    message = data.message_file(trees, "output/message")
    said = {"ExitMessage": message} if message else {}
    if control.reason == cluster.TIMED_OUT:
        reason = f"ClientError: The job ran for longer than MaxRuntimeInSeconds, {limit} seconds, and was stopped."
        return {"ProcessingJobStatus": "Stopped", "FailureReason": reason, **said}
    if control.reason == cluster.STOPPED:
        return {"ProcessingJobStatus": "Stopped", **said}
    code = cluster.exit_code(codes)
    if code:
        why = message or next((line for line in reversed(last_lines) if line.strip()), "see the job's log")
        return {**_failed(f"AlgorithmError: {why[:900]}, exit code: {code}"), **said}
    for output in outputs:
        if not output.get("AppManaged"):
            for tree in trees:
                data.upload(context, _local(tree, output["S3Output"]["LocalPath"]), output["S3Output"]["S3Uri"])
    return {"ProcessingJobStatus": "Completed", **said}
