"""Runs one execution: starts each step when everything it waits for has succeeded, independent steps side by side.

After a failure nothing new starts and running steps finish (AWS does not document what it does with them).
"""

import queue
from collections import deque
from threading import Event, Lock

from sagelocal.core.context import Context, one_per_server
from sagelocal.core.json import Json
from sagelocal.core.patience import patiently
from sagelocal.definition import graph
from sagelocal.definition.document import Definition
from sagelocal.services.sagemaker.documents import Execution
from sagelocal.services.sagemaker.execution import events, records
from sagelocal.services.sagemaker.execution.functions import Scope, iso_time
from sagelocal.services.sagemaker.execution.one_step import OneStep

DEFAULT_PARALLEL_STEPS = 50
STEP_FAILURE = "Step failure: One or multiple steps failed."


class Run:
    """A running execution, whose documents are in the store. Steps that an earlier run finished keep their results."""

    def __init__(self, context: Context, execution: Execution, definition: Definition):
        context = context.as_role(execution["RoleArn"])
        self.context = context
        self.definition = definition
        self.arn: str = execution["PipelineExecutionArn"]
        self.pipeline: str = execution["PipelineArn"].rpartition("/")[2]
        limits = execution.get("ParallelismConfiguration")
        self.most_at_once = limits["MaxParallelExecutionSteps"] if limits else DEFAULT_PARALLEL_STEPS
        self.scope = Scope(context, definition, execution["_Parameters"], execution["_Variables"])
        self.stopping = Event()
        self._active: dict[str, OneStep] = {}
        self._lock = Lock()
        self._finished: queue.SimpleQueue[tuple[str, Json | None]] = queue.SimpleQueue()
        self._skipped: dict[str, str] = {}  # step → why it is on a way that is not taken
        self._failed = ""  # the reason of an execution that failed

    def start(self) -> None:
        """Run in the background; the execution's document says how it ends."""
        running(self.context)[self.arn] = self
        try:
            self.context.spawn(f"execution {self.arn}", self._run)
        except BaseException:  # there is no thread for it: it is nobody's, and the supervisor goes on with it
            del running(self.context)[self.arn]
            raise

    def stop(self) -> None:
        """Start nothing new and stop the running jobs. Returns at once."""
        with self._lock:
            self.stopping.set()
            active = list(self._active.values())
        for step in active:
            step.stop()

    def _run(self) -> None:
        try:
            self._run_steps()
            if not self.context.stopping.is_set():
                self._end("Failed" if self._failed else "Succeeded", self._failed or None)
        except Exception as problem:
            if not self.context.stopping.is_set():
                self._end("Failed", f"InternalServerError: {type(problem).__name__}: {problem}")
            raise
        finally:
            if running(self.context).get(self.arn) is self:  # a retry may have begun as soon as the end was written
                del running(self.context)[self.arn]

    def _end(self, status: str, reason: str | None) -> None:
        store = self.context.store
        patiently(
            self.context, f"the end of {self.arn}", lambda: records.end_execution(store, self.arn, status, reason)
        )

    def _run_steps(self) -> None:
        for body in patiently(self.context, self.arn, lambda: records.steps(self.context.store, self.arn)):
            self.scope.properties[body["StepName"]] = body["_Properties"]
        waits_for = graph.waits_for(self.definition)
        order = graph.sorter(waits_for)
        ready: deque[str] = deque(order.get_ready())
        while ready or self._active:
            while ready and len(self._active) < self.most_at_once and not self._halted():
                name = ready.popleft()
                if self._is_settled(name, waits_for[name]):
                    order.done(name)
                    ready.extend(order.get_ready())
                else:
                    self._start_step(name)
            if not self._active:
                return
            name, properties = self._finished.get()
            with self._lock:
                del self._active[name]
            if properties is None:
                self._failed = STEP_FAILURE
                continue
            self.scope.properties[name] = properties
            order.done(name)
            ready.extend(order.get_ready())

    def _halted(self) -> bool:
        return bool(self._failed) or self.stopping.is_set() or self.context.stopping.is_set()

    def _is_settled(self, name: str, waits_for: frozenset[str]) -> bool:
        """Whether there is nothing to run: the step has succeeded, is skipped, or is abandoned."""
        return name in self.scope.properties or self._skips(name, waits_for) or self._abandons(name)

    def _skips(self, name: str, waits_for: frozenset[str]) -> bool:
        """Whether a step is on the branch that its condition did not take, or comes after such a step."""
        step = self.definition.by_name[name]
        holder, outcome = step.branch or ("", "")
        after = waits_for & set(self._skipped) - graph.read_from(step)
        if holder and holder not in self._skipped and self.scope.properties[holder]["Outcome"] != outcome:
            self._skipped[name] = f"condition {holder} was {self.scope.properties[holder]['Outcome']}"
        elif after:
            self._skipped[name] = f"{', '.join(sorted(after))} was skipped"
        else:
            return False
        events.emit(self.context, self.arn, name, "skipped", self._skipped[name])
        return True

    def _abandons(self, name: str) -> bool:
        """Whether a step that should run reads what a skipped step would have given. That fails the execution."""
        gone = sorted(graph.read_from(self.definition.by_name[name]) & set(self._skipped))
        if not gone:
            return False
        reason = f"Step {name} cannot run: it reads step {gone[0]}, which was skipped ({self._skipped[gone[0]]})."
        begin = {"StepName": name, "AttemptCount": 0, "_Type": self.definition.by_name[name].type}
        records.begin_step(self.context, self.arn, begin)
        records.end_step(self.context, self.arn, name, "Failed", FailureReason=reason)
        events.emit(self.context, self.arn, name, "abandoned", reason)
        self._failed = reason
        return True

    def _start_step(self, name: str) -> None:
        step = OneStep(self.context, self.arn, self.pipeline, self.definition.by_name[name], self.scope, self.stopping)
        with self._lock:
            self._active[name] = step

        def run() -> None:
            properties = None
            try:
                properties = step.run()
            finally:
                self._finished.put((name, properties))

        self.context.spawn(f"step {name} of {self.arn}", run)


@one_per_server
def running(_: Context) -> dict[str, Run]:
    """The executions that run, by ARN."""
    return {}


def variables(execution_arn: str, pipeline_arn: str, started: float) -> dict[str, str]:
    """The execution variables that stay the same from start to end."""
    return {
        "StartDateTime": iso_time(started),
        "PipelineName": pipeline_arn.rpartition("/")[2],
        "PipelineArn": pipeline_arn,
        "PipelineExecutionId": execution_arn.rpartition("/")[2],
        "PipelineExecutionArn": execution_arn,
    }
