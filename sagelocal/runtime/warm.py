"""Jobs that start in milliseconds: a worker process that has torch and its friends imported, and forks on request.

The server keeps one worker (worker.py), a fork server that the keeper starts. The keeper lays a job's sandbox out, and
the worker forks the job into it: once, since a fork of so large a process is what a warm start costs. A watchdog starts
another worker when this one is gone, and kills it when it does not answer.
"""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable

from sagelocal.core.context import Context, one_per_server
from sagelocal.core.json import Json
from sagelocal.runtime import images, launch
from sagelocal.runtime.forkserver import FORK, READY
from sagelocal.runtime.launch import ForkServer, NotStarted, Reports, Started
from sagelocal.runtime.worker import PYTHON_FLAGS

PROGRAM = "import sys; sys.path[0] = sys.argv[1]; from sagelocal.runtime import worker; worker.main(sys.argv[2:])"
READY_SECONDS = 30.0  # how long a job waits for a worker that is still importing
IMPORT_SECONDS = 300.0  # more, and it hangs
PING_SECONDS = 2.0  # between two questions whether it is there
ANSWER_SECONDS = 10.0  # more, and it hangs
PAUSES = (0.1, 1.0, 5.0, 30.0)  # before it is started again: it may be a module that ends it


class Worker:
    """A server's warm worker. It is started when it is first wanted, and from then on there is one."""

    def __init__(self, context: Context):
        self._context = context
        self._keeper = launch.keeper(context)
        self._lock = threading.Lock()
        self._fork_server: ForkServer | None = None
        self._process: Started | None = None
        self._settled = threading.Event()
        self._stopping = threading.Event()
        self._watchdog: threading.Thread | None = None

    def prepare(self) -> None:
        """Start it if it was not started yet, without waiting for it. Elsewhere than on Linux it cannot fork jobs."""
        with self._lock:
            if self._watchdog is None and sys.platform == "linux":
                self._watchdog = threading.Thread(target=self._watch, name="warm-worker", daemon=True)
                self._watchdog.start()

    @property
    def pid(self) -> int:
        """Its process; 0 while there is none."""
        process = self._process
        return process.pid if process is not None else 0

    def usable(self, timeout: float = READY_SECONDS) -> bool:
        """Whether it can fork jobs; waits for it to finish importing."""
        self.prepare()
        return self._watchdog is not None and self._settled.wait(timeout) and self._fork_server is not None

    def start(self, request: Json, output: int) -> tuple[Started, Callable[[], int]] | None:
        """Fork a Python command; and a function that waits for its exit code.

        None when it must be started cold: it is no Python program, or the worker is not there.
        """
        if not is_python_program(request["argv"]) or not self.usable():
            return None
        fork_server = self._fork_server
        if fork_server is None or self._keeper.mode != request["mode"]:
            return None
        if request["sandbox"] is None:
            return self._fork_alone(fork_server, request, output)
        laid_out = {name: request[name] for name in ("mode", "memory", "trusted", "sandbox", "rights")}
        init, sandbox = self._keeper.prepare(laid_out, output)
        if sandbox.line(launch.ANSWER_SECONDS) != READY.decode():  # the output says why
            return init, lambda: launch.exit_code(init, sandbox)
        job = self._fork(fork_server, request, output, init.init)
        if job is None:
            init.signal(signal.SIGKILL)
            launch.exit_code(init, sandbox)
            return None
        return init, lambda: _exit_code(init, sandbox, job)

    def stop(self) -> None:
        """End the worker, and with it the jobs it forked."""
        self._stopping.set()
        with self._lock:
            watchdog = self._watchdog
            self._end()  # the watchdog sees at once that it is gone
        if watchdog is not None:
            watchdog.join()

    def _fork_alone(
        self, fork_server: ForkServer, request: Json, output: int
    ) -> tuple[Started, Callable[[], int]] | None:
        job = self._fork(fork_server, request, output)
        if job is None:
            return None
        pid, reports = job
        started = Started(pid, contained=False)
        return started, lambda: launch.exit_code(started, reports)

    def _fork(self, fork_server: ForkServer, request: Json, output: int, *more: int) -> tuple[int, Reports] | None:
        """Let it fork: the process id and what is reported of it; None, and it is killed, when it does not answer."""
        try:
            reports = fork_server.order(FORK, request, output, None, *more)
        except OSError:
            return None
        try:
            pid = reports.line(ANSWER_SECONDS)
        except TimeoutError:
            self._kill(fork_server)
            pid = ""
        if not pid:
            reports.close()
            return None
        return int(pid), reports

    def _watch(self) -> None:
        """Keep a worker running."""
        deaths = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            with contextlib.suppress(NotStarted):
                self._live()
            deaths = 0 if time.monotonic() - began > max(PAUSES) else deaths + 1
            self._stopping.wait(PAUSES[min(deaths, len(PAUSES) - 1)])
        self._settled.set()

    def _live(self) -> None:
        """One worker's life, from its start until it is gone. Raises NotStarted."""
        fork_server = ForkServer()
        modules = images.preload(images.files(self._context.state_dir))
        argv = [sys.executable, "-c", PROGRAM, launch.ROOT, self._keeper.current_mode(), *modules]
        life = self._keeper.spawn(argv, fork_server.theirs.fileno())
        fork_server.theirs.close()
        try:
            with contextlib.suppress(ValueError, ProcessLookupError):  # it is gone already
                self._process = Started(int(life.line(launch.ANSWER_SECONDS)), contained=True)
            if not self._await(fork_server, life):
                return
            self._fork_server = fork_server
            self._settled.set()
            while not self._stopping.is_set() and not launch.select_one(life.descriptor, PING_SECONDS):
                if not fork_server.answers(ANSWER_SECONDS):
                    return
        finally:
            self._settled.clear()
            self._fork_server = None
            self._kill(fork_server)
            life.close()

    def _await(self, fork_server: ForkServer, life: Reports) -> bool:
        """Wait until it has imported what it is to import; False when it has ended, or hangs."""
        deadline = time.monotonic() + IMPORT_SECONDS
        while time.monotonic() < deadline and not self._stopping.is_set():
            if launch.select_one(fork_server.control.fileno(), 0.1):
                return fork_server.control.recv(1) == READY
            if launch.select_one(life.descriptor, 0):
                return False
        return False

    def _kill(self, fork_server: ForkServer) -> None:
        """End a worker that may hang; the watchdog starts another."""
        with self._lock:
            if self._fork_server in (fork_server, None):
                self._end()

    def _end(self) -> None:
        if self._process is not None:
            self._process.signal(signal.SIGKILL)
            self._process.gone()
            self._process = None


worker = one_per_server(Worker)


def is_python_program(argv: list[str]) -> bool:
    """Whether a command runs a script or a module with this environment's Python and no flag that needs a new start."""
    if argv[0] != sys.executable:
        return False
    rest = [text for text in argv[1:] if text not in PYTHON_FLAGS]
    return bool(rest) and (not rest[0].startswith("-") or (rest[0] == "-m" and len(rest) > 1))


def _exit_code(init: Started, sandbox: Reports, job: tuple[int, Reports]) -> int:
    """Wait until the job has ended, or its sandbox, or its worker; then until nothing of it is left."""
    _, reports = job
    launch.select_any(reports.descriptor, sandbox.descriptor)
    init.signal(signal.SIGKILL)
    launch.exit_code(init, sandbox)
    code = ""
    with contextlib.suppress(TimeoutError):
        code = reports.line(launch.LAST_WORD_SECONDS)
    reports.close()
    return int(code) if code else -signal.SIGKILL
