"""A processing job: the processing container's contract, kept by one process per instance.

Contract: https://docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html
"""

from collections import deque
from pathlib import Path

from sagelocal.core.context import Context
from sagelocal.core.json import Json
from sagelocal.core.patience import patiently
from sagelocal.core.store import amend
from sagelocal.runtime import cluster, data, images, memory, outputs, process, service_calls
from sagelocal.runtime.cluster import Control
from sagelocal.runtime.launch import ProcessSpec
from sagelocal.services.sagemaker.documents import PROCESSING_JOB, ProcessingJob
from sagelocal.services.sagemaker.jobs.job import CUT_OFF, NOT_ITS_FAULT, UPLOAD_SECONDS, run_to_end
from sagelocal.services.sagemaker.resources import now_after

LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
GRACE_SECONDS = 30.0  # between SIGTERM and SIGKILL


def run(context: Context, name: str, control: Control) -> None:
    """Run a created job to its end; everything that happens is in its document, nothing is raised."""
    directory = context.state_dir / "jobs" / "processing" / name

    def finish(result: Json) -> None:
        told = failed(CUT_OFF) | NOT_ITS_FAULT if control.reason == cluster.SHUT_DOWN else result
        end(context, name, told)
        if result["ProcessingJobStatus"] != "Failed":
            outputs.remove(directory)

    try:
        run_to_end(context, lambda: _Run(context, name, control, directory).run(), failed, finish)
    finally:
        cluster.running(context).pop((PROCESSING_JOB, name), None)


def end(context: Context, name: str, result: Json) -> None:
    """Bring a job's document to its end."""

    def edit(body: ProcessingJob) -> None:
        now = now_after(body["CreationTime"], body.get("ProcessingStartTime"))
        amend(body, {**result, "ProcessingEndTime": now, "LastModifiedTime": now})

    context.store.change(PROCESSING_JOB, name, edit)


def failed(reason: str) -> Json:
    return {"ProcessingJobStatus": "Failed", "FailureReason": reason[: data.MESSAGE_LIMIT]}


