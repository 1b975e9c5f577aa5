"""Starts processes through the keeper and follows them: the server's side of keeper.py and forkserver.py."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sagelocal.core.context import Context, one_per_server
from sagelocal.core.json import Json
from sagelocal.runtime import forkserver, isolation, orphans, sandbox, view
from sagelocal.runtime.forkserver import FORK, PLAIN_FORK, READY

PROGRAM = "import sys; sys.path.append(sys.argv[1]); from sagelocal.runtime import keeper; keeper.main(sys.argv[2:])"
ROOT = str(Path(__file__).parents[2])
ANSWER_SECONDS = 30.0  # what a fork server may take to answer; more, and it hangs
END_SECONDS = 5.0  # for the keeper to end all that it started
LAST_WORD_SECONDS = 2.0  # for the exit code of a process that the kernel has ended already


class NotStarted(OSError):
    """A fork server did not start the process; the message says why."""


@dataclass(frozen=True, kw_only=True)
class ProcessSpec:
    """What to run. `env` is complete: nothing is inherited.

    `opt_ml`: its tree, shown at /opt/ml; `read_only`: paths under it that it cannot change; `workdir`: the folder with
    its home and tmp (base_environment makes it), where that is not the tree's parent; `shown`: other folders that it
    reads; `memory`: bytes; `stdin`: a descriptor, closed once the process has it.
    """

    argv: list[str]
    env: dict[str, str]
    on_line: Callable[[str], None]
    opt_ml: Path | None = None
    read_only: tuple[str, ...] = ()
    cwd: str = "/"
    warm: bool = False
    workdir: Path | None = None
    shown: tuple[Path, ...] = ()
    memory: int | None = None
    stdin: int | None = None


class Reports:
    """The lines that a fork server and its child report of one process, until nobody is left who could."""

    def __init__(self, descriptor: int):
        self.descriptor = descriptor
        self._rest = b""
        self._open = True

    def line(self, timeout: float | None = None) -> str:
        """The next line, "" when there are no more. Raises TimeoutError."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while b"\n" not in self._rest and self._open:
            wait = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select_one(self.descriptor, wait):
                raise TimeoutError
            received = os.read(self.descriptor, 4096)
            self._rest += received
            self._open = bool(received)
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    def to_end(self) -> list[str]:
        """All lines that come, when no more can."""
        lines = []
        while line := self.line():
            lines.append(line)
        return lines

    def close(self) -> None:
        os.close(self.descriptor)


def select_one(descriptor: int, timeout: float | None) -> bool:
    """Whether a descriptor has something to be read within `timeout` seconds; None: when it has."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))


def select_any(*descriptors: int) -> None:
    """Wait until one of the descriptors has something to be read."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    poll.poll()


class Started:
    """A process that runs, with its sandbox where it has one: then `pid` is the sandbox's init's."""

    def __init__(self, pid: int, contained: bool):
        self.pid = pid
        self._init = os.pidfd_open(pid) if contained else -1
        self._lock = threading.Lock()

    @property
    def init(self) -> int:
        """A pidfd of the init."""
        return self._init

    def signal(self, number: int) -> None:
        """Signal it with its group; SIGKILL ends all that is in its sandbox."""
        with self._lock, contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: a group of zombies
            if self.pid and self._init >= 0:
                signal.pidfd_send_signal(self._init, number)
            elif self.pid:
                os.killpg(self.pid, number)

    def gone(self) -> None:
        """Its number may be somebody else's from now on."""
        with self._lock:
            self.pid = 0
            if self._init >= 0:
                os.close(self._init)


class ForkServer:
    """The server's end of the socket to a fork server."""

    def __init__(self) -> None:
        self.control, self.theirs = socket.socketpair()
        self.control.settimeout(ANSWER_SECONDS)
        self._lock = threading.Lock()

    def order(self, kind: bytes, request: Json, output: int, stdin: int | None, *more: int) -> Reports:
        """Send a request. Raises OSError when there is nobody to take it."""
        read_end, write_end = os.pipe()
        null = os.open(os.devnull, os.O_RDONLY)
        try:
            with tempfile.TemporaryFile() as file:
                file.write(json.dumps(request).encode())
                file.flush()
                descriptors = [file.fileno(), output, write_end, null if stdin is None else stdin, *more]
                with self._lock:
                    socket.send_fds(self.control, [kind], descriptors)
        except OSError:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
            os.close(null)
        return Reports(read_end)

    def answers(self, timeout: float) -> bool:
        """Whether it answers within so many seconds."""
        try:
            with self._lock:
                self.control.sendall(forkserver.PING)
            return select_one(self.control.fileno(), timeout) and self.control.recv(1) == forkserver.PONG
        except OSError:
            return False

    def close(self) -> None:
        self.control.close()
        self.theirs.close()


