"""What a SageMaker container gives a script (hosts, paths) and expects back (a failure message, an exit code)."""

import argparse
import errno
import json
import os
import re
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

MESSAGE_LIMIT = 1024  # characters SageMaker keeps of a failure reason
ANNOUNCE_SECONDS = 2.0


class InputError(ValueError):
    """The job cannot go on because of what it was given; says what is wrong and what to do about it.

    `is_consequence`: another process of the job reports the reason, which this error must not replace.
    """

    is_consequence = False

    def __init__(self, headline: str, advice: str = "") -> None:
        self.headline = headline
        self.advice = advice
        super().__init__(f"{headline} {advice}".strip())


class ArgumentParser(argparse.ArgumentParser):
    """An argparse parser whose complaint reaches the job's failure reason, not only the log."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{self.prog}: {message}.", f"See `python {sys.argv[0]} --help` for what it takes.")


def base_dir() -> Path:
    """`/opt/ml`, or SAGEMAKER_BASE_DIR as SageMaker's training toolkit reads it."""
    return Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


def host_number(host: str) -> tuple[str, int]:
    """Sort key that puts algo-10 after algo-2."""
    digits = re.search(r"(\d+)$", host)
    return (host[: digits.start()], int(digits.group())) if digits else (host, 0)


@dataclass(frozen=True)
class Hosts:
    """The machines of this job, in host order."""

    names: tuple[str, ...]
    current: str

    @property
    def index(self) -> int:
        return self.names.index(self.current)

    @property
    def count(self) -> int:
        return len(self.names)


def hosts() -> Hosts:
    """The job's hosts: SM_HOSTS in training, the resource config file in processing, else this machine as algo-1.

    Raises InputError when the configuration names a current host that is not among the hosts.
    """
    if "SM_HOSTS" in os.environ:
        names, current = json.loads(os.environ["SM_HOSTS"]), os.environ.get("SM_CURRENT_HOST", "algo-1")
    else:
        names, current = _resource_config() or (["algo-1"], "algo-1")
    if current not in names:
        raise InputError(f"The current host {current} is not among the hosts {', '.join(names)}.")
    return Hosts(tuple(sorted(names, key=host_number)), current)


def _resource_config() -> tuple[list[str], str] | None:
    for folder in ("config", "input/config"):
        path = base_dir() / folder / "resourceconfig.json"
        if path.is_file():
            config = json.loads(path.read_text())
            return config["hosts"], config["current_host"]
    return None


def run(main: Callable[[], object]) -> NoReturn:
    """Run an entry point's `main`, then exit: 0, or 1 with the reason where SageMaker looks for it.

    An InputError prints as its headline and advice; anything else keeps its traceback, because it is a defect.
    """
    try:
        main()
    except InputError as error:
        print(f"\nerror: {error.headline}\n{error.advice}".rstrip(), file=sys.stderr, flush=True)
        _report_failure(str(error), unless_known=error.is_consequence)
        sys.exit(1)
    except Exception as error:
        if is_disk_full(error):
            error.add_note("The disk is full: raise the job's VolumeSizeInGB.")
        traceback.print_exc()
        sys.stderr.flush()
        _report_failure(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
        sys.exit(1)
    sys.exit(0)


def first_line(error: BaseException) -> str:
    """What an error says, without the pages that some libraries add; its class where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_disk_full(error: Exception) -> bool:
    """Whether an error comes from a full disk; SQLite (breeds.data.listing) has an error of its own for it."""
    is_of_system = isinstance(error, OSError) and error.errno == errno.ENOSPC
    return is_of_system or getattr(error, "sqlite_errorname", "") == "SQLITE_FULL"


def _report_failure(message: str, unless_known: bool = False) -> None:
    """Processing jobs are read from output/message, training jobs from output/failure."""
    output = base_dir() / "output"
    is_training = (base_dir() / "input" / "config").is_dir() or "SM_HOSTS" in os.environ
    if not base_dir().is_dir():
        return
    if len(message) > MESSAGE_LIMIT:
        half = MESSAGE_LIMIT // 2 - 3
        message = f"{message[:half]} ... {message[-half:]}"
    try:
        output.mkdir(parents=True, exist_ok=True)
        path = output / ("failure" if is_training else "message")
        if not (unless_known and path.exists()):
            path.write_text(message)
    except OSError as error:
        print(f"the failure reason could not be written to {output}: {error}", file=sys.stderr)


class Progress:
    """Prints one line every two seconds: done/total, rate, time left."""

    def __init__(self, what: str, total: int, unit: str = "images") -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done = 0
        self.started = self.printed = time.monotonic()

    def step(self, count: int = 1) -> None:
        """Count `count` more; print if two seconds have passed."""
        self.done += count
        now = time.monotonic()
        if now - self.printed >= ANNOUNCE_SECONDS:
            self.printed = now
            rate = self.done / (now - self.started)
            left = (self.total - self.done) / rate if rate else 0
            self._print(f"{self.done}/{self.total} {self.unit}, {rate:.0f}/s, {left:.0f} s left")

    def finish(self) -> None:
        """Print the total, the time and the rate."""
        seconds = max(time.monotonic() - self.started, 1e-9)
        self._print(f"{self.done} {self.unit} in {seconds:.1f} s, {self.done / seconds:.0f}/s")

    def _print(self, text: str) -> None:
        print(f"{self.what}: {text}", flush=True)
