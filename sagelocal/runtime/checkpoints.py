"""Checkpoints: a directory kept in step with an S3 prefix, so that a job that was cut off goes on where it was."""

import contextlib
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sagelocal.core.context import Context
from sagelocal.runtime import data, outputs, service_calls
from sagelocal.runtime.cluster import JobFailed
from sagelocal.services.s3 import objects

SYNC_SECONDS = 5.0
SETTLED_SECONDS = 1.0  # a file younger than that may still be written


class Checkpoints:
    """Around a run: brings what S3 has, copies new files out while the job runs, and once more at its end.

    `config` is CheckpointConfig, or None for a job without checkpoints.
    """

    def __init__(self, context: Context, config: Mapping[str, Any] | None, trees: list[Path]):
        self._context = context
        self._uri = config["S3Uri"].rstrip("/") if config else ""
        local = (config or {}).get("LocalPath", "/opt/ml/checkpoints")
        self._directories = [(tree, outputs.place(tree, local)) for tree in trees] if config else []
        self._copied: dict[Path, tuple[int, int]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="checkpoints", daemon=True)

    def __enter__(self) -> None:
        if not self._directories:
            return
        for _, directory in self._directories:
            directory.mkdir(parents=True, exist_ok=True)
        service_calls.check_write(self._context, f"{self._uri}/")
        if objects.keys(self._context, f"{self._uri}/"):
            # copies: the job owns its checkpoints and may write into them
            directories = [directory for _, directory in self._directories]
            data.download(self._context, {"S3Uri": f"{self._uri}/"}, directories, "checkpoints", copy=True)
        for tree, directory in self._directories:
            for path, _ in outputs.files_under(tree, directory):
                self._copied[path] = _state(path)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        if self._directories:
            self._ended.set()
            self._thread.join()
            self._copy_out(settled_before=float("inf"))

    def _follow(self) -> None:
        while not self._ended.wait(SYNC_SECONDS):
            with contextlib.suppress(OSError, JobFailed):  # for now: the last time, when the job has ended, says so
                self._copy_out(settled_before=time.time() - SETTLED_SECONDS)

    def _copy_out(self, settled_before: float) -> None:
        for tree, directory in reversed(self._directories):
            for path, relative in outputs.files_under(tree, directory):
                try:
                    state = _state(path)
                    if state != self._copied.get(path) and state[0] < settled_before * 1e9:
                        with outputs.opened(tree, path) as file:
                            objects.copy_in(self._context, f"{self._uri}/{relative}", file)
                        self._copied[path] = state
                except FileNotFoundError:  # the job replaced or removed it meanwhile
                    continue


def _state(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_mtime_ns, status.st_size
