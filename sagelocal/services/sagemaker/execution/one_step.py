"""One step of an execution: reused from the cache, or tried until it succeeds or its retry policies give up."""

import logging
import sqlite3
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sagelocal.core.context import Context
from sagelocal.core.json import Json
from sagelocal.core.patience import refused
from sagelocal.definition.document import Step
from sagelocal.definition.references import BadReference
from sagelocal.services.sagemaker.execution import cache, events, records, retry
from sagelocal.services.sagemaker.execution.functions import Scope
from sagelocal.services.sagemaker.execution.steps import HANDLERS
from sagelocal.services.sagemaker.execution.steps.base import Result, StepFailed, StepStopped, Task
from sagelocal.services.sagemaker.jobs.job import CUT_OFF_PAUSES

logger = logging.getLogger(__name__)


@dataclass
class OneStep:
    """Runs one step and records every change of its state."""

    context: Context
    execution_arn: str
    pipeline: str
    step: Step
    scope: Scope
    stopping: threading.Event
    task: Task | None = None
    attempt: int = 0  # the last one that was begun

    def run(self) -> Json | None:
        """The step's properties, or None when it failed or was stopped; either is recorded by then.

        Nothing is recorded while the server stops: what was cut off is for the next one to go on with.
        """
        self._begin()
        try:
            keys, result = self._from_cache()
            if result is None:
                result = self._with_retries()
                self._succeed(result, keys)
                self._event("succeeded", result.detail)
        except StepStopped:
            self._end("Stopped")
        except StepFailed as failure:
            self._end("Failed", failure.reason)
        except BadReference as problem:
            self._end("Failed", f"ClientError: {problem}")
        except Exception as problem:
            if self.context.stopping.is_set():
                return None
            logger.exception("step %s of %s failed", self.step.name, self.execution_arn)
            self._end("Failed", f"InternalServerError: {type(problem).__name__}: {problem}")
        else:
            return result.properties
        return None

    def stop(self) -> None:
        """Ask a running step to end soon."""
        task = self.task
        if task:
            with suppress(sqlite3.Error):  # the state only shows for a moment; the step must end, also on a full disk
                records.mark_stopping(self.context.store, self.execution_arn, self.step.name)
            HANDLERS[self.step.type].stop(task)

    def _begin(self) -> None:
        body = {
            "StepName": self.step.name,
            "StepDisplayName": self.step.own.get("DisplayName"),
            "StepDescription": self.step.own.get("Description"),
            "AttemptCount": 1,
            "_Type": self.step.type,
        }
        records.begin_step(self.context, self.execution_arn, body)
        self._event("started")

    def _new_task(self) -> Task:
        task = Task(
            context=self.context,
            step=self.step,
            scope=self.scope,
            execution_id=self.execution_arn.rpartition("/")[2],
            stopping=self.stopping,
            on_started=lambda metadata: self._change(StepStatus="Executing", Metadata=metadata),
            attempt=records.last_attempt(self.context.store, self.execution_arn, self.step.name) + 1,
        )
        handler = HANDLERS[self.step.type]
        task.name = handler.name(task)
        while handler.is_spent(task):
            task.attempt += 1
            task.name = handler.name(task)
        return task

    def _from_cache(self) -> tuple[Json, Result | None]:
        """The step's cache keys, and the earlier result if one can be reused."""
        handler = HANDLERS[self.step.type]
        config = self.step.cache
        if not (config and config.enabled and handler.cache_keys):
            return {}, None
        keys = cache.keys_of(handler.arguments(self._new_task()), handler.cache_keys)
        entry, reason = cache.look_up(self.context, self.pipeline, self.step.name, keys, config)
        if entry is None:
            self._change(_CacheMiss=reason)
            self._event("cache-miss", reason)
            return keys, None
        source, result = entry["ExecutionArn"], Result(entry["Properties"], entry["Metadata"])
        self._succeed(result, {}, CacheHitResult={"SourcePipelineExecutionArn": source})
        self._event("cached", f"reused from {source}")
        return keys, result

    def _with_retries(self) -> Result:
        started = time.monotonic()
        retries: dict[str, int] = {}
        pauses = iter(CUT_OFF_PAUSES)
        while True:
            try:
                return self._attempt()
            except StepFailed as failure:
                policy = retry.policy_for(self.step.retry, failure.exception_type)
                kind = failure.exception_type or ""
                done = retries.get(kind, 0)
                delay = policy.delay(done, time.monotonic() - started) if policy else None
                if failure.cut_off:  # whatever the step's policies say
                    delay = next(pauses, None)
                if delay is None or self.context.stopping.is_set():
                    raise
                if not failure.cut_off:
                    retries[kind] = done + 1
                    records.end_attempt(self.context, self.execution_arn, self.step.name, self.attempt)
                self._event("retry", f"{kind or 'cut off'}, again in {delay:g} s: {failure.reason}")
                if self.stopping.wait(delay):
                    raise StepStopped from None
                self._change(AttemptCount=1 + sum(retries.values()))

    def _attempt(self) -> Result:
        handler = HANDLERS[self.step.type]
        self.task = self._new_task()
        self.attempt = self.task.attempt
        try:
            if self.stopping.is_set():
                raise StepStopped
            return handler.run(self.task, handler.arguments(self.task))
        except (OSError, sqlite3.Error) as problem:
            if not refused(problem):
                raise
            raise StepFailed(f"InternalServerError: {problem}", cut_off=True) from problem
        finally:
            self.task = None

    def _succeed(self, result: Result, keys: Json, **changes: Any) -> None:
        """Every state that another step may build on is on disk before that step can start."""
        changes |= {"Metadata": result.metadata, "_Properties": result.properties}
        entry = self._cache_entry(keys, result) if keys else None

        def keep() -> None:
            if entry:
                cache.keep(self.context, entry)

        records.end_step(self.context, self.execution_arn, self.step.name, "Succeeded", also=keep, **changes)

    def _cache_entry(self, keys: Json, result: Result) -> Json:
        about = {
            "ExecutionArn": self.execution_arn,
            "Properties": result.properties,
            "Metadata": result.metadata,
            "Job": result.job,
        }
        outputs = HANDLERS[self.step.type].outputs(self.context, result.properties)
        return cache.entry(self.context, self.pipeline, self.step.name, keys, about, outputs)

    def _end(self, status: str, reason: str = "") -> None:
        if self.context.stopping.is_set():
            return
        changes: Json = {"FailureReason": reason} if reason else {}
        records.end_step(self.context, self.execution_arn, self.step.name, status, attempt=self.attempt, **changes)
        self._event(status.lower(), reason)

    def _change(self, **changes: object) -> None:
        records.change_step(self.context, self.execution_arn, self.step.name, **changes)

    def _event(self, event: str, detail: str = "") -> None:
        events.emit(self.context, self.execution_arn, self.step.name, event, detail)
