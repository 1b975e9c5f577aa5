"""Jobs that start in milliseconds: a worker process that has torch and its friends imported, and forks on request.

The server keeps one worker (worker.py) and talks to it over a socket pair. A request carries the command as JSON and
two descriptors: the job's output, and a pipe on which the job's process id and later its exit code come back.
"""

import array
import contextlib
import functools
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from sagelocal.runtime.worker import PYTHON_FLAGS, READY

if TYPE_CHECKING:
    from sagelocal.core.context import Context
    from sagelocal.runtime.process import ProcessSpec

READY_SECONDS = 30.0  # how long a job waits for a worker that is still importing


class Worker:
    """One warm worker process, started in the background."""

    def __init__(self, modules: list[str], spawn: Callable[[list[str], int], subprocess.Popen[str]]):
        self._lock = threading.Lock()
        self._settled = threading.Event()
        self._usable = False
        self._control, theirs = socket.socketpair()
        with theirs:
            program = (
                "import sys; sys.path[0] = sys.argv[1]; from sagelocal.runtime import worker; worker.main(sys.argv[2:])"
            )
            root = str(Path(__file__).parents[2])
            command = [sys.executable, "-c", program, root, str(theirs.fileno()), *modules]
            self._process = spawn(command, theirs.fileno())
        threading.Thread(target=self._await_ready, name="warm-worker", daemon=True).start()

    def usable(self, timeout: float = READY_SECONDS) -> bool:
        """Whether it can take a job; waits for it to finish importing."""
        return self._settled.wait(timeout) and self._usable and self._process.poll() is None

    def start(self, request: dict[str, Any], output: int) -> tuple[int, Callable[[], int]] | None:
        """Fork a job: its process id and a function that waits for its exit code. None when the worker is gone."""
        read_end, write_end = os.pipe()
        message = json.dumps(request).encode()
        try:
            with self._lock:
                descriptors = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [output, write_end]))]
                self._control.sendmsg([struct.pack("!I", len(message))], descriptors)
                self._control.sendall(message)
        except OSError:
            os.close(read_end)
            return None
        finally:
            os.close(write_end)
        answers = os.fdopen(read_end)
        pid = answers.readline()
        if not pid:
            answers.close()
            return None
        return int(pid), functools.partial(_exit_code, int(pid), answers)

    def stop(self) -> None:
        self._control.close()
        self._process.kill()
        self._process.wait()

    def _await_ready(self) -> None:
        with contextlib.suppress(OSError):
            self._usable = self._control.recv(1) == READY
        self._settled.set()


_worker: Worker | None = None
_worker_lock = threading.Lock()


def prepare(context: "Context") -> Worker | None:
    """Start the worker if there is none, without waiting for it. None where forking one is not possible."""
    global _worker
    if sys.platform != "linux":
        return None
    with _worker_lock:
        if _worker is None:
            from sagelocal.runtime import images, process

            def spawn(command: list[str], descriptor: int) -> subprocess.Popen[str]:
                start = functools.partial(
                    subprocess.Popen,
                    command,
                    env={"PATH": process.SYSTEM_PATH, "LANG": "C.UTF-8"},
                    stdin=subprocess.DEVNULL,
                    pass_fds=[descriptor],
                    start_new_session=True,
                )
                return process._spawner().submit(start).result()

            _worker = Worker(images.preload(images.files(context.state_dir)), spawn)
        return _worker


def stop() -> None:
    """End the worker, and with it the jobs it forked."""
    global _worker
    with _worker_lock:
        if _worker is not None:
            _worker.stop()
            _worker = None


def start(context: "Context", spec: "ProcessSpec", output: int) -> tuple[int, Callable[[], int]] | None:
    """Fork a Python command from the worker. None when it must be started cold: no Python script, or no worker."""
    if not is_python_program(spec.argv):
        return None
    worker = prepare(context)
    if worker is None or not worker.usable():
        return None
    from sagelocal.runtime import process

    request = {
        "argv": spec.argv[1:],
        "env": spec.env,
        "cwd": spec.cwd,
        "opt_ml": str(spec.opt_ml or ""),
        "read_only": spec.read_only,
        "mode": process.isolation(),
    }
    return worker.start(request, output)


def is_python_program(argv: list[str]) -> bool:
    """Whether a command runs a script or a module with this environment's Python and no flag that needs a new start."""
    if argv[0] != sys.executable:
        return False
    rest = [text for text in argv[1:] if text not in PYTHON_FLAGS]
    return bool(rest) and (not rest[0].startswith("-") or (rest[0] == "-m" and len(rest) > 1))


def _exit_code(pid: int, answers: TextIO) -> int:
    with answers:
        code = answers.readline()
    if code:
        return int(code)
    with contextlib.suppress(ProcessLookupError):  # the worker is gone without a word
        os.killpg(pid, signal.SIGKILL)
    return -signal.SIGKILL