class Keeper:
    """A server's keeper process. It is started when it is first wanted, and again when it is gone."""

    def __init__(self, context: Context):
        self._context = context
        self._lock = threading.Lock()
        self._fork_server: ForkServer | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.mode = sandbox.NONE

    def start(self, request: Json, output: int, stdin: int | None = None) -> tuple[Started, Callable[[], int]]:
        """Start a process; and a function that waits for its exit code. Raises NotStarted."""
        started, reports = self.prepare(request, output, stdin)
        return started, lambda: exit_code(started, reports)

    def prepare(self, request: Json, output: int, stdin: int | None = None) -> tuple[Started, Reports]:
        """Start a process, or lay out a sandbox where the request names no program."""
        reports = self._order(FORK, request, output, stdin)
        try:
            return Started(int(reports.line(ANSWER_SECONDS)), request["sandbox"] is not None), reports
        except (ValueError, ProcessLookupError):
            reports.close()
            raise NotStarted("The keeper could not start the process; its output says why.") from None
        except TimeoutError:
            reports.close()
            self.stop()
            raise NotStarted(f"The keeper of processes did not answer for {ANSWER_SECONDS:.0f} s.") from None

    def spawn(self, argv: list[str], stdin: int) -> Reports:
        """Start a program of the server's own, as it is. Its input is a socket; what it prints is the server's."""
        home = self._context.state_dir / "worker"  # without one matplotlib makes a folder that jobs try to remove
        home.mkdir(parents=True, exist_ok=True)
        env = orphans.environment(self._context) | {"HOME": str(home)}
        own = {"argv": argv, "env": env, "cwd": "/", "sandbox": None, "trusted": True}
        return self._order(PLAIN_FORK, own, 2, stdin)

    @property
    def pid(self) -> int:
        """The process that was started for it; 0 before."""
        return self._process.pid if self._process is not None else 0

    def current_mode(self) -> str:
        """The mode of sandbox.py in which it starts processes."""
        self._running()
        return self.mode

    def stop(self) -> None:
        """End the keeper, and with it all that it started."""
        with self._lock:
            if self._fork_server is not None and self._process is not None:
                self._fork_server.close()  # it ends all that it started when it sees that
                self._bury()
            self._fork_server = None

    def _order(self, kind: bytes, request: Json, output: int, stdin: int | None) -> Reports:
        try:
            return self._running().order(kind, request, output, stdin)
        except OSError as problem:
            raise NotStarted(f"The keeper of processes cannot be reached: {problem}") from None

    def _running(self) -> ForkServer:
        with self._lock:
            if self._process is not None and self._process.poll() is not None:
                self._bury()
                self._process = None
            if self._fork_server is None or self._process is None:
                self._fork_server, self.mode = ForkServer(), isolation.mode()
                self._process = spawner(self._context).submit(self._spawn, self._fork_server).result()
                self._fork_server.theirs.close()
            return self._fork_server

    def _bury(self) -> None:
        """Wait until the keeper is gone, and make sure that all it started is."""
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
        self._process.kill()
        self._process.wait()
        if self.mode == sandbox.NONE:
            orphans.end_marked({orphans.mark(self._context)})

    def _spawn(self, fork_server: ForkServer) -> subprocess.Popen[bytes]:
        theirs = fork_server.theirs.fileno()
        started = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", PROGRAM, ROOT, self.mode, str(theirs), str(os.getpid())],
            env=orphans.environment(self._context),
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs],
            start_new_session=True,
        )
        orphans.note(self._context, started.pid)
        return started


keeper = one_per_server(Keeper)


@one_per_server
def spawner(_: Context) -> ThreadPoolExecutor:
    """The one thread that starts processes: they die with it, and it lives as long as the server."""
    return ThreadPoolExecutor(1, "spawner")


def program(spec: ProcessSpec) -> Json:
    """The part of a request that says what to run."""
    return {"argv": spec.argv, "env": spec.env, "cwd": spec.cwd}


def surroundings(context: Context, spec: ProcessSpec, memory: Json) -> Json:
    """The part of a request that says what the process may see and use."""
    mode, own = isolation.mode(), own_folders(spec)
    common = {"mode": mode, "memory": memory, "trusted": False}
    if mode == sandbox.NONE:
        tree = [spec.opt_ml] if spec.opt_ml else []
        return common | {"sandbox": None, "rights": view.rights(context.state_dir, [*own, *tree], spec.shown)}
    plan = view.plan(context.state_dir, mode, spec.opt_ml, own, spec.shown)
    return common | {"sandbox": plan | {"read_only": spec.read_only}, "rights": {}}


def own_folders(spec: ProcessSpec) -> list[Path]:
    """Home and tmp of a process, which base_environment made: what it may write besides its tree."""
    folder = spec.workdir or (spec.opt_ml.parent if spec.opt_ml else None)
    return [path for path in (folder / "home", folder / "tmp") if path.is_dir()] if folder else []


def exit_code(started: Started, reports: Reports) -> int:
    """Wait until it and all in its sandbox are gone. A process that said nothing was killed."""
    codes = [line for line in reports.to_end() if line != READY.decode()]
    reports.close()
    started.gone()
    return int(codes[0]) if codes else -signal.SIGKILL
