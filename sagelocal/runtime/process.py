"""Starts the process of a job, an endpoint or a function, follows its output, and ends it with all it started.

A process is started cold by the keeper (keeper.py) or forked from the warm worker (warm.py), which has torch imported
already. Either way it is in a sandbox of its own where this machine allows one, sees its own tree at /opt/ml, and has
exactly the environment that it is given.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sagelocal.core.context import Context
from sagelocal.runtime import isolation, launch, literals, memory, orphans, sandbox, warm
from sagelocal.runtime.launch import ProcessSpec, Started
from sagelocal.runtime.memory import Limit
from sagelocal.services.iam import sessions

LINE_LIMIT = 64 * 1024  # characters of one line that reach on_line together
KILLED = "Killed by SIGKILL, which neither a stop nor a limit of this server sent"  # by hand, or by a full machine
PYTHON_NAMES = ("python", "python3", "/usr/bin/python3", "/usr/local/bin/python3", "/opt/conda/bin/python")

end_orphans = orphans.end_orphans


class Process:
    """A started process with all that it starts. All methods may be called from any thread.

    `out_of_memory`, once it has ended: whether it was killed because it used more memory than it may.
    """

    def __init__(self, started: Started):
        self.pid = started.pid
        self.out_of_memory = False
        self._started = started
        self._exit_code: int | None = None
        self._ended = threading.Event()
        self._ending = False

    def poll(self) -> int | None:
        """The exit code (negative: the signal that ended it), None while it runs."""
        return self._exit_code

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for its end, including its last output. None when `timeout` seconds were not enough."""
        self._ended.wait(timeout)
        return self._exit_code

    def terminate(self, grace_seconds: float = 5.0) -> int:
        """End it: SIGTERM, then SIGKILL after the grace, for all that it started. Returns the exit code."""
        self._ending = True
        if not self._ended.is_set():
            self._started.signal(signal.SIGTERM)
        if not self._ended.wait(grace_seconds):
            self._started.signal(signal.SIGKILL)
        self._ended.wait()
        assert self._exit_code is not None
        return self._exit_code

    def _follow(
        self, reap: Callable[[], int], output: threading.Thread, limit: Limit, on_line: Callable[[str], None]
    ) -> None:
        code = reap()
        output.join(5)  # where there is no sandbox, a process that got away may hold the pipe open for ever
        self.out_of_memory = limit.end()
        if code and self.out_of_memory:
            on_line(limit.exceeded)
        elif code == -signal.SIGKILL and not self._ending:
            on_line(KILLED)
        self._exit_code = code
        self._ended.set()


def start(context: Context, spec: ProcessSpec) -> Process:
    """Start a process. A command that does not exist ends with exit code 127 and a line that says so.

    Raises literals.CannotRun for one that names /opt/ml where that cannot be shown.
    """
    end_orphans(context)
    spec = _as_seen_here(spec)
    limit = memory.limit(context, spec.memory)
    read_end, write_end = os.pipe()
    try:
        request = launch.program(spec) | launch.surroundings(context, spec, limit.request)
        request["env"] = spec.env | {orphans.MARK: orphans.mark(context)}
        warmly = warm.worker(context).start(request, write_end) if spec.warm else None
        started, reap = warmly or launch.keeper(context).start(request, write_end, spec.stdin)
    except BaseException:
        os.close(read_end)
        limit.end()
        raise
    finally:
        os.close(write_end)
    process = Process(started)
    output = threading.Thread(target=_pump, args=(read_end, spec.on_line), name=f"output-{process.pid}", daemon=True)
    output.start()
    following = (reap, output, limit, spec.on_line)
    threading.Thread(target=process._follow, args=following, name=f"wait-{process.pid}", daemon=True).start()
    return process


def base_environment(context: Context, workdir: Path) -> dict[str, str]:
    """The environment every process starts from. Nothing of the user's: no credentials, no home, no settings.

    The credentials are a session's of the context's caller; without a caller, of nobody who may do anything.
    """
    home, temporary = workdir / "home", workdir / "tmp"
    home.mkdir(parents=True, exist_ok=True)
    temporary.mkdir(parents=True, exist_ok=True)
    return {
        "PATH": f"{Path(sys.executable).parent}:{orphans.SYSTEM_PATH}",
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


def shows_opt_ml() -> bool:
    """Whether a process sees its tree at /opt/ml."""
    return isolation.mode() != sandbox.NONE


def shown_at(opt_ml: Path) -> str:
    """The path under which a process sees its tree: /opt/ml, or the real one where namespaces are not possible."""
    return sandbox.OPT_ML if shows_opt_ml() else str(opt_ml)


def can_protect_inputs() -> bool:
    """Whether a job cannot write through a hard link into an object. Where it could, it gets copies."""
    return shows_opt_ml()


def _as_seen_here(spec: ProcessSpec) -> ProcessSpec:
    """The command with this environment's Python, and with real paths where /opt/ml cannot be shown."""
    argv = [sys.executable if spec.argv[0] in PYTHON_NAMES else spec.argv[0], *spec.argv[1:]]
    if spec.opt_ml is None or shows_opt_ml():
        return replace(spec, argv=argv)
    real = str(spec.opt_ml)
    translated = replace(
        spec,
        argv=[text.replace(sandbox.OPT_ML, real) for text in argv],
        env={k: v.replace(sandbox.OPT_ML, real) for k, v in spec.env.items()} | {"SAGEMAKER_BASE_DIR": real},
        cwd=spec.cwd.replace(sandbox.OPT_ML, real),
        read_only=(),
    )
    literals.check(translated)
    return translated


def _pump(descriptor: int, on_line: Callable[[str], None]) -> None:
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as output:
        while line := output.readline(LINE_LIMIT):
            on_line(line.rstrip("\n"))
