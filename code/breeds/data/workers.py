"""A process per core; results come back in order while memory stays bounded."""

import gc
import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice
from typing import Any

from breeds.base.container import InputError, cores

CHUNK = 16  # items a worker takes at a time
CHUNKS_AHEAD = 4  # per worker: bounds the memory of results that wait for their turn


class Workers:
    """A context manager. `start` runs first in each process, with `arguments`.

    They start at once: memory that their parent fills later would be copied page by page.
    """

    def __init__(self, start: Callable[..., None], *arguments: Any) -> None:
        self.count = cores()
        method = "fork" if sys.platform == "linux" else "spawn"
        gc.freeze()  # else a worker's garbage collector marks shared objects, which copies their pages
        self._pool = ProcessPoolExecutor(self.count, multiprocessing.get_context(method), start, arguments)
        self._pool.submit(os.getpid)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        gc.unfreeze()

    def map(self, function: Callable, items: Iterable[tuple]) -> Iterator:
        """`function(*item)` of each, in order. Raises InputError when a worker was killed."""
        waiting: deque = deque()
        iterator = iter(items)
        try:
            while chunk := list(islice(iterator, CHUNK)):
                waiting.append(self._pool.submit(_run, function, chunk))
                if len(waiting) >= CHUNKS_AHEAD * self.count:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except BrokenProcessPool as error:
            raise InputError(
                "A worker process was killed, most likely for lack of memory.",
                "Use an instance with more memory per core, or lower max-pixels.",
            ) from error


def _run(function: Callable | partial, chunk: list[tuple]) -> list:
    return [function(*item) for item in chunk]
