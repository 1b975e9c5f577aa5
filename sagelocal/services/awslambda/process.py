"""One process of a Lambda function: started with its handler imported, then given one event at a time."""

import json
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sagelocal.core.context import Context
from sagelocal.core.json import Json
from sagelocal.runtime import outputs, service_calls
from sagelocal.runtime.launch import ProcessSpec
from sagelocal.runtime.process import Process, base_environment, start
from sagelocal.services.awslambda import worker
from sagelocal.services.awslambda.documents import Configuration

INIT_SECONDS = 30.0  # AWS gives 10, on a machine that does nothing else
MARK_SECONDS = 1.0  # how long the last output may take to arrive after the answer
GRACE_SECONDS = 0.5
SIGNALS = {9: "killed", 11: "segmentation fault", 6: "aborted"}  # as AWS says it


@dataclass(frozen=True)
class Function:
    """One version of a function, as it is run. Two that are equal share workers: a change makes another revision."""

    name: str
    version: str
    revision: str
    configuration: Configuration = field(compare=False, repr=False)

    @staticmethod
    def of(configuration: Configuration) -> "Function":
        """The version that a configuration describes."""
        names = (configuration["FunctionName"], configuration["Version"], configuration["RevisionId"])
        return Function(*names, configuration)

    @property
    def log_group(self) -> str:
        return f"/aws/lambda/{self.name}"


@dataclass(eq=False)
class Worker:
    """A process that runs one event at a time. `provisioned`: kept ready, also while nobody asks."""

    context: Context
    function: Function
    stream: str
    directory: Path
    provisioned: bool = False
    process: Process | None = None
    loaded: bool = False  # whether it has a handler; without one it answers why in place of each result
    lines: list[str] = field(default_factory=list)  # of the running invocation
    _write: Callable[[str], None] = field(init=False)
    _mark: str = ""
    _marked: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._write = service_calls.log_writer(self.context, self.function.log_group, self.stream)

    def start(self) -> None:
        """Start the process and wait until the handler is imported. Raises OSError when it does not come up."""
        self._connection, theirs = socket.socketpair()
        with theirs:
            self.process = start(self.context, self._spec(theirs.fileno()))
        self._channel = self._connection.makefile("rw", encoding="utf-8", newline="\n")
        self._connection.settimeout(INIT_SECONDS)
        try:
            line = self._channel.readline()
        except (ConnectionError, TimeoutError):
            line = ""
        if not line:
            raise OSError(f"the process did not start (exit code {self.process.poll()})")
        self.loaded = json.loads(line)["ready"]

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def run(self, event: str, request_id: str, arn: str, client_context: object) -> Json | None:
        """The answer to one event; None when the process ended. Raises TimeoutError; the worker is lost then."""
        self._mark, self._marked = f"\0{uuid.uuid4().hex}", threading.Event()
        timeout = self.function.configuration["Timeout"]
        deadline = time.time() + timeout
        call = {"event": event, "request_id": request_id, "arn": arn, "client_context": client_context}
        self._connection.settimeout(timeout)
        try:
            self._channel.write(json.dumps(call | {"mark": self._mark, "deadline_ms": deadline * 1000}) + "\n")
            self._channel.flush()
            line = self._channel.readline()
        except ConnectionError:
            line = ""
        if not line:
            return None
        self._marked.wait(MARK_SECONDS)
        outcome: Json = json.loads(line)
        return outcome

    def log(self, line: str) -> None:
        self.lines.append(line)
        self._write(line)

    def stop(self) -> int | None:
        """End the process; its exit code, None where it had not started."""
        code = self.process.terminate(GRACE_SECONDS) if self.process else None
        connection = getattr(self, "_connection", None)
        if connection is not None:
            connection.close()
        outputs.remove(self.directory)
        return code

    def end(self) -> tuple[str, str]:
        """End a process that answers no more: AWS's name for how it ended, and AWS's words for that."""
        code = self.stop()
        if self.process is not None and self.process.out_of_memory:
            return "Runtime.OutOfMemory", "signal: killed"
        return (
            "Runtime.ExitError",
            f"signal: {SIGNALS.get(-code, -code)}" if code and code < 0 else f"exit status {code}",
        )

    def _on_line(self, line: str) -> None:
        if self._mark and line.endswith(self._mark):
            if line != self._mark:
                self.log(line.removesuffix(self._mark))
            self._marked.set()
        else:
            self.log(line)

    def _spec(self, channel: int) -> ProcessSpec:
        function, configuration = self.function, self.function.configuration
        code, variables = configuration["_Code"], (configuration.get("Environment") or {}).get("Variables") or {}
        own = {
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_VERSION": function.version,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(configuration["MemorySize"]),
            "AWS_LAMBDA_LOG_GROUP_NAME": function.log_group,
            "AWS_LAMBDA_LOG_STREAM_NAME": self.stream,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "provisioned-concurrency" if self.provisioned else "on-demand",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{configuration['Runtime']}",
            "LAMBDA_TASK_ROOT": code,
            "LAMBDA_RUNTIME_DIR": str(Path(worker.__file__).parent),
            "TZ": ":UTC",
            "_HANDLER": configuration["Handler"],
        }
        return ProcessSpec(
            argv=["python3", worker.__file__],
            env=base_environment(self.context, self.directory) | variables | own,
            on_line=self._on_line,
            cwd=code,
            workdir=self.directory,
            shown=(Path(code),),
            memory=configuration["MemorySize"] << 20,
            stdin=channel,
        )
