"""A training job: the training container's contract, kept by one process per instance.

Contract: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
"""

import os
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sagelocal.core import patterns
from sagelocal.core.context import Context
from sagelocal.core.json import Json
from sagelocal.core.patience import patiently
from sagelocal.core.store import amend
from sagelocal.runtime import cluster, data, images, memory, outputs, process, service_calls
from sagelocal.runtime.checkpoints import Checkpoints
from sagelocal.runtime.cluster import Control
from sagelocal.runtime.launch import ProcessSpec
from sagelocal.services.s3 import objects
from sagelocal.services.sagemaker.documents import TRAINING_JOB, TrainingJob
from sagelocal.services.sagemaker.jobs import rules, toolkit
from sagelocal.services.sagemaker.jobs.job import CUT_OFF, NOT_ITS_FAULT, UPLOAD_SECONDS, run_to_end
from sagelocal.services.sagemaker.jobs.metrics import Collector, definitions
from sagelocal.services.sagemaker.resources import now_after

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
GRACE_SECONDS = 120.0  # between SIGTERM and SIGKILL; source: API reference, StopTrainingJob
TENSORS = "/opt/ml/output/tensors"
DEBUG_CONFIG = "/opt/ml/input/config/debughookconfig.json"
MODEL, EXTRA = "model", "output/data"
FOLDERS = ("input/config", "input/data", MODEL, EXTRA, "code", "checkpoints")
REPLICATED = "FullyReplicated"
WRITABLE_CHANNELS = ("sm_drivers", "code")  # SDK v3's own: its start script changes their modes, so they are copies

OnMetric = Callable[[str, float], None]


def run(
    context: Context, name: str, control: Control, on_metric: OnMetric | None = None, threads: int | None = None
) -> TrainingJob:
    """Run a created job to its end; its final document. Nothing is raised for what the job did wrong.

    `threads`: OMP_NUM_THREADS of each host, where the job's own environment does not say.
    """
    directory = context.state_dir / "jobs" / "training" / name

    def finish(result: Json) -> TrainingJob:
        told = failed(CUT_OFF) | NOT_ITS_FAULT if control.reason == cluster.SHUT_DOWN else result
        final = end(context, name, told)
        rules.start(context, final)
        if result["TrainingJobStatus"] != "Failed":
            outputs.remove(directory)
        return final

    try:
        work = partial(_Run, context, name, control, directory, on_metric, threads)
        return run_to_end(context, lambda: work().run(), failed, finish)
    finally:
        cluster.running(context).pop((TRAINING_JOB, name), None)


def failed(reason: str) -> Json:
    return {"TrainingJobStatus": "Failed", "SecondaryStatus": "Failed", "FailureReason": reason[: data.MESSAGE_LIMIT]}


def end(context: Context, name: str, result: Json) -> TrainingJob:
    """Bring a job's document to its end: status, times, transitions."""

    def edit(body: TrainingJob) -> None:
        enter(body, result["SecondaryStatus"], result.get("FailureReason", ""))
        last = body["SecondaryStatusTransitions"][-1]
        last["EndTime"] = now = last["StartTime"]
        amend(body, result | {"TrainingEndTime": now, "LastModifiedTime": now})
        seconds = max(1, round(now - body["TrainingStartTime"])) if "TrainingStartTime" in body else 0
        body["TrainingTimeInSeconds"] = body["BillableTimeInSeconds"] = seconds

    return context.store.change(TRAINING_JOB, name, edit)


def enter(body: TrainingJob, status: str, message: str = "") -> None:
    """Go into a secondary status, with the transition noted."""
    transitions = body.setdefault("SecondaryStatusTransitions", [])
    earlier = [entry["StartTime"] for entry in transitions[-1:]]
    now = now_after(body["CreationTime"], body.get("TrainingStartTime"), *earlier)
    if transitions:
        transitions[-1].setdefault("EndTime", now)
    transitions.append(
        {"Status": status, "StartTime": now, "StatusMessage": message or STATUS_MESSAGES.get(status, "")}
    )
    body.update({"SecondaryStatus": status, "LastModifiedTime": now})


STATUS_MESSAGES = {
    "Starting": "Starting the training job",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Completed": "Training job completed",
    "MaxRuntimeExceeded": "The training job ran for longer than MaxRuntimeInSeconds",
    "Stopped": "Training job stopped",
}


