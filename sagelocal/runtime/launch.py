"""Starts a process cold: through the launcher in sandbox.py, which shows it its own /opt/ml."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sagelocal.core.context import Context, one_per_server
from sagelocal.runtime import sandbox

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, kw_only=True)
class ProcessSpec:
    """What to run. `env` is complete: nothing is inherited. `read_only`: paths under /opt/ml that it cannot change."""

    argv: list[str]
    env: dict[str, str]
    on_line: Callable[[str], None]
    opt_ml: Path | None = None
    read_only: tuple[str, ...] = ()
    cwd: str = "/"
    warm: bool = False


@cache
def isolation() -> str:
    """How a job gets its own /opt/ml here: sandbox.ROOT, sandbox.USER or sandbox.NONE. Found out by trying, once."""
    if sys.platform != "linux":
        return sandbox.NONE
    probe = [sys.executable, "-I", "-S", "-c", "import os, sys; sys.exit(not os.path.exists('/opt/ml/probe'))"]
    for mode in (sandbox.ROOT, sandbox.USER) if os.geteuid() == 0 else (sandbox.USER,):
        with tempfile.TemporaryDirectory() as tree:
            Path(tree, "probe").mkdir()
            command = _launcher(mode, tree, "/", ["/opt/ml/probe"]) + probe
            if subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
                return mode
    return sandbox.NONE


@one_per_server
def spawner(_: Context) -> ThreadPoolExecutor:
    """The one thread that starts processes: they die with it, and it lives as long as the server."""
    return ThreadPoolExecutor(1, "spawner")


def cold(spec: ProcessSpec, output: int) -> tuple[int, Callable[[], int]]:
    """Start a process, in the spawner's thread: its process id and a function that waits for its exit code."""
    mode = isolation() if spec.opt_ml else sandbox.NONE
    child = subprocess.Popen(
        _launcher(mode, str(spec.opt_ml or ""), spec.cwd, list(spec.read_only)) + spec.argv,
        env=spec.env,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
    return child.pid, lambda: _reap(child)


def _launcher(mode: str, opt_ml: str, cwd: str, read_only: list[str]) -> list[str]:
    program = [sys.executable, "-I", "-S", sandbox.__file__]
    return [*program, mode, opt_ml, cwd, str(len(read_only)), *read_only]


def _reap(child: subprocess.Popen[bytes]) -> int:
    """Wait for the process; what it left running ends with it, as in a container."""
    if hasattr(os, "waitid"):
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # its number stays taken until the group is gone
        signal_group(child.pid, signal.SIGKILL)
        return child.wait()
    code = child.wait()
    signal_group(child.pid, signal.SIGKILL)
    return code


def signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: PermissionError for a group of zombies
        os.killpg(pid, number)
