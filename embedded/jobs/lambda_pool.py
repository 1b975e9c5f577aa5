"""Workers of Lambda functions: one process per concurrent invocation of a version, kept warm between invocations."""

import json
import shutil
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from embedded.context import Context
from embedded.errors import AwsError
from embedded.iam import service_calls
from embedded.jobs import lambda_worker
from embedded.jobs.process import Process, ProcessSpec, base_environment, start

INIT_SECONDS = 30.0  # AWS gives 10, on a machine that does nothing else
MARK_SECONDS = 1.0  # how long the last output may take to arrive after the answer
GRACE_SECONDS = 0.5
MAX_WORKERS = 100
TAIL_BYTES = 4096  # of the log that Invoke gives back


@dataclass(frozen=True, kw_only=True)
class Function:
    """One version of a function, as it is run. Two that are equal share workers."""

    name: str
    version: str
    handler: str
    runtime: str
    code: Path
    role: str
    timeout: int  # seconds
    memory: int  # MiB
    environment: tuple[tuple[str, str], ...]
    revision: str

    @property
    def log_group(self) -> str:
        return f"/aws/lambda/{self.name}"


@dataclass(frozen=True)
class Outcome:
    """What an invocation gave: JSON text, whether it is an error's, and the end of its log."""

    payload: str
    failed: bool
    log_tail: bytes


@dataclass(eq=False)
class Worker:
    """A process that runs one event at a time."""

    context: Context
    function: Function
    stream: str
    directory: Path
    process: Process = field(init=False)
    lines: list[str] = field(default_factory=list)  # of the running invocation
    _write: Callable[[str], None] = field(init=False)
    _mark: str = ""
    _marked: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._write = service_calls.log_writer(self.context, self.function.log_group, self.stream)

    def start(self) -> None:
        """Start the process and wait until the handler is imported. Raises OSError when it does not come up."""
        with tempfile.TemporaryDirectory(prefix="lambda-") as folder, socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{folder}/socket")
            listener.listen(1)
            self.process = start(self.context, self._spec(f"{folder}/socket"))
            self._connection = self._accept(listener)
        self._channel = self._connection.makefile("rw", encoding="utf-8", newline="\n")
        self._connection.settimeout(INIT_SECONDS)
        if not self._channel.readline():
            raise OSError("the process ended while it imported the handler")

    def run(self, event: str, request_id: str, arn: str, client_context: object) -> dict | None:
        """The answer to one event; None when the process ended. Raises TimeoutError; the worker is lost then."""
        self._mark, self._marked = f"\0{uuid.uuid4().hex}", threading.Event()
        deadline = time.time() + self.function.timeout
        call = {"event": event, "request_id": request_id, "arn": arn, "client_context": client_context}
        self._connection.settimeout(self.function.timeout)
        try:
            self._channel.write(json.dumps(call | {"mark": self._mark, "deadline_ms": deadline * 1000}) + "\n")
            self._channel.flush()
            line = self._channel.readline()
        except ConnectionError:
            line = ""
        if not line:
            return None
        self._marked.wait(MARK_SECONDS)
        return json.loads(line)

    def log(self, line: str) -> None:
        self.lines.append(line)
        self._write(line)

    def stop(self) -> None:
        self.process.terminate(GRACE_SECONDS)
        connection = getattr(self, "_connection", None)
        if connection is not None:
            connection.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _on_line(self, line: str) -> None:
        if self._mark and line.endswith(self._mark):
            if line != self._mark:
                self.log(line.removesuffix(self._mark))
            self._marked.set()
        else:
            self.log(line)

    def _accept(self, listener: socket.socket) -> socket.socket:
        listener.settimeout(0.05)
        deadline = time.monotonic() + INIT_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                return listener.accept()[0]
            except TimeoutError:
                continue
        raise OSError(f"the process did not start (exit code {self.process.poll()})")

    def _spec(self, address: str) -> ProcessSpec:
        function = self.function
        own = {
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_VERSION": function.version,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
            "AWS_LAMBDA_LOG_GROUP_NAME": function.log_group,
            "AWS_LAMBDA_LOG_STREAM_NAME": self.stream,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.runtime}",
            "LAMBDA_TASK_ROOT": str(function.code),
            "LAMBDA_RUNTIME_DIR": str(Path(lambda_worker.__file__).parent),
            "TZ": ":UTC",
            "_HANDLER": function.handler,
        }
        return ProcessSpec(
            argv=["python3", lambda_worker.__file__, address],
            env=base_environment(self.context, self.directory) | dict(function.environment) | own,
            on_line=self._on_line,
            cwd=str(function.code),
        )


