"""One instance of an endpoint: a served process with the container's contract.

The container answers GET /ping with 200 when it is ready and POST /invocations with predictions; the model's files are
at /opt/ml/model, read-only; SAGEMAKER_BIND_TO_PORT says where to listen.
Source: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
"""

import http.client
import select
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.runtime import data, images, outputs, service_calls
from sagelocal.runtime.cluster import JobFailed
from sagelocal.runtime.launch import NotStarted, ProcessSpec
from sagelocal.runtime.literals import CannotRun
from sagelocal.runtime.process import Process, base_environment, free_port, start
from sagelocal.services.logs import streams
from sagelocal.services.s3 import objects

PING_SECONDS = 2.0  # AWS gives each ping as long
MODEL_SECONDS = 60.0  # AWS gives the model as long to answer
STARTUP_SECONDS = 480.0
TAIL_LINES = 5
METRICS = "/aws/sagemaker/Endpoints"  # their namespace
STOP_GRACE_SECONDS = 3.0


class StartFailed(Exception):
    """The process did not become healthy; the message says why, with its last words."""


class Unreachable(Exception):
    """The instance did not take the request: nothing of it was worked on."""


class BrokenOff(Exception):
    """The instance took the request and gave no whole answer."""


@dataclass(frozen=True)
class Answer:
    """What the model container said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def header(self, wanted: str) -> str | None:
        return next((value for name, value in self.headers.items() if name.lower() == wanted.lower()), None)


@dataclass(frozen=True, kw_only=True)
class Served:
    """What a variant's instances run; everything that was looked up when the variant was deployed."""

    endpoint: str
    variant: str
    image: str
    model_data: str | None
    packed: bool
    environment: dict[str, str]
    role: str | None = None  # the model's
    startup_seconds: float = STARTUP_SECONDS
    config: str = ""  # the endpoint configuration's name
    capture: Mapping[str, Any] | None = None  # its DataCaptureConfig
    memory: int | None = None  # bytes


@dataclass(eq=False)
class Instance:
    """A process, its address and its open connections. `in_flight` belongs to the fleet's lock."""

    context: Context
    served: Served
    name: str
    in_flight: int = 0
    ready: bool = False
    leaving: bool = False
    port: int = 0
    process: Process | None = None
    _idle: list[http.client.HTTPConnection] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def directory(self) -> Path:
        return self.context.state_dir / "endpoints" / self.served.endpoint / self.name

    @property
    def log(self) -> tuple[str, str]:
        """The log group and stream of this instance."""
        return f"/aws/sagemaker/Endpoints/{self.served.endpoint}", f"{self.served.variant}/{self.name}"

    def prepare(self) -> None:
        """Lay out /opt/ml with the model's files. Raises StartFailed."""
        model = self.directory / "ml" / "model"
        model.mkdir(parents=True, exist_ok=True)
        served = self.served
        try:
            service_calls.check_pull(self.context, served.image)
        except AwsError as problem:
            raise StartFailed(f"The image {served.image} cannot be pulled: {problem.message}") from None
        if not served.model_data:
            return
        try:
            if served.packed:
                service_calls.check_read(self.context, served.model_data)
                data.unpack(objects.path(self.context, served.model_data), model, served.model_data)
            else:
                data.download(self.context, {"S3Uri": served.model_data}, [model], "the model data")
        except (AwsError, JobFailed) as problem:
            raise StartFailed(f"The model data {served.model_data} cannot be used: {problem}") from None

    def start(self) -> None:
        """Start the process and wait until it answers /ping. Raises StartFailed; then nothing is left running."""
        self._drop_connections()
        self.port = free_port()
        try:
            self.process = start(self.context, self._spec())
        except (CannotRun, NotStarted) as problem:
            raise StartFailed(self._did_not_start(str(problem))) from None
        deadline = time.monotonic() + self.served.startup_seconds
        pause = 0.01
        while not (healthy := self._answers_ping()):
            code = self.process.poll()
            if code is not None:
                raise StartFailed(self._did_not_start(f"its process ended with exit code {code}"))
            if time.monotonic() > deadline or self.leaving or self.context.stopping.is_set():
                break
            time.sleep(pause)
            pause = min(pause * 1.5, 0.2)
        if not healthy or self.leaving:
            self.process.terminate(STOP_GRACE_SECONDS)
            waited = f"/ping did not answer 200 within {self.served.startup_seconds:.0f} s"
            raise StartFailed("It was stopped while it started." if self.leaving else self._did_not_start(waited))

    def stop(self) -> None:
        """End the process and remove its files."""
        self.leaving = True
        if self.process is not None:
            self.process.terminate(STOP_GRACE_SECONDS)
        self._drop_connections()
        outputs.remove(self.directory)

    def invoke(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """POST /invocations. Raises Unreachable, BrokenOff, TimeoutError."""
        while True:
            connection, reused = self._connection()
            try:
                connection.request("POST", "/invocations", body, dict(headers))
                _acknowledge_at_once(connection.sock)
                response = connection.getresponse()
                answer = Answer(response.status, dict(response.headers), response.read())
            except TimeoutError:
                connection.close()
                raise
            except (OSError, http.client.HTTPException) as problem:
                connection.close()
                if reused:  # the server may have closed it while it was idle: a new one tells
                    continue
                raise BrokenOff(f"{type(problem).__name__}: {problem}") from None
            if response.will_close:
                connection.close()
            else:
                with self._lock:
                    self._idle.append(connection)
            return answer

    def _spec(self) -> ProcessSpec:
        write = service_calls.log_writer(self.context, *self.log, METRICS)
        image = images.find(self.context, self.served.image, "serving")
        environment = base_environment(self.context, self.directory) | {
            "SM_MODEL_DIR": "/opt/ml/model",
            "SAGEMAKER_BIND_TO_PORT": str(self.port),
            "SAGEMAKER_SAFE_PORT_RANGE": f"{self.port}-{self.port}",
            **self.served.environment,
        }
        return ProcessSpec(
            argv=list(image.serve),
            env=environment,
            on_line=write,
            opt_ml=self.directory / "ml",
            read_only=("/opt/ml/model",),
            cwd="/opt/ml/model",
            warm=True,
            memory=self.served.memory,
        )

    def _answers_ping(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PING_SECONDS)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _did_not_start(self, how: str) -> str:
        """AWS's sentence, how it failed, and the last lines of the log."""
        group, stream = self.log
        said = streams.tail(self.context, group, stream, TAIL_LINES)
        return (
            f"The primary container for production variant {self.served.variant} did not pass the ping health check: "
            f"{how}. Please check CloudWatch logs for this endpoint."
            + (" Its last lines: " + " | ".join(said) if said else "")
        )[:1024]

    def _connection(self) -> tuple[http.client.HTTPConnection, bool]:
        """An open connection (and True) or a new one (and False)."""
        with self._lock:
            while self._idle:
                connection = self._idle.pop()
                if connection.sock is not None and not select.select([connection.sock], [], [], 0)[0]:
                    return connection, True
                connection.close()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=MODEL_SECONDS)
        try:
            connection.connect()
        except OSError:
            raise Unreachable(self.name) from None
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, False

    def _drop_connections(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


def _acknowledge_at_once(connection: socket.socket) -> None:
    """A server that sends headers and body apart, with Nagle's algorithm on, waits 40 ms for an ordinary one."""
    if hasattr(socket, "TCP_QUICKACK"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
