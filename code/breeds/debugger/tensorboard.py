"""A trial as TensorBoard event files: `tensorboard --logdir DIR` shows losses, sizes of gradients, and histograms."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from smdebug import modes
from smdebug.core.tfevent import summary
from smdebug.core.tfevent.event_file_writer import EventFileWriter
from smdebug.trials import LocalTrial

from breeds.debugger.rules import saved

RUNS = {"training": modes.TRAIN, "validation": modes.EVAL}


def write(trial: LocalTrial, directory: Path) -> None:
    """A run each for training and validation, so that TensorBoard draws both losses into one chart.

    A tensor of one number is a scalar. Others are a histogram where they were saved in full, and their mean |value| as
    a scalar. Steps are global: training and evaluation steps counted together.
    """
    for run, mode in RUNS.items():
        found = [event for name in trial.tensor_names() for event in _summaries(trial, name, mode)]
        if not found:
            continue
        (directory / run).mkdir(parents=True, exist_ok=True)
        writer = EventFileWriter(str(directory / run / "events.out.tfevents.0.debugger"), write_checksum=True)
        for step, made in sorted(found, key=lambda event: event[0]):
            writer.write_summary(made, step)
        writer.close()


def _summaries(trial: LocalTrial, name: str, mode: Any) -> Iterator[tuple[int, Any]]:
    """(global step, summary) of what can be shown of a tensor."""
    for step in saved.steps(trial, name, mode):
        values = saved.full(trial, name, step)
        if values is not None and values.size == 1:
            yield step, summary.scalar_summary(name, values)
            continue
        if values is not None and values.size and np.isfinite(values).all():
            yield step, summary.histogram_summary(name, values, bins=64)
        size = saved.statistic(trial, name, step, "mean", absolute=True)
        if size is not None:
            yield step, summary.scalar_summary(f"mean_abs/{name}", np.asarray(size))