class _Run:
    """One run of one job: its trees, its processes, its result."""

    def __init__(
        self,
        context: Context,
        name: str,
        control: Control,
        directory: Path,
        on_metric: OnMetric | None,
        threads: int | None,
    ):
        body = context.store.expect(TRAINING_JOB, name)
        self.context = context.as_role(body["RoleArn"])
        self.name, self.control, self.directory = name, control, directory
        self.job = body
        self.algorithm = body["AlgorithmSpecification"]
        self.resources = body["ResourceConfig"]
        self.channels = body.get("InputDataConfig", [])
        self.hyperparameters = toolkit.decoded(body.get("HyperParameters", {}))
        self.limit = body["StoppingCondition"]["MaxRuntimeInSeconds"]
        self.hosts = [f"algo-{n + 1}" for n in range(self.resources.get("InstanceCount", 1))]
        self.trees = [directory / host / "ml" for host in self.hosts]
        wanted = definitions(self.algorithm.get("MetricDefinitions", []))
        self.metrics = Collector(wanted, patterns.worker(context), on_metric)
        self.last_lines: deque[str] = deque(maxlen=20)
        if len(self.hosts) > 1:  # they share this machine's cores
            threads = max(1, (threads or os.cpu_count() or 1) // len(self.hosts))
        self.threads = threads
        self.port = process.free_port()

    def run(self) -> Json:
        self._enter("Downloading", TrainingStartTime=now_after(self.job["CreationTime"]))
        service_calls.check_pull(self.context, self.algorithm.get("TrainingImage", ""))
        for tree in self.trees:
            for folder in FOLDERS:
                (tree / folder).mkdir(parents=True)
        cluster.name_hosts(self.hosts, self.trees)
        self._bring_channels()
        self._bring_code()
        for host, tree in zip(self.hosts, self.trees, strict=True):
            self._write_configuration(host, tree)
        self._enter("Training")
        with Checkpoints(self.context, self.job.get("CheckpointConfig"), self.trees):
            specs = [self._spec(host, tree) for host, tree in zip(self.hosts, self.trees, strict=True)]
            codes = cluster.run_hosts(self.context, self.control, specs, self.limit, GRACE_SECONDS)
            outputs.take_back(self.directory)
        return self._result(codes)

    def _enter(self, status: str, **changes: object) -> None:
        def edit(body: TrainingJob) -> None:
            amend(body, changes)
            if body["TrainingJobStatus"] == "InProgress":
                enter(body, status)

        patiently(self.context, self.name, lambda: self.context.store.change(TRAINING_JOB, self.name, edit))

    def _bring_channels(self) -> None:
        for channel in self.channels:
            name, source = channel["ChannelName"], channel["DataSource"]["S3DataSource"]
            targets = [tree / "input" / "data" / name for tree in self.trees]
            data.download(self.context, source, targets, f"channel {name}", copy=name in WRITABLE_CHANNELS)

    def _bring_code(self) -> None:
        submitted = str(self.hyperparameters.get("sagemaker_submit_directory", ""))
        for tree in self.trees if submitted else ():
            if submitted.startswith("s3://"):
                service_calls.check_read(self.context, submitted)
                archive = objects.path(self.context, submitted)
            else:
                archive = outputs.place(tree, submitted)
            data.unpack(archive, tree / "code", f"sagemaker_submit_directory {submitted}")

    def _resource_config(self, host: str) -> Json:
        instance_type = self.resources.get("InstanceType", "local")
        group = {"instance_group_name": "homogeneousCluster", "instance_type": instance_type, "hosts": self.hosts}
        return {
            "current_host": host,
            "current_instance_type": instance_type,
            "current_group_name": "homogeneousCluster",
            "hosts": self.hosts,
            "instance_groups": [group],
            "network_interface_name": toolkit.NETWORK_INTERFACE,
        }

    def _input_config(self) -> Json:
        return {
            channel["ChannelName"]: {
                "TrainingInputMode": channel.get("InputMode", self.algorithm["TrainingInputMode"]),
                "S3DistributionType": channel["DataSource"]["S3DataSource"].get("S3DataDistributionType", REPLICATED),
                "RecordWrapperType": channel.get("RecordWrapperType", "None"),
                **({"ContentType": channel["ContentType"]} if channel.get("ContentType") else {}),
            }
            for channel in self.channels
        }

    def _write_configuration(self, host: str, tree: Path) -> None:
        files = {
            "hyperparameters.json": self.job.get("HyperParameters", {}),
            "inputdataconfig.json": self._input_config(),
            "resourceconfig.json": self._resource_config(host),
        }
        hook = self.job.get("DebugHookConfig")
        if hook:
            files["debughookconfig.json"] = {"LocalPath": TENSORS, **hook}
        for name, content in files.items():
            (tree / "input" / "config" / name).write_text(data.shown_json(content, tree))

    def _spec(self, host: str, tree: Path) -> ProcessSpec:
        env = process.base_environment(self.context, tree.parent) | {
            "TRAINING_JOB_NAME": self.name,
            "TRAINING_JOB_ARN": self.job["TrainingJobArn"],
        }
        if "DebugHookConfig" in self.job:
            env["SMDEBUG_CONFIG_FILE_PATH"] = DEBUG_CONFIG
        if self.threads:
            env["OMP_NUM_THREADS"] = str(self.threads)
        env |= self.job.get("Environment", {})
        env |= toolkit.environment(
            self.hyperparameters,
            job_name=self.name,
            resources=self._resource_config(host),
            inputs=self._input_config(),
            port=self.port,
        )
        stream = f"{self.name}/{host}-{int(time.time())}"
        write = service_calls.log_writer(self.context, LOG_GROUP, stream, LOG_GROUP)

        def on_line(line: str) -> None:
            self.last_lines.append(line)
            write(line)
            for said in self.metrics.read(line):
                write(said)

        protected = (channel["ChannelName"] for channel in self.channels)
        return ProcessSpec(
            argv=self._command(host),
            env=env,
            opt_ml=tree,
            read_only=tuple(f"/opt/ml/input/data/{name}" for name in protected if name not in WRITABLE_CHANNELS),
            cwd=toolkit.CODE,
            on_line=on_line,
            warm=True,
            memory=memory.of_instance(self.resources.get("InstanceType")),
        )

    def _command(self, host: str) -> list[str]:
        if self.algorithm.get("ContainerEntrypoint"):
            return self.algorithm["ContainerEntrypoint"] + self.algorithm.get("ContainerArguments", [])
        if self.hyperparameters.get("sagemaker_program"):
            return toolkit.command(self.hyperparameters, self.hosts, host, self.port)
        return list(images.find(self.context, self.algorithm["TrainingImage"], "training").train)

    def _result(self, codes: list[int]) -> Json:
        patiently(self.context, f"tensors of {self.name}", self._upload_tensors, UPLOAD_SECONDS)
        metrics = {"FinalMetricDataList": self.metrics.final()}
        if self.control.reason == cluster.SHUT_DOWN:
            return failed(CUT_OFF) | NOT_ITS_FAULT | metrics
        if self.control.reason == cluster.STOPPED:
            return {"TrainingJobStatus": "Stopped", "SecondaryStatus": "Stopped", **self._outputs(), **metrics}
        if self.control.reason == cluster.TIMED_OUT:
            stopped = {"TrainingJobStatus": "Stopped", "SecondaryStatus": "MaxRuntimeExceeded"}
            return {**stopped, **self._outputs(), **metrics}
        code = cluster.exit_code(codes)
        if code:
            message = outputs.message(self.trees, "output/failure")
            why = message or next((line for line in reversed(self.last_lines) if line.strip()), "see the job's log")
            return failed(f"AlgorithmError: {why[:900]}, exit code: {code}") | metrics
        return {"TrainingJobStatus": "Completed", "SecondaryStatus": "Completed", **self._outputs(), **metrics}

    def _outputs(self) -> Json:
        """ModelArtifacts. What the job has made waits for room on the disk rather than being lost."""
        self._enter("Uploading")
        return patiently(self.context, f"outputs of {self.name}", self._upload_model, UPLOAD_SECONDS)

    def _upload_model(self) -> Json:
        """Store model and output archives; the model last, so that it is there only when all is."""
        output = self.job["OutputDataConfig"]
        prefix = f"{output['S3OutputPath'].rstrip('/')}/{self.name}/output"
        if output.get("CompressionType") == "NONE":
            for folder, name in ((EXTRA, "output"), (MODEL, "model")):
                for tree in reversed(self.trees):
                    data.upload(self.context, tree, tree / folder, f"{prefix}/{name}")
            return {"ModelArtifacts": {"S3ModelArtifacts": f"{prefix}/model/"}}
        if any(True for tree in self.trees for _ in outputs.files_under(tree, tree / EXTRA)):
            service_calls.check_write(self.context, f"{prefix}/output.tar.gz")
            data.pack(self.trees, EXTRA, self.directory / "output.tar.gz")
            objects.store_file(self.context, f"{prefix}/output.tar.gz", self.directory / "output.tar.gz")
        service_calls.check_write(self.context, f"{prefix}/model.tar.gz")
        data.pack(self.trees, MODEL, self.directory / "model.tar.gz")
        objects.store_file(self.context, f"{prefix}/model.tar.gz", self.directory / "model.tar.gz")
        return {"ModelArtifacts": {"S3ModelArtifacts": f"{prefix}/model.tar.gz"}}

    def _upload_tensors(self) -> None:
        hook = self.job.get("DebugHookConfig")
        if not hook:
            return
        local = hook.get("LocalPath", TENSORS)
        uri = f"{hook['S3OutputPath'].rstrip('/')}/{self.name}/debug-output"
        for tree in reversed(self.trees):
            data.upload(self.context, tree, outputs.place(tree, local), uri)
