"""The server's log: one line of time, level and module for each message, on stderr, which `lifecycle` keeps in a file.

Every module of the server has a logger of its own name. Jobs, functions and endpoints log into CloudWatch Logs instead.
"""

import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO, cast

from sagelocal.core.terminal import printable

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
LARGEST = 10 << 20  # bytes; a log that is larger is put aside
KEPT = 3  # logs that were put aside

logger = logging.getLogger("sagelocal")


class Unfailing:
    """A text stream that drops what it cannot write: a full disk must not end what wanted to say so."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Printable(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def set_up() -> None:
    """Send this process's log to stderr: all of sagelocal's, and the warnings of the libraries."""
    sys.stdout, sys.stderr = (cast(TextIO, Unfailing(stream)) for stream in (sys.stdout, sys.stderr))
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable(FORMAT))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logger.setLevel(logging.INFO)


def rotate(path: Path) -> None:
    """Put the log aside when it is large and go on in a new file. Nothing happens unless stderr goes to this one."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return
    if status.st_size < LARGEST or not os.path.samestat(status, os.fstat(2)):
        return
    for number in range(KEPT, 1, -1):
        with suppress(FileNotFoundError):
            _aside(path, number - 1).replace(_aside(path, number))
    path.replace(_aside(path, 1))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)


def _aside(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
