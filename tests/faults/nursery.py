"""Run as a script: servers that start in milliseconds, each with a fault of its own.

It has all that a server needs imported, and forks one for each line of JSON that it reads: the fields of `Order`. It
answers with the server's process id, and ends its servers when nobody asks any more.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Order:
    state_dir: str
    operation: str = ""
    kind: str = ""
    log: str = ""


class Nursery:
    """The process, seen from a test."""

    def __init__(self) -> None:
        environment = {**os.environ, "SAGELOCAL_IMAGES": ""}
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def start(self, order: Order) -> int:
        assert self._process.stdin and self._process.stdout
        print(json.dumps(asdict(order)), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def end(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def main() -> None:
    from sagelocal import services
    from sagelocal.cli import serve  # noqa: F401  imported here, so that each server has it already

    services.load_all()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how a server ended
    children = []
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _serve(Order(**json.loads(line)))
        children.append(pid)
        print(pid, flush=True)
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _serve(order: Order) -> None:
    """Be a server. Never returns."""
    import injection  # beside this script

    from sagelocal.cli.serve import serve

    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        state_dir = Path(order.state_dir)
        output = os.open(f"{state_dir}.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        log = Path(order.log) if order.log else None
        injection.install(injection.Injector(state_dir, order.operation, order.kind, log))
        serve(state_dir, 0)
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
