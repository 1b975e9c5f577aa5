"""What every handler has in common, and the handler of the steps that run a job."""

import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.core.patience import patiently
from sagelocal.core.store import Kind
from sagelocal.definition.document import Step
from sagelocal.services.sagemaker.execution import identity, retry
from sagelocal.services.sagemaker.execution.functions import Scope

NAME_LENGTH = 63


class StepFailed(Exception):
    """A step did not succeed; `exception_type` is what a retry policy would call it.

    `cut_off`: by no fault of its own, but by the server's end or the disk's. That does not count as an attempt.
    """

    def __init__(self, reason: str, exception_type: str | None = None, *, cut_off: bool = False):
        super().__init__(reason)
        self.reason = reason
        self.exception_type = exception_type
        self.cut_off = cut_off


class StepStopped(Exception):
    """A step ended because the execution is being stopped."""


@dataclass(frozen=True)
class Result:
    """A successful step; `metadata` is for the step list, `job` is (kind, name) in the store, `detail` is to read."""

    properties: Json
    metadata: Json
    job: tuple[str, str] | None = None
    detail: str = ""


@dataclass
class Task:
    """One attempt at one step."""

    context: Context
    step: Step
    scope: Scope
    execution_id: str
    stopping: threading.Event
    on_started: Callable[[Json], None]
    attempt: int = 1
    name: str = ""

    @property
    def mark(self) -> str:
        """Ten letters and digits that this attempt alone has, after a restart too."""
        return identity.mark(self.execution_id, self.step.name, self.attempt)

    def call(self, operation: str, **request: Any) -> Json:
        """Call SageMaker for the step. Raises StepFailed, in the service's own words, when the call is refused."""
        try:
            return self.context.call("sagemaker", operation, **request)
        except AwsError as error:
            reason = f"ClientError: Failed to invoke sagemaker:{operation}. Error Details: {error.message}"
            raise StepFailed(reason, retry.type_of_error(error)) from error


class Handler(ABC):
    """Runs the steps of one type. `cache_keys`: dotted argument names that decide on reuse; none: never cached."""

    cache_keys: Sequence[str] = ()

    def arguments(self, task: Task) -> Json:
        """The step's arguments with every expression resolved. Raises BadReference."""
        resolved: Json = task.scope.resolve(task.step.arguments, task.name)
        return resolved

    def name(self, task: Task) -> str:
        """The name of what the attempt creates, if it creates something."""
        return ""

    def is_spent(self, task: Task) -> bool:
        """Whether an earlier server began the attempt and cut it off, so that it cannot go on with this name."""
        return False

    @abstractmethod
    def run(self, task: Task, arguments: Json) -> Result:
        """Raises StepFailed or StepStopped."""

    def stop(self, task: Task) -> None:
        """Make a running `run` end soon; the default lets it finish."""
        return

    def outputs(self, context: Context, properties: Json) -> list[str]:
        """S3 URIs without which a cached result is worth nothing."""
        return []


class JobHandler(Handler):
    """Creates a job under a name that the service makes, waits for its end, and describes it.

    A job of that name which is there already is the attempt's own: a server that has ended since created it.

    `job` is the word in the operations Create<job>, Describe<job>, Stop<job> and the members <job>Name, <job>Arn,
    <job>Status; `kind` is that of its document in the store.
    """

    job: str
    kind: Kind[Any]
    metadata_name: str

    def name(self, task: Task) -> str:
        return job_name(task, task.step.arguments.get(f"{self.job}Name"))

    def is_spent(self, task: Task) -> bool:
        job = task.context.store.get(self.kind, task.name)
        return job is not None and (bool(job.get("_CutOff")) or job[f"{self.job}Status"] == "Stopped")

    def run(self, task: Task, arguments: Json) -> Result:
        arn = self.begin(task, arguments)
        metadata = {self.metadata_name: {"Arn": arn}}
        task.on_started(metadata)
        if task.stopping.is_set():
            self.stop(task)
        status = self._wait(task)
        properties = self.describe(task)
        if status == "Completed":
            return Result(properties, metadata, (self.kind, task.name))
        if status == "Stopped" and task.stopping.is_set():
            raise StepStopped
        raise self._failure(task, status, properties)

    def begin(self, task: Task, arguments: Json) -> str:
        """The ARN of the attempt's job."""
        request = {**arguments, f"{self.job}Name": task.name}
        there = task.context.store.get(self.kind, task.name)
        return str((there or task.call(f"Create{self.job}", **request))[f"{self.job}Arn"])

    def stop(self, task: Task) -> None:
        try:
            task.call(f"Stop{self.job}", **{f"{self.job}Name": task.name})
        except StepFailed:
            return  # not created yet, or over already: either way there is nothing to stop

    def describe(self, task: Task) -> Json:
        """The properties of the finished step."""
        return task.call(f"Describe{self.job}", **{f"{self.job}Name": task.name})

    def _wait(self, task: Task) -> str:
        status, ended = f"{self.job}Status", ("Completed", "Failed", "Stopped")
        try:
            body = patiently(
                task.context,
                f"the end of {task.name}",
                lambda: task.context.store.wait(self.kind, task.name, lambda job: job[status] in ended),
            )
        except KeyError:
            raise StepFailed(f"ClientError: {self.job} {task.name} was deleted while the step waited for it.") from None
        return str(body[status])

    def _failure(self, task: Task, status: str, properties: Json) -> StepFailed:
        reason = properties.get("FailureReason") or f"{self.job} {task.name} ended as {status}"
        said = properties.get("ExitMessage", "")
        if said and said not in reason:
            reason = f"{reason}: {said}"
        job = task.context.store.get(self.kind, task.name) or {}
        return StepFailed(f"ClientError: {reason}", retry.type_of_failure(reason), cut_off=bool(job.get("_CutOff")))


def job_name(task: Task, prefix: str | None = None) -> str:
    """`pipelines-<execution id>-<step>-<mark>`, at most 63 long; with a prefix from the arguments,
    `<prefix>-<execution id>-<mark>`."""
    tail = f"-{task.mark}"
    if isinstance(prefix, str):
        tail = f"-{task.execution_id}{tail}"
        return f"{plain(prefix[: NAME_LENGTH - len(tail)])}{tail}"
    return f"{plain(f'pipelines-{task.execution_id}-{task.step.name}'[: NAME_LENGTH - len(tail)])}{tail}"


def plain(text: str) -> str:
    """`text` with what job names do not allow turned into hyphens."""
    return re.sub(r"[^a-zA-Z0-9]+", "-", text).strip("-")
