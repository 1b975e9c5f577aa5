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
from typing import TextIO

from sagelocal.core.context import Context, one_per_server
from sagelocal.runtime import images, launch
from sagelocal.runtime.launch import ProcessSpec
from sagelocal.runtime.worker import PYTHON_FLAGS, READY

PROGRAM = "import sys; sys.path[0] = sys.argv[1]; from sagelocal.runtime import worker; worker.main(sys.argv[2:])"
READY_SECONDS = 30.0  # how long a job waits for a worker that is still importing


class Worker:
    """A server's warm worker process. It is started when it is first wanted."""

    def __init__(self, context: Context):
        self._context = context
        self._lock = threading.Lock()
        self._settled = threading.Event()
        self._usable = False
        self._process: subprocess.Popen[bytes] | None = None
        self._control, self._theirs = socket.socketpair()

    def prepare(self) -> None:
        """Start it if it was not started yet, without waiting for it. Elsewhere than on Linux it cannot fork jobs."""
        with self._lock:
            if self._process is None and sys.platform == "linux":
                self._process = launch.spawner(self._context).submit(self._spawn).result()
                self._theirs.close()
                threading.Thread(target=self._await_ready, name="warm-worker", daemon=True).start()

    def usable(self, timeout: float = READY_SECONDS) -> bool:
        """Whether it can fork jobs; waits for it to finish importing."""
        self.prepare()
        return self._process is not None and self._settled.wait(timeout) and self._usable

    def start(self, spec: ProcessSpec, output: int) -> tuple[int, Callable[[], int]] | None:
        """Fork a Python command: its process id and a function that waits for its exit code.

        None when it must be started cold: it is no Python program, or the worker is not there.
        """
        if not is_python_program(spec.argv):
            return None
        if not self.usable() or self._process is None or self._process.poll() is not None:
            return None
        request = {
            "argv": spec.argv[1:],
            "env": spec.env,
            "cwd": spec.cwd,
            "opt_ml": str(spec.opt_ml or ""),
            "read_only": spec.read_only,
            "mode": launch.isolation(),
        }
        return self._fork(json.dumps(request).encode(), output)

    def stop(self) -> None:
        """End the worker, and with it the jobs it forked."""
        with self._lock:
            self._control.close()
            self._theirs.close()
            if self._process is not None:
                self._process.kill()
                self._process.wait()

    def _fork(self, message: bytes, output: int) -> tuple[int, Callable[[], int]] | None:
        read_end, write_end = os.pipe()
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

    def _spawn(self) -> subprocess.Popen[bytes]:
        root, control = str(Path(__file__).parents[2]), self._theirs.fileno()
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, root, str(control), *images.preload(images.files(self._context.state_dir))],
            env={"PATH": launch.SYSTEM_PATH, "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            pass_fds=[control],
            start_new_session=True,
        )

    def _await_ready(self) -> None:
        with contextlib.suppress(OSError):
            self._usable = self._control.recv(1) == READY
        self._settled.set()


worker = one_per_server(Worker)


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
