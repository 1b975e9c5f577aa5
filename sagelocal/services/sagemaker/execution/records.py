"""What is kept of an execution: one document for it, one for its definition, one for each step that has started.

Every change of state is written when it happens, so a killed server loses nothing that had finished.
"""

import time
from typing import Any, cast

from sagelocal.core.context import Context
from sagelocal.core.json import Json
from sagelocal.core.store import Store
from sagelocal.services.sagemaker.documents import DEFINITION, EXECUTION, STEP, Execution, StepRecord

RUNNING = ("Executing", "Stopping")
UNFINISHED_STEP = ("Starting", "Executing", "Stopping")
STEP_REASON_LENGTH = 1024
INTERRUPTED = "The embedded SageMaker stopped while the execution ran. RetryPipelineExecution continues it."


def steps(store: Store, execution_arn: str) -> list[StepRecord]:
    """The documents of the steps that have started, in that order."""
    return store.list(STEP, parent=execution_arn)


def begin_step(store: Store, execution_arn: str, body: Json) -> None:
    step = cast(StepRecord, {"StepStatus": "Starting", "StartTime": time.time(), **body})
    store.put(STEP, _name(execution_arn, body["StepName"]), step)


def change_step(store: Store, execution_arn: str, step: str, **changes: Any) -> None:
    store.update(STEP, _name(execution_arn, step), changes)


def mark_stopping(store: Store, execution_arn: str, step: str) -> None:
    """Show that a step is being stopped, unless it is over."""

    def edit(body: StepRecord) -> None:
        if body["StepStatus"] in UNFINISHED_STEP:
            body["StepStatus"] = "Stopping"

    store.change(STEP, _name(execution_arn, step), edit)


def end_step(store: Store, execution_arn: str, step: str, status: str, **changes: Any) -> None:
    """Write a step's last state; a failure reason is cut to what the API allows."""
    if changes.get("FailureReason"):
        changes["FailureReason"] = changes["FailureReason"][:STEP_REASON_LENGTH]
    store.update(STEP, _name(execution_arn, step), {"StepStatus": status, "EndTime": time.time(), **changes})


def drop_unfinished(store: Store, execution_arn: str) -> None:
    """Forget the steps that did not succeed: a retry runs them anew."""
    for step in steps(store, execution_arn):
        if step["StepStatus"] != "Succeeded":
            store.delete(STEP, _name(execution_arn, step["StepName"]))


def end_execution(store: Store, execution_arn: str, status: str, reason: str | None) -> None:
    """Write an execution's last state. One that is being stopped ends as Stopped, whatever its steps did."""

    def edit(body: Execution) -> None:
        stopped = body["PipelineExecutionStatus"] == "Stopping"
        body["PipelineExecutionStatus"] = "Stopped" if stopped else status
        body["LastModifiedTime"] = time.time()
        if reason and not stopped:
            body["FailureReason"] = reason

    store.change(EXECUTION, execution_arn, edit)


def forget(store: Store, execution_arn: str) -> None:
    """Delete an execution with its definition and steps."""
    for step in steps(store, execution_arn):
        store.delete(STEP, _name(execution_arn, step["StepName"]))
    store.delete(DEFINITION, execution_arn)
    store.delete(EXECUTION, execution_arn)


def mark_interrupted(context: Context) -> None:
    """Fail what an earlier server left running."""
    for execution in context.store.list(EXECUTION, status=RUNNING):
        arn = execution["PipelineExecutionArn"]
        for step in steps(context.store, arn):
            if step["StepStatus"] in UNFINISHED_STEP:
                end_step(context.store, arn, step["StepName"], "Failed", FailureReason=INTERRUPTED)
        end_execution(context.store, arn, "Failed", INTERRUPTED)


def _name(execution_arn: str, step: str) -> str:
    return f"{execution_arn}/{step}"
