"""What a step costs beside its work: a chain of no-op steps on the embedded SageMaker and on other orchestrators.

    python -m benchmarks.engine [--rounds 5]

Arms, taking turns: the bare subprocess, the same job through CreateProcessingJob alone, the step in a pipeline, a step
that runs Python, and the arms of benchmarks/orchestrators.py where `make bench` has made their environment.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import boto3

from benchmarks.machine import Row, print_table, spread
from sagelocal.core import lifecycle

STEPS = 20
OTHER_STEPS = 5  # in a chain of another orchestrator, which takes longer
COMMAND = ["/bin/true"]
PYTHON = [sys.executable, "-c", "pass"]
ENVIRONMENT = Path(__file__).parent.parent / ".venv" / "bench"
OTHERS = {
    "kfp": "kfp.local, SubprocessRunner as it comes",
    "kfp-bare": "kfp.local, told not to ask pip for its packages",
    "dagster": "dagster in one process, the bare command in each step",
}


def job(command: list[str]) -> dict[str, Any]:
    cluster = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
    return {
        "RoleArn": "arn:aws:iam::123456789012:role/bench-job",
        "AppSpecification": {"ImageUri": "python", "ContainerEntrypoint": command},
        "ProcessingResources": {"ClusterConfig": cluster},
    }


def bare(command: list[str]) -> float:
    began = time.perf_counter()
    for _ in range(STEPS):
        subprocess.run(command, check=True)
    return (time.perf_counter() - began) / STEPS


def jobs_alone(sagemaker: Any) -> float:
    """Seconds from CreateProcessingJob to Completed, as the server recorded them, per job."""
    took = []
    for _ in range(STEPS):
        name = f"bench-{time.time_ns()}"
        sagemaker.create_processing_job(ProcessingJobName=name, **job(COMMAND))
        while True:
            found = sagemaker.describe_processing_job(ProcessingJobName=name)
            if found["ProcessingJobStatus"] != "InProgress":
                break
            time.sleep(0.002)
        took.append((found["ProcessingEndTime"] - found["CreationTime"]).total_seconds())
    return sum(took) / STEPS


def pipeline(sagemaker: Any, name: str) -> float:
    """Seconds per step of a chain, from the execution's start to its end."""
    arn = sagemaker.start_pipeline_execution(PipelineName=name, ClientRequestToken="x" * 32 + str(time.time_ns()))[
        "PipelineExecutionArn"
    ]
    while True:
        execution = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
        if execution["PipelineExecutionStatus"] != "Executing":
            break
        time.sleep(0.01)
    assert execution["PipelineExecutionStatus"] == "Succeeded", execution
    return (execution["LastModifiedTime"] - execution["CreationTime"]).total_seconds() / STEPS


def chain(command: list[str]) -> str:
    steps = [
        {"Name": f"S{i}", "Type": "Processing", "Arguments": job(command), "DependsOn": [f"S{i - 1}"] if i else []}
        for i in range(STEPS)
    ]
    return json.dumps({"Version": "2020-12-01", "Metadata": {}, "Parameters": [], "Steps": steps})


@contextmanager
def embedded() -> Iterator[Any]:
    """A client of a server of its own, with the chains as pipelines `true` and `python`."""
    with tempfile.TemporaryDirectory() as folder:
        server = lifecycle.ensure(Path(folder))
        try:
            sagemaker = boto3.client("sagemaker", **server.client_settings())
            for name, command in {"true": COMMAND, "python": PYTHON}.items():
                sagemaker.create_pipeline(
                    PipelineName=name,
                    PipelineDefinition=chain(command),
                    RoleArn="arn:aws:iam::123456789012:role/bench-pipeline",
                    ClientRequestToken="c" * 32,
                )
            yield sagemaker
        finally:
            lifecycle.stop(Path(folder))


@contextmanager
def orchestrators() -> Iterator[Callable[[str], float]]:
    """The function that runs a chain of another orchestrator and gives its seconds per step."""
    path = f"{ENVIRONMENT / 'bin'}:{os.environ['PATH']}"
    process = subprocess.Popen(
        [str(ENVIRONMENT / "bin" / "python"), str(Path(__file__).with_name("orchestrators.py"))],
        env={**os.environ, "PATH": path, "DAGSTER_DISABLE_TELEMETRY": "1", "DAGSTER_HOME": ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin and process.stdout

    def ask(arm: str) -> float:
        print(arm, OTHER_STEPS, file=process.stdin, flush=True)
        answer = process.stdout.readline()
        assert answer, f"{arm} failed: run benchmarks/orchestrators.py by hand to see why"
        return float(answer)

    try:
        yield ask
    finally:
        process.stdin.close()
        process.wait()


def measure(rounds: int) -> dict[str, list[float]]:
    """Milliseconds a step, per arm and round."""
    with ExitStack() as stack:
        sagemaker = stack.enter_context(embedded())
        arms: dict[str, Callable[[], float]] = {
            "bare": lambda: bare(COMMAND),
            "bare python": lambda: bare(PYTHON),
            "job": lambda: jobs_alone(sagemaker),
            "step": lambda: pipeline(sagemaker, "true"),
            "python step": lambda: pipeline(sagemaker, "python"),
        }
        if (ENVIRONMENT / "installed").exists():
            ask = stack.enter_context(orchestrators())
            arms |= {name: (lambda name=name: ask(name)) for name in OTHERS}
        else:
            print("The other orchestrators are left out: `make bench` makes their environment.", file=sys.stderr)
        times: dict[str, list[float]] = {name: [] for name in arms}
        for number in range(rounds + 1):  # the first is a warm-up
            for name, once in arms.items():
                took = 1000 * once()
                if number:
                    times[name].append(took)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    times = measure(parser.parse_args().rounds)
    own = [step - alone for step, alone in zip(times["step"], times["job"], strict=True)]
    python = median(times["python step"])
    rows: list[Row] = [
        ("bare subprocess", spread(times["bare"], "ms", 1), "—"),
        ("bare subprocess of Python", spread(times["bare python"], "ms", 1), "—"),
        ("processing job alone", spread(times["job"], "ms", 1), "—"),
        ("pipeline step, process included", spread(times["step"], "ms", 1), "under 150 ms"),
        ("the engine's own cost", spread(own, "ms", 1), "under 50 ms"),
        ("pipeline step that runs Python", spread(times["python step"], "ms", 1), "—"),
    ]
    figures = {"step_ms": median(times["step"]), "own_ms": median(own), "python_step_ms": python}
    for name, text in OTHERS.items():
        if name in times:
            # dagster starts the bare command, kfp.local Python: each is held against our step that does the same.
            ours = figures["step_ms"] if name == "dagster" else python
            ratio = median(times[name]) / ours
            figures[f"{name.replace('-', '_')}_ratio"] = ratio
            wanted = "5x ours" if name == "kfp" else "—"
            rows.append((text, f"{spread(times[name], 'ms', 1)}, {ratio:.1f}x ours", wanted))
    print_table(f"A no-op step ({STEPS} in a chain)", rows, figures=figures)


if __name__ == "__main__":
    sys.exit(main())
