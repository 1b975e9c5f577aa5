"""Charts of numbers over steps, and histograms: what debug.html shows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from matplotlib.transforms import ScaledTranslation

from breeds.base import figures
from breeds.base.figures import BLUE, BROWN, GREY, RED

WIDTH, CHART_HEIGHT = 700, 320  # points
LEGEND_HEIGHT = 16  # of one series
MARK_HEIGHT, MARK_WIDTH = 14, 6.5  # of a word above the chart, and of each of its letters at most
MOST_DOTS = 60  # of a line whose points are shown
BEHIND = "#d5dae0"
COLUMNS = 3  # of histograms
Series = Sequence[tuple[float, float]]  # (x, y), sorted by x


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A word about a place on the x axis; strong ones are red."""

    x: float
    text: str
    strong: bool


@figures.style
def lines(
    series: Mapping[str, Series],
    *,
    title: str,
    x_title: str,
    others: Sequence[Series] = (),
    marks: Sequence[Mark] = (),
    logarithmic: bool = False,
) -> Figure:
    """One line per series, with dots where there are few points; the legend says what a line cannot show.

    `others` are drawn pale and behind, without names. `logarithmic`: the y axis counts powers of ten.
    """
    legend = LEGEND_HEIGHT * (len(series) + bool(others))
    figure = figures.new(WIDTH, CHART_HEIGHT + MARK_HEIGHT * len(marks) + legend, title)
    axes = figure.add_subplot(xlabel=x_title)
    axes.margins(x=0.01)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:.0e}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    pale = [axes.plot(*_columns(_drawable(points, logarithmic)), color=BEHIND, linewidth=1)[0] for points in others]
    named = {}
    for name, points in series.items():
        drawn = _drawable(points, logarithmic)
        (line,) = axes.plot(*_columns(drawn))
        named[name + _left_out(points, logarithmic)] = line
        for x, y in drawn if len(drawn) <= MOST_DOTS else ():
            tip = figures.tip(f"{name}, step {x:g}: {y:.4g}")
            axes.plot(x, y, "o", color=line.get_color(), markersize=4, gid=tip)
    if not any(np.size(line.get_xdata()) for line in axes.lines):
        axes.text(0.5, 0.5, "nothing was saved that could be drawn", ha="center", color=GREY, transform=axes.transAxes)
    if logarithmic:
        _end_at_powers_of_ten(axes)
    _draw_marks(figure, axes, marks)
    if pale:
        named[f"the other {len(others)}"] = pale[0]
    figure.legend(named.values(), named.keys(), loc="outside lower left")
    return figure


def _end_at_powers_of_ten(axes: Axes) -> None:
    """Else an axis of less than a power has one label or none."""
    low, high = (math.log10(y) for y in axes.get_ylim())
    axes.set_ylim(10.0 ** math.floor(low), 10.0 ** math.ceil(high))


def _drawable(points: Series, logarithmic: bool) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if math.isfinite(y) and (y > 0 or not logarithmic)]


def _columns(points: Series) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _left_out(points: Series, logarithmic: bool) -> str:
    """Which points of a series are not in its line, for the legend."""
    broken = [x for x, y in points if not math.isfinite(y)]
    zeros = sum(y <= 0 for _, y in points if math.isfinite(y)) if logarithmic else 0
    said = [f"not a finite number at step {broken[0]:g}{' and later' * (len(broken) > 1)}"] if broken else []
    said += [f"0 at {zeros} of {len(points)} steps"] if zeros else []
    return f" ({', '.join(said)})" if said else ""


def _draw_marks(figure: Figure, axes: Axes, marks: Sequence[Mark]) -> None:
    """Each mark is a dashed line down from its word; the words stand above the chart, one below the other."""
    for mark in marks:
        axes.update_datalim([(mark.x, 0)], updatey=False)
    axes.autoscale_view()
    first, last = axes.get_xlim()

    by_place = sorted(marks, key=lambda mark: mark.x)
    # To the left of their line stand words without room to the right: before the edge, or before another such line.
    at_left, border = [], last
    for mark in reversed(by_place):
        length = MARK_WIDTH * len(mark.text) * (last - first) / (0.9 * WIDTH)
        if mark.x + length > border and mark.x - length > first:
            at_left.append(mark)
            border = mark.x
    # In this order each line begins below every word that it would cross.
    ordered = at_left + [mark for mark in by_place if mark not in at_left]
    for number, mark in enumerate(ordered):
        rise = 4 + MARK_HEIGHT * (len(ordered) - 1 - number)
        above = axes.get_xaxis_transform() + ScaledTranslation(0, rise / figures.POINTS, figure.dpi_scale_trans)
        side, colour = int(mark in at_left), RED if mark.strong else BROWN
        axes.annotate(
            mark.text,
            (mark.x, 0),
            (mark.x, 1),
            xycoords=axes.get_xaxis_transform(),
            textcoords=above,
            ha=("left", "right")[side],
            color=colour,
            fontsize=9,
            arrowprops={"arrowstyle": "-", "linestyle": "--", "color": colour, "relpos": (side, 0), "shrinkA": 0},
        )


@figures.style
def histograms(values: Mapping[str, np.ndarray], *, title: str) -> Figure:
    """A panel per array: how its finite values are spread, with mean and standard deviation."""
    rows = max(1, math.ceil(len(values) / COLUMNS))
    figure = figures.new(WIDTH, rows * 150 + 40, title)
    if not values:
        figure.text(0.5, 0.5, "no ReLU input and no gradient was saved in full at the first step", ha="center")
    for number, (name, array) in enumerate(values.items()):
        _draw_histogram(figure.add_subplot(rows, COLUMNS, number + 1), name, array)
    return figure


def _draw_histogram(axes: Axes, name: str, array: np.ndarray) -> None:
    finite = array[np.isfinite(array)].astype(np.float64)
    what = f"mean {finite.mean():.3g}, std {finite.std():.3g}" if finite.size else "no finite value"
    axes.set_title(f"{name if len(name) <= 32 else '…' + name[-31:]}\n{what}", loc="left", fontsize=9)
    axes.yaxis.set_visible(False)
    axes.spines["left"].set_visible(False)
    axes.set_xticks([])
    if finite.size:
        counts, edges = np.histogram(finite, bins=32)
        axes.bar(edges[:-1], counts, 0.9 * np.diff(edges), align="edge", color=BLUE)
        axes.set_xticks(edges[[0, -1]], [f"{edge:.3g}" for edge in edges[[0, -1]]])
