"""What a server removes by itself: folders that failed jobs left for a look at them, after a week, and those of no job.

Only where SAGELOCAL_RETENTION_DAYS is set it also removes what `sagelocal prune` would.
"""

import logging
import os
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from sagelocal.core import pruning
from sagelocal.core.context import Context
from sagelocal.core.numbers import is_whole
from sagelocal.core.pruning import Item, Wanted
from sagelocal.core.registry import on_start
from sagelocal.core.store import Kind
from sagelocal.services.sagemaker.jobs.job import RUNNING

SWEEP_SECONDS, FIRST_SWEEP_SECONDS = 3600.0, 60.0
FAILED_DAYS, ORPHAN_DAYS, DAY = 7, 1, 86400.0
VARIABLE, KEPT_BY_ITSELF = "SAGELOCAL_RETENTION_DAYS", 10

logger = logging.getLogger(__name__)


@pruning.finder
def folders_of_failed_jobs(context: Context, wanted: Wanted) -> Iterator[Item]:
    for folder in job_folders(context):
        if _is_idle(context, folder) and folder.stat().st_mtime < wanted.before:
            yield Item("job folder", folder.name, pruning.size_of([folder]), partial(shutil.rmtree, folder))


@on_start
def sweep_by_itself(context: Context) -> None:
    context.spawn("sweep", _sweep_for_ever, context)


def sweep(context: Context) -> None:
    now = time.time()
    for folder in job_folders(context):
        there = context.store.get(_kind_of(folder), folder.name) is not None
        days = FAILED_DAYS if there else ORPHAN_DAYS
        if _is_idle(context, folder) and folder.stat().st_mtime < now - days * DAY:
            shutil.rmtree(folder, ignore_errors=True)
    days_set = os.environ.get(VARIABLE, "")
    if is_whole(days_set) and int(days_set):
        wanted = Wanted(now - int(days_set) * DAY, KEPT_BY_ITSELF)
        gone = pruning.prune(context, wanted, really=True)
        if gone:
            logger.info("%d old things were removed, as %s=%s says", len(gone), VARIABLE, days_set)


def _sweep_for_ever(context: Context) -> None:
    pause = FIRST_SWEEP_SECONDS
    while not context.stopping.wait(pause):
        sweep(context)
        pause = SWEEP_SECONDS


def job_folders(context: Context) -> list[Path]:
    return sorted(path for path in (context.state_dir / "jobs").glob("*/*") if path.is_dir())


def _kind_of(folder: Path) -> Kind[Any]:
    return Kind[Any](f"{folder.parent.name}-job")


def _is_idle(context: Context, folder: Path) -> bool:
    """Whether no job that runs has the folder."""
    kind = _kind_of(folder)
    body = context.store.get(kind, folder.name) or {}
    return not any(body.get(member) in RUNNING for member in ("TrainingJobStatus", "ProcessingJobStatus"))
