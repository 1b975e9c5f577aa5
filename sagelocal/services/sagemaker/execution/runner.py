"""Runs one execution: starts each step when everything it waits for has succeeded, independent steps side by side.

After a failure nothing new starts and running steps finish (AWS does not document what it does with them).
"""

import queue
from collections import deque
from threading import Event, Lock
from typing import Any

from sagelocal.core.context import Context, one_per_server
from sagelocal.services.sagemaker.documents import Execution
from sagelocal.services.sagemaker.execution import events, graph, records
from sagelocal.services.sagemaker.execution.definition import Definition
from sagelocal.services.sagemaker.execution.functions import Scope, iso_time
from sagelocal.services.sagemaker.execution.one_step import OneStep

DEFAULT_PARALLEL_STEPS = 50
STEP_FAILURE = "Step failure: One or multiple steps failed."


class Run:
    """A running execution. Steps that an earlier run of it finished keep their results."""

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
        self._finished: queue.SimpleQueue[tuple[str, dict[str, Any] | None]] = queue.SimpleQueue()
        self._skipped: set[str] = set()
        self._failed = False

    def start(self) -> None:
        """Run in the background; the execution's document says how it ends."""
        running(self.context)[self.arn] = self
        self.context.spawn(f"execution {self.arn}", self._run)

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
                status, reason = ("Failed", STEP_FAILURE) if self._failed else ("Succeeded", None)
                records.end_execution(self.context.store, self.arn, status, reason)
        except Exception as problem:
            if not self.context.stopping.is_set():
                reason = f"InternalServerError: {type(problem).__name__}: {problem}"
                records.end_execution(self.context.store, self.arn, "Failed", reason)
            raise
        finally:
            if running(self.context).get(self.arn) is self:  # a retry may have begun as soon as the end was written
                del running(self.context)[self.arn]

    def _run_steps(self) -> None:
        for body in records.steps(self.context.store, self.arn):
            self.scope.properties[body["StepName"]] = body["_Properties"]
        waits_for = graph.dependencies(self.definition)
        order = graph.sorter(waits_for)
        ready: deque[str] = deque(order.get_ready())
        while ready or self._active:
            while ready and len(self._active) < self.most_at_once and not self._halted():
                name = ready.popleft()
                if name in self.scope.properties or self._skips(name, waits_for[name]):
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
                self._failed = True
                continue
            self.scope.properties[name] = properties
            order.done(name)
            ready.extend(order.get_ready())

    def _halted(self) -> bool:
        return self._failed or self.stopping.is_set() or self.context.stopping.is_set()

    def _skips(self, name: str, waits_for: frozenset[str]) -> bool:
        """Whether a step is on the branch that its condition did not take, or waits for such a step."""
        branch = self.definition.steps[name].branch
        if branch and branch[0] not in self._skipped and self.scope.properties[branch[0]]["Outcome"] != branch[1]:
            reason = f"condition {branch[0]} was {self.scope.properties[branch[0]]['Outcome']}"
        elif waits_for & self._skipped:
            reason = f"{', '.join(sorted(waits_for & self._skipped))} was skipped"
        else:
            return False
        self._skipped.add(name)
        events.emit(self.context, self.arn, name, "skipped", reason)
        return True

    def _start_step(self, name: str) -> None:
        step = OneStep(self.context, self.arn, self.pipeline, self.definition.steps[name], self.scope, self.stopping)
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


def start(context: Context, execution: Execution, definition: Definition) -> None:
    """Start an execution, or continue one, whose documents are in the store."""
    Run(context, execution, definition).start()


def stop(context: Context, execution_arn: str) -> bool:
    """Stop a running execution; False when it does not run."""
    run = running(context).get(execution_arn)
    if run:
        run.stop()
    return run is not None


def variables(execution_arn: str, pipeline_arn: str, started: float) -> dict[str, str]:
    """The execution variables that stay the same from start to end."""
    return {
        "StartDateTime": iso_time(started),
        "PipelineName": pipeline_arn.rpartition("/")[2],
        "PipelineArn": pipeline_arn,
        "PipelineExecutionId": execution_arn.rpartition("/")[2],
        "PipelineExecutionArn": execution_arn,
    }
