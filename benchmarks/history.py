"""What a long history costs: List operations, a cache miss and the server's start, beside those of a short history.

    python -m benchmarks.history [--executions 10000]

The history is written into the store as the server writes it, ten steps and ten jobs an execution. Requests are counted
in CPU seconds of the server's process, so that what else runs on the machine hardly shows.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import psutil

from benchmarks.machine import Row, print_table
from sagelocal.core import lifecycle
from sagelocal.core.context import Context
from sagelocal.core.store import Store
from sagelocal.definition.caching import CacheConfig
from sagelocal.services.sagemaker.documents import CACHE_ENTRY, DEFINITION, EXECUTION, PIPELINE, PROCESSING_JOB, STEP
from sagelocal.services.sagemaker.execution import cache

STEPS = 10
SHORT = 10
REQUESTS = 50
ROLE = "arn:aws:iam::123456789012:role/bench"
ARN = "arn:aws:sagemaker:us-east-1:123456789012:pipeline/bench"
PADDING = "x" * 600  # what a job's inputs, outputs and environment take


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executions", type=int, default=10_000)
    executions = parser.parse_args().executions
    short, long = measured(SHORT), measured(executions)
    rows: list[Row] = [
        (name, f"{1000 * short[name]:.2f} ms of CPU after {SHORT}, {1000 * long[name]:.2f} after {executions}", wanted)
        for name, wanted in (
            ("ListProcessingJobs, ten rows", "under 5 ms"),
            ("ListProcessingJobs, ten of one status", "under 5 ms"),
            ("ListPipelineExecutions, ten rows", "under 5 ms"),
            ("ListPipelineExecutionSteps", "under 5 ms"),
            ("the reason of a cache miss", "under 2 ms"),
        )
    ]
    starts = f"{short['start']:.2f} s after {SHORT}, {long['start']:.2f} s after {executions}"
    rows.append(("the server's start", starts, "under 2 s"))
    print_table(f"History: {executions} executions, {executions * STEPS} jobs", rows, figures=long)


def measured(executions: int) -> dict[str, float]:
    """Seconds by what they were measured for."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "state"
        directory.mkdir()
        with closing(Store(directory / "state.db")) as store:
            write(store, executions)
            found = {"the reason of a cache miss": miss(Context(directory, "", store))}
        began = time.perf_counter()
        running = lifecycle.ensure(directory)
        found["start"] = time.perf_counter() - began
        try:
            sagemaker = boto3.client("sagemaker", **running.client_settings())
            server = psutil.Process(running.pid)
            last = f"{ARN}/execution/{executions - 1:012d}"
            asked: dict[str, Callable[[], Any]] = {
                "ListProcessingJobs, ten rows": lambda: sagemaker.list_processing_jobs(MaxResults=10),
                "ListProcessingJobs, ten of one status": lambda: sagemaker.list_processing_jobs(
                    MaxResults=10, StatusEquals="Failed", SortBy="Name"
                ),
                "ListPipelineExecutions, ten rows": lambda: sagemaker.list_pipeline_executions(
                    PipelineName="bench", MaxResults=10
                ),
                "ListPipelineExecutionSteps": lambda: sagemaker.list_pipeline_execution_steps(
                    PipelineExecutionArn=last
                ),
            }
            return found | {name: cpu(server, ask) for name, ask in asked.items()}
        finally:
            lifecycle.stop(directory)


def cpu(server: psutil.Process, ask: Callable[[], Any]) -> float:
    """CPU seconds of the server for one request."""
    ask()
    before = sum(server.cpu_times()[:2])
    for _ in range(REQUESTS):
        ask()
    return (sum(server.cpu_times()[:2]) - before) / REQUESTS


def miss(context: Context) -> float:
    keys, config = {"Environment": {"RUN": "new"}}, CacheConfig(enabled=True)
    began = time.process_time()
    for _ in range(REQUESTS):
        entry, reason = cache.look_up(context, "bench", "Step-1", keys, config)
        assert entry is None and reason.startswith("Environment.RUN"), reason
    return (time.process_time() - began) / REQUESTS


def write(store: Store, executions: int) -> None:
    began = time.time() - executions * 60
    pipeline: Any = {"PipelineArn": ARN, "PipelineName": "bench", "PipelineDefinition": "{}", "RoleArn": ROLE}
    store.put(PIPELINE, "bench", pipeline | {"CreationTime": began, "LastModifiedTime": began})
    for number in range(executions):
        with store.transaction():
            _write_execution(store, number, began + 60 * number)


def _write_execution(store: Store, number: int, now: float) -> None:
    times: Any = {"CreationTime": now, "LastModifiedTime": now + 30}
    arn = f"{ARN}/execution/{number:012d}"
    about: Any = {
        "PipelineArn": ARN,
        "PipelineExecutionArn": arn,
        "PipelineExecutionStatus": "Succeeded",
        "RoleArn": ROLE,
    }
    store.insert(EXECUTION, arn, about | times)
    store.insert(DEFINITION, arn, {"PipelineDefinition": "{}", "CreationTime": now})
    for step in range(STEPS):
        name = f"pipelines-{number:012d}-Step-{step}"
        job: Any = {
            "ProcessingJobName": name,
            "ProcessingJobArn": f"arn:aws:sagemaker:us-east-1:123456789012:processing-job/{name}",
            "ProcessingJobStatus": "Failed" if (number + step) % 50 == 0 else "Completed",
            "RoleArn": ROLE,
            "_Padding": PADDING,
            "_Tags": [],
        }
        store.insert(PROCESSING_JOB, name, job | times)
        metadata = {"ProcessingJob": {"Arn": job["ProcessingJobArn"]}}
        record: Any = {"StepName": f"Step-{step}", "StepStatus": "Succeeded", "StartTime": now, "Metadata": metadata}
        store.insert(STEP, f"{arn}/Step-{step}", record)
        keys = {"Environment": {"RUN": str(number)}}
        entry = {"Pipeline": "bench", "Step": f"Step-{step}", "Keys": keys, "Time": now, "Outputs": [], "Job": None}
        store.insert(CACHE_ENTRY, f"bench/Step-{step}/{number:064d}", entry)


if __name__ == "__main__":
    main()
