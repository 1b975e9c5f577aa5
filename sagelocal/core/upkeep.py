"""What a server does every second for its state directory; and its end when the directory is no longer its own."""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

import psutil

EVERY_SECONDS = 1.0

logger = logging.getLogger(__name__)


def watch(stopping: threading.Event, tasks: Sequence[Callable[[], object]]) -> None:
    """Do all the tasks again and again until the server stops. One that fails says so once and is tried again."""
    said: dict[int, str] = {}
    while not stopping.wait(EVERY_SECONDS):
        for number, task in enumerate(tasks):
            try:
                task()
                said.pop(number, None)
            except Exception as problem:
                if said.get(number) != str(problem):
                    said[number] = str(problem)
                    logger.exception("the upkeep of the state directory failed")


def abandon() -> None:
    """End this process and all that it started, at once: nobody will ask for what they would still write."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has ended meanwhile
            process.kill()
    os._exit(1)
