"""The worker's process: started, listened to, ended. Ctrl-C lets it write what it has measured."""

import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.load_test.plan import Plan

END_SECONDS = 15.0


class Worker:
    """The process that sends the requests of a plan, as a context: it is gone when the block is left.

    In the block the first Ctrl-C ends the test early; `interrupted` tells. The second is an ordinary one.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self.interrupted = False
        self.ended = False

    def __enter__(self) -> "Worker":
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.load_test.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,  # a terminal sends Ctrl-C to everybody; the worker is told by `end`
            cwd=Path(__file__).parents[2],
        )
        assert self._process.stdin
        self._process.stdin.write(json.dumps(asdict(self.plan)))
        self._process.stdin.close()
        self._before = None
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._log.close()
        if self._process.stdout:
            self._process.stdout.close()

    def lines(self) -> Iterator[dict[str, Any]]:
        """What the worker says until it ends (the words are in worker.py). Raises UserError if it broke."""
        assert self._process.stdout
        for line in self._process.stdout:
            yield json.loads(line)
        code = self._process.wait(END_SECONDS)
        if code and not (self.ended and code == -signal.SIGTERM):
            self._log.seek(0)
            said = self._log.read().strip()
            raise UserError("The load generator broke.", said.splitlines()[-1] if said else f"Its code is {code}.")

    def end(self) -> None:
        """End the test; the worker still says what it has measured."""
        self.ended = True
        self._process.terminate()

    def _interrupt(self, *_: object) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        self.end()
