"""Workers of Lambda functions: one process per concurrent invocation of a version, kept warm between invocations.

Provisioned workers are started before anybody asks, and replaced when they are lost. How many invocations run at a
time is limited as on AWS: https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html
"""

import json
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from sagelocal.core.context import Context, one_per_server
from sagelocal.core.errors import AwsError
from sagelocal.core.patience import patiently
from sagelocal.services.awslambda.process import INIT_SECONDS, Function, Worker

MAX_WORKERS = 100  # that run at a time, over all functions: the account's concurrency
TAIL_BYTES = 4096  # of the log that Invoke gives back
INIT_FAILED = "FUNCTION_ERROR_INIT_FAILURE"  # AWS's reason for provisioned workers that cannot import their handler


@dataclass(frozen=True)
class Outcome:
    """What an invocation gave: JSON text, whether it is an error's, the end of its log, and which version it was."""

    payload: str
    failed: bool
    log_tail: bytes
    version: str


@dataclass(frozen=True)
class Provisioned:
    """How many workers of a version are ready, and why there are not more, where they cannot start."""

    ready: int
    problem: str = ""


class Pool:
    """All workers of one embedded account."""

    def __init__(self, context: Context):
        self.context = context
        self._idle: dict[Function, list[Worker]] = {}
        self._busy: list[Worker] = []
        self._current: dict[str, str | None] = {}
        self._wanted: dict[Function, int] = {}  # provisioned workers, and those there are: starting, idle or busy
        self._kept: dict[Function, list[Worker]] = {}
        self._problems: dict[Function, str] = {}
        self._lock = threading.RLock()

    def invoke(
        self, function: Function, event: str, request_id: str, arn: str, client_context: object, limit: int | None
    ) -> Outcome:
        """Run one event. `limit`: the function's reserved concurrency. Raises TooManyRequestsException beyond it."""
        worker, init_seconds = self._take(function, limit)
        started = time.monotonic()
        worker.log(f"START RequestId: {request_id} Version: {function.version}")
        usable, rss = True, function.configuration["MemorySize"]
        try:
            answer = worker.run(event, request_id, arn, client_context) if init_seconds >= 0 else None
        except TimeoutError:
            usable, failed = False, True
            worker.stop()
            said = f"Task timed out after {function.configuration['Timeout']:.2f} seconds"
            worker.log(f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime())}Z {request_id} {said}")
            payload = _error_payload("Sandbox.Timedout", f"RequestId: {request_id} Error: {said}")
        else:
            if answer is None:
                usable, failed = False, True
                kind, how = worker.end()
                said = f"RequestId: {request_id} Error: Runtime exited with error: {how}"
                worker.log(f"{said}\n{kind}")
                payload = _error_payload(kind, said)
            else:
                failed, rss = "error" in answer, answer["max_rss_mb"]
                payload = json.dumps(answer["error"], ensure_ascii=False) if failed else answer["result"]
        self._report(worker, request_id, time.monotonic() - started, init_seconds, rss)
        log_tail = "\n".join(worker.lines).encode()[-TAIL_BYTES:]
        self._give_back(worker, usable)
        return Outcome(payload, failed, log_tail, function.version)

    def current(self, name: str, revision: str | None) -> None:
        """From now on $LATEST of a function is that revision (None: the function is gone); workers of others end."""
        with self._lock:
            self._current[name] = revision
            workers = self._remove_idle(lambda function: function.name == name and self._outdated(function))
        _stop(workers)

    def retire(self, name: str, version: str) -> None:
        """A version was deleted: its workers end."""
        with self._lock:
            workers = self._remove_idle(lambda function: (function.name, function.version) == (name, version))
        _stop(workers)

    def provision(self, name: str, wanted: dict[Function, int]) -> None:
        """Keep so many workers of each version of a function ready from now on, and none of its other versions."""
        with self._lock:
            ours = {function for function in (*self._wanted, *self._kept) if function.name == name}
            for function in ours:
                self._wanted.pop(function, None)
                self._problems.pop(function, None)
            self._wanted.update(wanted)
            surplus = [worker for function in ours for worker in self._remove_surplus(function)]
        _stop(surplus)
        for function in wanted:
            self._fill(function)

    def provisioned(self, function: Function) -> Provisioned:
        self._replace_dead(function)
        with self._lock:
            ready = sum(worker.loaded for worker in self._kept.get(function, ()))
            return Provisioned(ready, self._problems.get(function, ""))

    def stop_all(self) -> None:
        with self._lock:
            idle = [worker for workers in self._idle.values() for worker in workers]
            starting = [worker for workers in self._kept.values() for worker in workers if worker not in idle]
            workers = {id(worker): worker for worker in (*idle, *starting, *self._busy)}
            self._idle.clear()
        _stop(list(workers.values()))

    def _take(self, function: Function, limit: int | None) -> tuple[Worker, float]:
        """A worker and the seconds it took to start: 0 for a warm one, negative when it did not start."""
        self._replace_dead(function)
        with self._lock:
            idle = self._idle.setdefault(function, [])
            worker = next((each for each in idle if each.provisioned), None)
            if worker is None:
                self._check_limits(function.name, limit)
                worker = idle[-1] if idle else None
            if worker is None:
                worker = self._new_worker(function)
            else:
                idle.remove(worker)
                worker.lines = []
            self._busy.append(worker)
        if worker.process is not None:
            return worker, 0.0
        started = time.monotonic()
        try:
            patiently(self.context, f"a worker of {function.name}", worker.start, INIT_SECONDS)
        except OSError as problem:
            worker.log(f"INIT_REPORT Status: error: {problem}")
            return worker, -1.0
        return worker, time.monotonic() - started

    def _check_limits(self, name: str, limit: int | None) -> None:
        """What is provisioned is set aside from the reserved number: the rest is for whatever is not."""
        on_demand = sum(worker.function.name == name and not worker.provisioned for worker in self._busy)
        set_aside = sum(
            worker.loaded for function, kept in self._kept.items() if function.name == name for worker in kept
        )
        if limit is not None and on_demand >= limit - set_aside:
            reason = "ReservedFunctionConcurrentInvocationLimitExceeded"
        elif len(self._busy) >= MAX_WORKERS:
            reason = "ConcurrentInvocationLimitExceeded"
        else:
            return
        raise AwsError("TooManyRequestsException", "Rate Exceeded.", 429, {"Reason": reason})

    def _new_worker(self, function: Function, provisioned: bool = False) -> Worker:
        identifier = uuid.uuid4().hex
        stream = f"{time.strftime('%Y/%m/%d', time.gmtime())}/[{function.version}]{identifier}"
        directory = self.context.state_dir / "lambda" / function.name / "workers" / identifier
        context = self.context.as_role(function.configuration["Role"], function.name)
        return Worker(context, function, stream, directory, provisioned)

    def _give_back(self, worker: Worker, usable: bool) -> None:
        with self._lock:
            self._busy.remove(worker)
            usable = usable and not self._outdated(worker.function) and not self.context.stopping.is_set()
            kept = self._kept.get(worker.function, [])
            if worker.provisioned and worker not in kept:
                usable = False
            if usable:
                self._idle.setdefault(worker.function, []).append(worker)
            elif worker in kept:
                kept.remove(worker)
        if not usable:
            worker.stop()
            self._fill(worker.function)

    def _fill(self, function: Function) -> None:
        """Start the provisioned workers that are missing, one after the other, without waiting for them."""
        with self._lock:
            kept = self._kept.setdefault(function, [])
            missing = self._wanted.get(function, 0) - len(kept)
            if missing <= 0 or self.context.stopping.is_set():
                return
            new = [self._new_worker(function, provisioned=True) for _ in range(missing)]
            kept += new
        self.context.spawn(f"provision {function.name}", self._start_provisioned, function, new)

    def _start_provisioned(self, function: Function, workers: list[Worker]) -> None:
        for worker in workers:
            problem = ""
            try:
                worker.start()
                if not worker.loaded:
                    problem = INIT_FAILED
            except OSError as cause:
                problem = str(cause)
            with self._lock:
                kept = self._kept[function]
                usable = worker in kept and not problem and not self.context.stopping.is_set()
                if usable:
                    self._idle.setdefault(function, []).append(worker)
                elif worker in kept:
                    kept.remove(worker)
                if problem:
                    self._problems[function] = problem
            if not usable:
                worker.stop()

    def _replace_dead(self, function: Function) -> None:
        """Forget idle workers whose process ended by itself."""
        with self._lock:
            idle = self._idle.get(function, [])
            dead = [worker for worker in idle if not worker.alive]
            for worker in dead:
                idle.remove(worker)
                if worker.provisioned:
                    self._kept[function].remove(worker)
        if dead:
            _stop(dead)
            self._fill(function)

    def _remove_surplus(self, function: Function) -> list[Worker]:
        """Take off those not wanted any more; the idle ones, to be stopped. Busy ones end when they are done."""
        kept, idle = self._kept.get(function, []), self._idle.get(function, [])
        by_use = sorted(kept, key=lambda worker: worker not in idle)
        surplus = by_use[: max(0, len(kept) - self._wanted.get(function, 0))]
        for worker in surplus:
            kept.remove(worker)
        stopping = [worker for worker in surplus if worker in idle]
        for worker in stopping:
            idle.remove(worker)
        return stopping

    def _remove_idle(self, of: Callable[[Function], bool]) -> list[Worker]:
        functions = [function for function in self._idle if of(function)]
        return [worker for function in functions for worker in self._idle.pop(function)]

    def _outdated(self, function: Function) -> bool:
        revision = self._current.get(function.name, function.revision)
        return revision is None or (function.version == "$LATEST" and revision != function.revision)

    @staticmethod
    def _report(worker: Worker, request_id: str, seconds: float, init_seconds: float, rss: int) -> None:
        milliseconds = seconds * 1000
        init = f"\tInit Duration: {init_seconds * 1000:.2f} ms" if init_seconds > 0 else ""
        worker.log(f"END RequestId: {request_id}")
        worker.log(
            f"REPORT RequestId: {request_id}\tDuration: {milliseconds:.2f} ms"
            f"\tBilled Duration: {int(milliseconds) + 1} ms"
            f"\tMemory Size: {worker.function.configuration['MemorySize']} MB\tMax Memory Used: {rss} MB{init}"
        )


def _stop(workers: list[Worker]) -> None:
    for worker in workers:
        worker.stop()


def _error_payload(kind: str, message: str) -> str:
    return json.dumps({"errorType": kind, "errorMessage": message})


pool = one_per_server(Pool)