class Pool:
    """All workers of one embedded account."""

    def __init__(self, context: Context):
        self.context = context
        self._idle: dict[Function, list[Worker]] = {}
        self._busy: list[Worker] = []
        self._current: dict[str, str | None] = {}
        self._lock = threading.Lock()

    def invoke(
        self, function: Function, event: str, request_id: str, arn: str, client_context: object, limit: int | None
    ) -> Outcome:
        """Run one event. `limit`: the function's reserved concurrency. Raises TooManyRequestsException beyond it."""
        worker, init_seconds = self._take(function, limit)
        started = time.monotonic()
        worker.log(f"START RequestId: {request_id} Version: {function.version}")
        usable, rss = True, function.memory
        try:
            answer = worker.run(event, request_id, arn, client_context) if init_seconds >= 0 else None
        except TimeoutError:
            usable, failed = False, True
            worker.stop()
            said = f"Task timed out after {function.timeout:.2f} seconds"
            worker.log(f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime())}Z {request_id} {said}")
            payload = _error_payload("Sandbox.Timedout", f"RequestId: {request_id} Error: {said}")
        else:
            if answer is None:
                usable, failed = False, True
                code = worker.process.terminate(GRACE_SECONDS)
                said = f"RequestId: {request_id} Error: Runtime exited with error: exit status {code}"
                worker.log(said + "\nRuntime.ExitError")
                payload = _error_payload("Runtime.ExitError", said)
            else:
                failed, rss = "error" in answer, answer["max_rss_mb"]
                payload = json.dumps(answer["error"], ensure_ascii=False) if failed else answer["result"]
        self._report(worker, request_id, time.monotonic() - started, init_seconds, rss)
        log_tail = "\n".join(worker.lines).encode()[-TAIL_BYTES:]
        self._give_back(worker, usable)
        return Outcome(payload, failed, log_tail)

    def current(self, name: str, revision: str | None) -> None:
        """From now on $LATEST of a function is that revision (None: the function is gone); workers of others end."""
        with self._lock:
            self._current[name] = revision
            old = [function for function in self._idle if function.name == name and self._outdated(function)]
            workers = [worker for function in old for worker in self._idle.pop(function)]
        for worker in workers:
            worker.stop()

    def _outdated(self, function: Function) -> bool:
        revision = self._current.get(function.name, function.revision)
        return revision is None or (function.version == "$LATEST" and revision != function.revision)

    def stop_all(self) -> None:
        with self._lock:
            workers = [worker for idle in self._idle.values() for worker in idle] + self._busy
            self._idle.clear()
        for worker in workers:
            worker.stop()

    def _take(self, function: Function, limit: int | None) -> tuple[Worker, float]:
        """A worker and the seconds it took to start: 0 for a warm one, negative when it did not start."""
        with self._lock:
            running = sum(worker.function.name == function.name for worker in self._busy)
            if limit is not None and running >= limit:
                members = {"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded"}
                raise AwsError("TooManyRequestsException", "Rate Exceeded.", 429, members)
            if len(self._busy) >= MAX_WORKERS:
                members = {"Reason": "ConcurrentInvocationLimitExceeded"}
                raise AwsError("TooManyRequestsException", "Rate Exceeded.", 429, members)
            idle = self._idle.get(function)
            if idle:
                worker = idle.pop()
                worker.lines = []
            else:
                worker = self._new_worker(function)
            self._busy.append(worker)
        if hasattr(worker, "process"):
            return worker, 0.0
        started = time.monotonic()
        try:
            worker.start()
        except OSError as problem:
            worker.log(f"INIT_REPORT Status: error: {problem}")
            return worker, -1.0
        return worker, time.monotonic() - started

    def _new_worker(self, function: Function) -> Worker:
        identifier = uuid.uuid4().hex
        stream = f"{time.strftime('%Y/%m/%d', time.gmtime())}/[{function.version}]{identifier}"
        directory = self.context.state_dir / "lambda" / function.name / "workers" / identifier
        return Worker(self.context.as_role(function.role, function.name), function, stream, directory)

    def _give_back(self, worker: Worker, usable: bool) -> None:
        with self._lock:
            self._busy.remove(worker)
            usable = usable and not self._outdated(worker.function) and not self.context.stopping.is_set()
            if usable:
                self._idle.setdefault(worker.function, []).append(worker)
        if not usable:
            worker.stop()

    @staticmethod
    def _report(worker: Worker, request_id: str, seconds: float, init_seconds: float, rss: int) -> None:
        milliseconds = seconds * 1000
        init = f"\tInit Duration: {init_seconds * 1000:.2f} ms" if init_seconds > 0 else ""
        worker.log(f"END RequestId: {request_id}")
        worker.log(
            f"REPORT RequestId: {request_id}\tDuration: {milliseconds:.2f} ms"
            f"\tBilled Duration: {int(milliseconds) + 1} ms"
            f"\tMemory Size: {worker.function.memory} MB\tMax Memory Used: {rss} MB{init}"
        )


def _error_payload(kind: str, message: str) -> str:
    return json.dumps({"errorType": kind, "errorMessage": message})


_pools: dict[str, Pool] = {}


def pool(context: Context) -> Pool:
    """The pool of an account: one per state directory."""
    return _pools.setdefault(str(context.state_dir), Pool(context.as_service()))
