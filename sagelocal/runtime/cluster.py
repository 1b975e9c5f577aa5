"""The hosts of one job: N processes that start together, end together, and can be ended early."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sagelocal.core.context import Context, one_per_server
from sagelocal.runtime import process, sandbox
from sagelocal.runtime.launch import NotStarted, ProcessSpec
from sagelocal.runtime.literals import CannotRun
from sagelocal.runtime.process import Process

STOPPED, TIMED_OUT, HOST_FAILED, SHUT_DOWN = "stopped", "timed out", "host failed", "shut down"


class JobFailed(Exception):
    """The job cannot go on; the message is its FailureReason, AWS's class of error first ("ClientError: …")."""


class Control:
    """A running job's handle: whoever wants it to end says why, once; the first reason stays."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.grace_seconds = 0.0
        self._lock = threading.Lock()
        self._processes: list[Process] = []

    def attach(self, started: Process) -> None:
        with self._lock:
            self._processes.append(started)
            late = self.reason is not None
        if late:
            started.terminate(self.grace_seconds)

    def end(self, reason: str, grace_seconds: float) -> None:
        """End every host: SIGTERM, then SIGKILL after the grace. Returns when they are gone."""
        with self._lock:
            if self.reason is None:
                self.reason, self.grace_seconds = reason, grace_seconds
            running = [started for started in self._processes if started.poll() is None]
        if running:
            with ThreadPoolExecutor(len(running)) as pool:
                list(pool.map(lambda started: started.terminate(grace_seconds), running))


@one_per_server
def running(_: Context) -> dict[tuple[str, str], Control]:
    """The controls of the jobs that run, by kind and name."""
    return {}


def register(context: Context, kind: str, name: str) -> Control:
    """A new job's control, among those that run."""
    control = running(context)[kind, name] = Control()
    return control


def end_all(context: Context, grace_seconds: float = 2.0) -> None:
    """End every job of this server."""
    controls = list(running(context).values())
    if controls:
        with ThreadPoolExecutor(len(controls)) as pool:
            list(pool.map(lambda control: control.end(SHUT_DOWN, grace_seconds), controls))


def name_hosts(hosts: list[str], trees: list[Path]) -> None:
    """Let the hosts of a job find each other by name: each is a process of this machine."""
    if len(hosts) > 1:
        for tree in trees:
            (tree.parent / sandbox.HOSTS_FILE).write_text(f"127.0.0.1 localhost {' '.join(hosts)}\n::1 localhost\n")


def run_hosts(
    context: Context, control: Control, specs: list[ProcessSpec], max_seconds: float, grace_seconds: float
) -> list[int]:
    """Run one process per host until all have ended; the exit codes in host order.

    One that fails ends the others, as does the time limit; `control.reason` says what ended them early. Raises
    JobFailed when one cannot be started.
    """
    started = []
    for spec in specs:
        if control.reason is None:
            try:
                host = process.start(context, spec)
            except (CannotRun, NotStarted) as problem:
                control.end(HOST_FAILED, grace_seconds)
                kind = "ClientError" if isinstance(problem, CannotRun) else "InternalServerError"
                raise JobFailed(f"{kind}: {problem}") from None
            control.attach(host)
            started.append(host)
    if len(started) > 1:
        for host in started:
            threading.Thread(target=_end_others, args=(host, control, grace_seconds), daemon=True).start()
    deadline = time.monotonic() + max_seconds
    for host in started:
        if host.wait(max(0.0, deadline - time.monotonic())) is None:
            control.end(TIMED_OUT, grace_seconds)
            host.wait()
    return [code for host in started if (code := host.poll()) is not None]


def _end_others(host: Process, control: Control, grace_seconds: float) -> None:
    if host.wait() != 0:
        control.end(HOST_FAILED, grace_seconds)


def exit_code(codes: list[int]) -> int:
    """The job's exit code: 0 if all hosts gave 0, else the first failure that is not a signal sent to the others."""
    failures = [code for code in codes if code > 0] or [128 - code for code in codes if code < 0]
    return failures[0] if failures else 0
