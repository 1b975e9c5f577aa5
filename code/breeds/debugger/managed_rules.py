"""The verdict of rules that SageMaker evaluates itself, asked of DescribeTrainingJob until it stands.

The only module here that needs boto3, which AWS's training images have; nothing imports it unless rules are managed.
"""

import os
import time
from collections.abc import Sequence
from typing import Any

FINAL = ("NoIssuesFound", "IssuesFound", "Error", "Stopped")
PATIENCE_SECONDS = 3000.0  # of the 3600 that the step has: what is not final then is an Error, and a report of it
LONGEST_PAUSE = 15.0


def wait(job: str, names: Sequence[str], patience: float = PATIENCE_SECONDS) -> dict[str, tuple[str, str]]:
    """(RuleEvaluationStatus, StatusDetails) of each of the rules `names` of a training job, by rule.

    Waits until all are final, `patience` seconds at most. One that is missing or not final is an Error, and so are all
    when DescribeTrainingJob does not answer: never NoIssuesFound.
    """
    try:
        statuses = _poll(job, names, time.monotonic() + patience)
    except ImportError:
        return dict.fromkeys(names, ("Error", "boto3 is not installed: managed rules cannot be asked for."))
    except Exception as error:  # botocore's errors have no common base that could be named without importing it
        return dict.fromkeys(names, ("Error", f"DescribeTrainingJob {job}: {error}"))
    return {name: _outcome(job, name, statuses.get(name)) for name in names}


def _poll(job: str, names: Sequence[str], deadline: float) -> dict[str, dict[str, Any]]:
    """The last statuses by rule: their order in the answer is not promised."""
    import boto3

    # SageMaker tells its containers the region as AWS_REGION, of which boto3 does not know.
    sagemaker, pause = boto3.client("sagemaker", region_name=os.environ.get("AWS_REGION")), 0.5
    while True:
        answer = sagemaker.describe_training_job(TrainingJobName=job)
        statuses = {s["RuleConfigurationName"]: s for s in answer.get("DebugRuleEvaluationStatuses", [])}
        running = [n for n in names if n in statuses and statuses[n].get("RuleEvaluationStatus") not in FINAL]
        if not running or time.monotonic() + pause > deadline:
            return statuses
        print(f"waiting for SageMaker's verdict on {', '.join(running)}", flush=True)
        time.sleep(pause)
        pause = min(LONGEST_PAUSE, 1.5 * pause)


def _outcome(job: str, name: str, status: dict[str, Any] | None) -> tuple[str, str]:
    if status is None:
        return "Error", f"SageMaker has no verdict of {name} on {job}: does this account have Debugger?"
    state, details = status.get("RuleEvaluationStatus", "missing"), status.get("StatusDetails", "").strip()
    return (state, details) if state in FINAL else ("Error", f"SageMaker had not finished: {state}. {details}".strip())
