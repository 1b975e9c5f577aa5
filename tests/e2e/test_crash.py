"""The server is killed in the middle of training; a new one goes on where it stopped."""

import os
import signal
from pathlib import Path

import boto3
import pytest

from sagelocal.core import lifecycle
from tests.e2e.commands import pawline_in_background
from tests.waiting import HANG, ended, until

FAST = ["MaxTuningJobs=2", "MaxParallelTuningJobs=2", "AccuracyThreshold=0", "FasterServing=off"]


@pytest.fixture
def state_dir(tmp_path: Path):
    yield tmp_path
    lifecycle.stop(tmp_path)


def steps_of(sagemaker, arn: str) -> dict[str, dict]:
    listed = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
    return {entry["StepName"]: entry for entry in listed}


def job_of(step: dict) -> str:
    (kind,) = step["Metadata"]
    return step["Metadata"][kind]["Arn"]


def sagemaker_of(running: lifecycle.Running):
    return boto3.client("sagemaker", endpoint_url=running.url, region_name="us-east-1")


def wait_until_training(sagemaker) -> tuple[str, dict[str, dict]]:
    """(the newest execution's ARN, its steps) as soon as its training job runs."""

    def newest() -> tuple[str, dict[str, dict]]:
        found = []
        if sagemaker.list_pipelines()["PipelineSummaries"]:
            found = sagemaker.list_pipeline_executions(PipelineName="pawline")["PipelineExecutionSummaries"]
        return (
            (found[0]["PipelineExecutionArn"], steps_of(sagemaker, found[0]["PipelineExecutionArn"]))
            if found
            else ("", {})
        )

    return until(newest, lambda found: found[1].get("Train", {}).get("StepStatus") == "Executing")


def test_a_killed_server_loses_nothing_that_was_finished(state_dir):
    running = lifecycle.ensure(state_dir)
    with_many_epochs = pawline_in_background(state_dir, "run", "--json", *FAST, "Epochs=400")
    arn, before = wait_until_training(sagemaker_of(running))
    os.kill(running.pid, signal.SIGKILL)
    with_many_epochs.wait(HANG)

    running = lifecycle.ensure(state_dir)
    sagemaker = sagemaker_of(running)
    execution = ended(
        lambda: sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn), "PipelineExecutionStatus"
    )
    assert execution["PipelineExecutionStatus"] == "Succeeded"
    after = steps_of(sagemaker, arn)
    for name in ("Prepare", "Embed", "Tune"):
        assert job_of(after[name]) == job_of(before[name]), f"{name} ran again"
    assert job_of(after["Train"]) != job_of(before["Train"])


@pytest.mark.slow
def test_two_runs_that_start_at_the_same_time_share_a_server_and_both_succeed(state_dir):
    first, second = (pawline_in_background(state_dir, "run", *FAST) for _ in range(2))
    assert (first.wait(HANG), second.wait(HANG)) == (0, 0)
    assert (state_dir / "server.log").read_text().count("sagelocal at") == 1
