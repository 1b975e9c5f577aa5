"""The plots of docs/performance.md: speed against cores, cost against data size, latency against concurrency."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402

Points = list[list[float]]
# The same figures give the same bytes: no date, and names that do not depend on chance.
matplotlib.rcParams["svg.hashsalt"] = "pawline"
STEPS = ("prepare", "embed", "trial", "train", "evaluate")


def draw(series: Mapping[str, Mapping[str, Points]], folder: Path) -> dict[str, Path]:
    """An SVG for each plot whose figures there are: title to file."""
    plots: dict[str, tuple[str, Callable[[Mapping[str, Points]], Any]]] = {
        "Speed against cores": ("cores", _cores),
        "Cost against data size": ("sizes", _sizes),
        "Latency against concurrency": ("load_test", _latency),
    }
    drawn = {}
    for title, (script, plot) in plots.items():
        if series.get(script):
            plot(series[script])
            folder.mkdir(parents=True, exist_ok=True)
            drawn[title] = folder / f"performance-{script.replace('_', '-')}.svg"
            pyplot.savefig(drawn[title], metadata={"Date": None}, bbox_inches="tight")
            pyplot.close("all")
    return drawn


def _line(axes: Axes, points: Points, label: str, *, column: int = 1) -> None:
    axes.plot([point[0] for point in points], [point[column] for point in points], marker="o", label=label)


def _cores(series: Mapping[str, Points]) -> None:
    """One picture a step; the dashed line is what perfect scaling would give."""
    _, all_axes = pyplot.subplots(1, len(series), figsize=(4.5 * len(series), 3.2), squeeze=False)
    for axes, (step, points) in zip(all_axes[0], series.items(), strict=True):
        _line(axes, points, step)
        axes.plot([p[0] for p in points], [points[0][1] * p[0] / points[0][0] for p in points], "--", color="grey")
        axes.set(title=step, xlabel="cores", ylabel="images/s", ylim=(0, None), xticks=[p[0] for p in points])


def _sizes(series: Mapping[str, Points]) -> None:
    _, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.2))
    for step in STEPS:
        _line(left, series[step], step)
    left.set(xlabel="images", ylabel="seconds", xscale="log", yscale="log")
    left.legend(fontsize=8)
    _line(right, series["dollars"], "one run")
    right.set(xlabel="images", ylabel="dollars a run, 10 trials", xscale="log", yscale="log")


def _latency(series: Mapping[str, Points]) -> None:
    _, axes = pyplot.subplots(figsize=(5.5, 3.2))
    for target, points in series.items():
        _line(axes, points, f"{target}, p50")
        _line(axes, points, f"{target}, p99", column=2)
    axes.set(xlabel="requests at a time", ylabel="ms", ylim=(0, None))
    axes.legend(fontsize=8)