class _Run:
    """One run of one job: its trees, its processes, its result."""

    def __init__(self, context: Context, name: str, control: Control, directory: Path):
        self.job = context.store.expect(PROCESSING_JOB, name)
        self.context = context.as_role(self.job["RoleArn"])
        self.name, self.control = name, control
        self.hosts = [f"algo-{n + 1}" for n in range(self.job["ProcessingResources"]["ClusterConfig"]["InstanceCount"])]
        self.directory = directory
        self.trees = [directory / host / "ml" for host in self.hosts]
        self.inputs = [item for item in self.job.get("ProcessingInputs", []) if not item.get("AppManaged")]
        self.outputs = self.job.get("ProcessingOutputConfig", {}).get("Outputs", [])
        self.limit = self.job.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", 86400)
        self.last_lines: deque[str] = deque(maxlen=20)

    def run(self) -> Json:
        service_calls.check_pull(self.context, self.job["AppSpecification"]["ImageUri"])
        for tree in self.trees:
            (tree / "output").mkdir(parents=True)
            (tree / "config").mkdir()
        cluster.name_hosts(self.hosts, self.trees)
        for item in self.inputs:
            targets = [outputs.place(tree, item["S3Input"]["LocalPath"]) for tree in self.trees]
            data.download(self.context, item["S3Input"], targets, f"input {item['InputName']}")
        for host, tree in zip(self.hosts, self.trees, strict=True):
            for output in self.outputs:
                outputs.place(tree, output["S3Output"]["LocalPath"]).mkdir(parents=True, exist_ok=True)
            self._write_configuration(host, tree)
        started = now_after(self.job["CreationTime"])
        changes = {"ProcessingStartTime": started, "LastModifiedTime": started}
        patiently(self.context, self.name, lambda: self.context.store.update(PROCESSING_JOB, self.name, changes))
        specs = [self._spec(host, tree, int(started)) for host, tree in zip(self.hosts, self.trees, strict=True)]
        codes = cluster.run_hosts(self.context, self.control, specs, self.limit, GRACE_SECONDS)
        outputs.take_back(self.directory)
        return self._result(codes)

    def _write_configuration(self, host: str, tree: Path) -> None:
        public = {key: value for key, value in self.job.items() if not key.startswith("_")}
        resources = {"current_host": host, "hosts": self.hosts}
        (tree / "config" / "processingjobconfig.json").write_text(data.shown_json(public, tree))
        (tree / "config" / "resourceconfig.json").write_text(data.shown_json(resources, tree))

    def _spec(self, host: str, tree: Path, started: int) -> ProcessSpec:
        write = service_calls.log_writer(self.context, LOG_GROUP, f"{self.name}/{host}-{started}", LOG_GROUP)

        def on_line(line: str) -> None:
            self.last_lines.append(line)
            write(line)

        return ProcessSpec(
            argv=self._command(),
            env=process.base_environment(self.context, tree.parent)
            | {"PROCESSING_JOB_NAME": self.name}
            | self.job.get("Environment", {}),
            opt_ml=tree,
            read_only=tuple(item["S3Input"]["LocalPath"].rstrip("/") for item in self.inputs),
            on_line=on_line,
            warm=True,
            memory=memory.of_instance(self.job["ProcessingResources"]["ClusterConfig"].get("InstanceType")),
        )

    def _command(self) -> list[str]:
        """The entry point of the request; a Debugger rule's job has none, and runs what its image does."""
        application = self.job["AppSpecification"]
        if "ContainerEntrypoint" not in application:
            return list(images.find(self.context, application["ImageUri"], "rules").evaluate)
        images.find(self.context, application["ImageUri"], "processing")
        return application["ContainerEntrypoint"] + application.get("ContainerArguments", [])

    def _result(self, codes: list[int]) -> Json:
        message = outputs.message(self.trees, "output/message")
        said = {"ExitMessage": message} if message else {}
        if self.control.reason == cluster.TIMED_OUT:
            limit = f"MaxRuntimeInSeconds, {self.limit} seconds"
            reason = f"ClientError: The job ran for longer than {limit}, and was stopped."
            return {"ProcessingJobStatus": "Stopped", "FailureReason": reason, **said}
        if self.control.reason == cluster.STOPPED:
            return {"ProcessingJobStatus": "Stopped", **said}
        code = cluster.exit_code(codes)
        if code:
            why = message or next((line for line in reversed(self.last_lines) if line.strip()), "see the job's log")
            return {**failed(f"AlgorithmError: {why[:900]}, exit code: {code}"), **said}
        empty = [] if process.shows_opt_ml() else self._empty_outputs()
        if empty:
            reason = (
                f"ClientError: The output folder {empty[0]} stayed empty. This machine cannot show it to a job (it has "
                "no namespaces): let the job take its path from an argument, or run the server where there are some."
            )
            return {**failed(reason), **said}
        patiently(self.context, f"outputs of {self.name}", self._upload, UPLOAD_SECONDS)
        return {"ProcessingJobStatus": "Completed", **said}

    def _upload(self) -> None:
        for output in self.outputs:
            if not output.get("AppManaged"):
                source, uri = output["S3Output"]["LocalPath"], output["S3Output"]["S3Uri"]
                for tree in self.trees:
                    data.upload(self.context, tree, outputs.place(tree, source), uri)

    def _empty_outputs(self) -> list[str]:
        """The folders to be uploaded in which no host left a file."""
        paths = [item["S3Output"]["LocalPath"] for item in self.outputs if not item.get("AppManaged")]
        folders = {path: [(tree, outputs.place(tree, path)) for tree in self.trees] for path in paths}
        return [path for path in paths if not any(any(outputs.files_under(*folder)) for folder in folders[path])]
