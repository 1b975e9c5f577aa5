"""`sagelocal status`: the server's address, and what runs on it."""

import argparse
from pathlib import Path
from typing import Any

from sagelocal.cli.common import client, tell, unreachable
from sagelocal.core import lifecycle, lock
from sagelocal.core.json import Json

# What is listed: its word, boto3's paginator, SageMaker's word, with which the answer's members begin.
JOBS = (
    ("processing job", "list_processing_jobs", "ProcessingJob"),
    ("training job", "list_training_jobs", "TrainingJob"),
    ("tuning job", "list_hyper_parameter_tuning_jobs", "HyperParameterTuningJob"),
)


PATIENCE_SECONDS = 5.0  # one that hangs is to be told from one that runs soon


def run(arguments: argparse.Namespace) -> int:
    """The exit code is 1 where no server answers, so that a script can ask."""
    state_dir: Path = arguments.state_dir
    server = lifecycle.find(state_dir, patience=PATIENCE_SECONDS)
    if server is None:
        said, holder = unreachable(state_dir), lock.holder(state_dir)
        hung = {"pid": holder.pid} if holder else {}
        answer = {"running": False, "state_dir": str(state_dir), **hung}
        tell(arguments, answer, f"{said.headline}\n{said.way_out}")
        return 1
    active = at_work(client(server, "sagemaker"))
    address = {"url": server.url, "pid": server.pid, "version": server.version, "state_dir": str(state_dir)}
    lines = [f"sagelocal {server.version} at {server.url} (pid {server.pid}), state in {state_dir}"]
    lines += [f"{item['kind']} {item['name']}: {item['status']}" for item in active] or ["Nothing runs on it."]
    tell(arguments, {"running": True, **address, "active": active}, "\n".join(lines))
    return 0


def at_work(sagemaker: Any) -> list[dict[str, str]]:
    """{kind, name, status} of executions and jobs that run, and of every endpoint."""
    found = []
    for pipeline in _all(sagemaker, "list_pipelines", "PipelineSummaries"):
        name = pipeline["PipelineName"]
        for one in _all(sagemaker, "list_pipeline_executions", "PipelineExecutionSummaries", PipelineName=name):
            if one["PipelineExecutionStatus"] in ("Executing", "Stopping"):
                identifier = one["PipelineExecutionArn"].rpartition("/")[2]
                found.append(_item("execution", f"{name}/{identifier}", one["PipelineExecutionStatus"]))
    for kind, operation, noun in JOBS:
        for status in ("InProgress", "Stopping"):
            jobs = _all(sagemaker, operation, f"{noun}Summaries", StatusEquals=status)
            found += [_item(kind, job[f"{noun}Name"], status) for job in jobs]
    for one in _all(sagemaker, "list_endpoints", "Endpoints"):
        found.append(_item("endpoint", one["EndpointName"], one["EndpointStatus"]))
    return found


def _all(sagemaker: Any, operation: str, member: str, **asked: Any) -> list[Json]:
    return [one for page in sagemaker.get_paginator(operation).paginate(**asked) for one in page[member]]


def _item(kind: str, name: str, status: str) -> dict[str, str]:
    return {"kind": kind, "name": name, "status": status}
