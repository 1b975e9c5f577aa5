"""What is kept of an execution: one document for it, one for its definition, one for each step that has started.

Every change of state is written when it happens, so a killed server loses nothing that had finished; what belongs
together is written together. A disk that refuses is asked again until it takes it.
"""

import time
from collections.abc import Callable
from typing import Any, cast

from sagelocal.core.context import Context
from sagelocal.core.json import Json
from sagelocal.core.patience import patiently
from sagelocal.core.store import Store, amend
from sagelocal.services.sagemaker.documents import DEFINITION, EXECUTION, STEP, Execution, StepRecord
from sagelocal.services.sagemaker.resources import now_after

RUNNING = ("Executing", "Stopping")
UNFINISHED_STEP = ("Starting", "Executing", "Stopping")
STEP_REASON_LENGTH = 1024
LOST = "InternalServerError: Nothing ran the step any more."


def steps(store: Store, execution_arn: str) -> list[StepRecord]:
    """The documents of the steps that have started, in that order."""
    return store.list(STEP, parent=execution_arn)


def begin_step(context: Context, execution_arn: str, body: Json) -> None:
    name = _name(execution_arn, body["StepName"])
    step = cast(StepRecord, {"StepStatus": "Starting", "StartTime": time.time(), **body})
    patiently(context, name, lambda: context.store.put(STEP, name, step))


def change_step(context: Context, execution_arn: str, step: str, **changes: Any) -> None:
    name = _name(execution_arn, step)
    patiently(context, name, lambda: context.store.update(STEP, name, changes))


def mark_stopping(store: Store, execution_arn: str, step: str) -> None:
    """Show that a step is being stopped, unless it is over."""

    def edit(body: StepRecord) -> None:
        if body["StepStatus"] in UNFINISHED_STEP:
            body["StepStatus"] = "Stopping"

    store.change(STEP, _name(execution_arn, step), edit)


def last_attempt(store: Store, execution_arn: str, step: str) -> int:
    """The number of the last attempt at a step whose end is known; 0 before the first."""
    return store.expect(EXECUTION, execution_arn).get("_Attempts", {}).get(step, 0)


def end_attempt(context: Context, execution_arn: str, step: str, attempt: int) -> None:
    """Note that an attempt has failed: whatever comes after it is another one."""
    patiently(context, step, lambda: _note_attempt(context.store, execution_arn, step, attempt))


def end_step(
    context: Context,
    execution_arn: str,
    step: str,
    status: str,
    *,
    attempt: int = 0,
    also: Callable[[], object] = lambda: None,
    **changes: Any,
) -> None:
    """Write a step's last state and, with it or not at all, what `also` writes.

    `attempt`: the one that has failed or was stopped, if any. A failure reason is cut to what the API allows.
    """
    name, store = _name(execution_arn, step), context.store
    if changes.get("FailureReason"):
        changes["FailureReason"] = changes["FailureReason"][:STEP_REASON_LENGTH]

    def edit(body: StepRecord) -> None:
        amend(body, {"StepStatus": status, "EndTime": now_after(body["StartTime"]), **changes})

    def write() -> None:
        with store.transaction():
            store.change(STEP, name, edit)
            if status == "Succeeded" and store.expect(EXECUTION, execution_arn).get("_Resumes"):
                store.update(EXECUTION, execution_arn, {"_Resumes": 0})
            if attempt:
                _note_attempt(store, execution_arn, step, attempt)
            also()

    patiently(context, f"the end of {name}", write)


def drop_unfinished(store: Store, execution_arn: str) -> None:
    """Forget the steps that did not succeed: they are run anew."""
    for step in steps(store, execution_arn):
        if step["StepStatus"] != "Succeeded":
            store.delete(STEP, _name(execution_arn, step["StepName"]))


def end_execution(store: Store, execution_arn: str, status: str, reason: str | None) -> None:
    """Write an execution's last state, and that of steps which nobody ended.

    One that is being stopped ends as Stopped, whatever its steps did.
    """

    def edit(body: Execution) -> None:
        stopped = body["PipelineExecutionStatus"] == "Stopping"
        body["PipelineExecutionStatus"] = "Stopped" if stopped else status
        body["LastModifiedTime"] = now_after(body["CreationTime"])
        if reason and not stopped:
            body["FailureReason"] = reason

    def end_open_step(body: StepRecord) -> None:
        amend(body, {"StepStatus": ended, "EndTime": now_after(body["StartTime"])})
        if ended == "Failed":
            amend(body, {"FailureReason": reason or LOST})

    with store.transaction():
        ended = store.change(EXECUTION, execution_arn, edit)["PipelineExecutionStatus"]
        ended = "Stopped" if ended == "Stopped" else "Failed"
        for step in steps(store, execution_arn):
            if step["StepStatus"] in UNFINISHED_STEP:
                store.change(STEP, _name(execution_arn, step["StepName"]), end_open_step)


def forget(store: Store, execution_arn: str) -> None:
    """Delete an execution with its definition and steps."""
    for step in steps(store, execution_arn):
        store.delete(STEP, _name(execution_arn, step["StepName"]))
    store.delete(DEFINITION, execution_arn)
    store.delete(EXECUTION, execution_arn)


def _note_attempt(store: Store, execution_arn: str, step: str, attempt: int) -> None:
    def edit(body: Execution) -> None:
        body.setdefault("_Attempts", {})[step] = attempt

    store.change(EXECUTION, execution_arn, edit)


def _name(execution_arn: str, step: str) -> str:
    return f"{execution_arn}/{step}"
