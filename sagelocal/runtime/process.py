"""Starts the process of a job, an endpoint or a function, follows its output, and ends it with all it started.

A process is started cold (the launcher in sandbox.py, then exec) or forked from the warm worker (warm.py), which has
torch imported already. Either way it leads its own process group, sees its own tree at /opt/ml, and has exactly the
environment that it is given.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil

from sagelocal.core.context import Context, one_per_server
from sagelocal.core.json import Json
from sagelocal.core.patience import patiently
from sagelocal.core.store import Kind
from sagelocal.runtime import launch, sandbox, warm
from sagelocal.runtime.launch import ProcessSpec
from sagelocal.services.iam import sessions

LINE_LIMIT = 64 * 1024  # characters of one line that reach on_line together
# Each process that runs ("pid"; "started", seconds since 1970): a server that starts after a crash ends it.
PROCESS = Kind[Json]("process")
PYTHON_NAMES = ("python", "python3", "/usr/bin/python3", "/usr/local/bin/python3", "/opt/conda/bin/python")


class Process:
    """A started process and its group. All methods may be called from any thread."""

    def __init__(self, pid: int):
        self.pid = pid
        self._exit_code: int | None = None
        self._ended = threading.Event()

    def poll(self) -> int | None:
        """The exit code (negative: the signal that ended it), None while it runs."""
        return self._exit_code

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for its end, including its last output. None when `timeout` seconds were not enough."""
        self._ended.wait(timeout)
        return self._exit_code

    def terminate(self, grace_seconds: float = 5.0) -> int:
        """End the whole group: SIGTERM, then SIGKILL after the grace. Returns the exit code."""
        if not self._ended.is_set():
            launch.signal_group(self.pid, signal.SIGTERM)
        if not self._ended.wait(grace_seconds):
            launch.signal_group(self.pid, signal.SIGKILL)
        self._ended.wait()
        assert self._exit_code is not None
        return self._exit_code

    def _follow(self, reap: Callable[[], int], output: threading.Thread, forget: Callable[[], None]) -> None:
        code = reap()
        output.join(5)  # a process that left the group may hold the pipe open for ever
        self._exit_code = code
        self._ended.set()
        forget()


def start(context: Context, spec: ProcessSpec) -> Process:
    """Start a process. A command that does not exist ends with exit code 127 and a line that says so."""
    end_orphans(context)
    spec = _as_seen_here(spec)
    read_end, write_end = os.pipe()
    started = warm.worker(context).start(spec, write_end) if spec.warm else None
    if started is None:
        try:
            started = launch.spawner(context).submit(launch.cold, spec, write_end).result()
        except BaseException:
            os.close(read_end)
            os.close(write_end)
            raise
    os.close(write_end)
    pid, reap = started
    process = Process(pid)
    _note(context, pid)
    output = threading.Thread(target=_pump, args=(read_end, spec.on_line), name=f"output-{pid}", daemon=True)
    output.start()
    following = (reap, output, lambda: _forget(context, pid))
    threading.Thread(target=process._follow, args=following, name=f"wait-{pid}", daemon=True).start()
    return process


def base_environment(context: Context, workdir: Path) -> dict[str, str]:
    """The environment every process starts from. Nothing of the user's: no credentials, no home, no settings.

    The credentials are the context's caller's, where that is a role that IAM knows.
    """
    home, temporary = workdir / "home", workdir / "tmp"
    home.mkdir(parents=True, exist_ok=True)
    temporary.mkdir(parents=True, exist_ok=True)
    return {
        "PATH": f"{Path(sys.executable).parent}:{launch.SYSTEM_PATH}",
        "LANG": "C.UTF-8",
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "PYTHONUNBUFFERED": "1",
        "AWS_ENDPOINT_URL": context.url,
        "AWS_DEFAULT_REGION": context.region,
        "AWS_REGION": context.region,
        "AWS_EC2_METADATA_DISABLED": "true",
        **sessions.environment(context),
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def shown_at(opt_ml: Path) -> str:
    """The path under which a process sees its tree: /opt/ml, or the real one where namespaces are not possible."""
    return sandbox.OPT_ML if launch.isolation() != sandbox.NONE else str(opt_ml)


def can_protect_inputs() -> bool:
    """Whether a job cannot write through a hard link into an object: by a read-only mount, or by the file's mode."""
    return launch.isolation() != sandbox.NONE or os.geteuid() != 0


@one_per_server
def end_orphans(context: Context) -> None:
    """Kill what a server of this state directory left running when it was killed itself. Does its work once."""
    for note in context.store.list(PROCESS):
        for process in _members(note["pid"], note["started"]):
            process.kill()
        context.store.delete(PROCESS, str(note["pid"]))


def _members(pid: int, started: float) -> list[psutil.Process]:
    """The live processes of the session that `pid`, started at `started` (epoch seconds), leads or led."""
    try:
        if abs(psutil.Process(pid).create_time() - started) > 0.05:
            return []  # the number was given to somebody else, so the session has ended
    except psutil.NoSuchProcess:
        pass
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == pid:
                found.append(process)
        except OSError:
            continue
    return found


def _note(context: Context, pid: int) -> None:
    try:
        started = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        started = time.time()
    note = {"pid": pid, "started": started}
    patiently(context, f"process {pid}", lambda: context.store.put(PROCESS, str(pid), note))


def _forget(context: Context, pid: int) -> None:
    if not context.stopping.is_set():
        patiently(context, f"process {pid}", lambda: context.store.delete(PROCESS, str(pid)))


def _as_seen_here(spec: ProcessSpec) -> ProcessSpec:
    """The command with this environment's Python, and with real paths where /opt/ml cannot be shown."""
    argv = [sys.executable if spec.argv[0] in PYTHON_NAMES else spec.argv[0], *spec.argv[1:]]
    if spec.opt_ml is None or launch.isolation() != sandbox.NONE:
        return replace(spec, argv=argv)
    real = str(spec.opt_ml)
    return replace(
        spec,
        argv=[text.replace(sandbox.OPT_ML, real) for text in argv],
        env={k: v.replace(sandbox.OPT_ML, real) for k, v in spec.env.items()} | {"SAGEMAKER_BASE_DIR": real},
        cwd=spec.cwd.replace(sandbox.OPT_ML, real),
        read_only=(),
    )


def _pump(descriptor: int, on_line: Callable[[str], None]) -> None:
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as output:
        while line := output.readline(LINE_LIMIT):
            on_line(line.rstrip("\n"))
