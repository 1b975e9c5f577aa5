"""Charts of numbers over steps, and histograms: what debug.html shows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from breeds.evaluation.drawing import GREY, INK, PALE, Drawing

COLOURS = ("#2667b0", "#de7a22", "#3a8a4d", "#9a4fb0", "#b8860b", "#1a9aa0", "#c2476b", "#6b6f76")
RED, BEHIND = "#c62828", "#d5dae0"
MARK_HEIGHT, MARK_WIDTH = 14, 7  # of a word above the chart, and of each of its letters at most
Series = Sequence[tuple[float, float]]  # (x, y), sorted by x


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A place on the x axis that a word is said about; the strong ones are red."""

    x: float
    text: str
    strong: bool


def lines(
    series: Mapping[str, Series],
    *,
    title: str,
    x_title: str,
    others: Sequence[Series] = (),
    marks: Sequence[Mark] = (),
    logarithmic: bool = False,
) -> Drawing:
    """A line each, with dots where there are few; what cannot be drawn is told in the legend.

    `others` are drawn pale, behind and without names. `logarithmic`: powers of ten on the y axis.
    """
    legend, left, width, height = 20 * (len(series) + bool(others)), 64, 620, 260
    top = 36 + MARK_HEIGHT * len(marks)
    drawing = Drawing(left + width + 24, top + height + 56 + legend)
    drawing.text(left, 14, title, size=13)
    shown = {name: _shown(points, logarithmic) for name, points in series.items()}
    behind = [_shown(points, logarithmic) for points in others]
    everything = [point for points in (*shown.values(), *behind) for point in points]
    if not everything:
        drawing.text(left, top + height / 2, "nothing was saved that could be drawn", colour=GREY)
    everything = everything or [(0.0, 0.0)]
    xs = [x for x, _ in everything] + [mark.x for mark in marks]
    ys = [y for _, y in everything]
    (x0, x1), ticks = (min(xs), max(max(xs), min(xs) + 1)), _ticks(min(ys), max(ys), logarithmic)
    y0, y1 = min(ticks[0], *ys), max(ticks[-1], *ys)

    def place(x: float, y: float) -> tuple[float, float]:
        return left + width * (x - x0) / (x1 - x0), top + height * (1 - (y - y0) / ((y1 - y0) or 1))

    for tick in ticks:
        (_, y), label = place(x0, tick), f"{10**tick:.0e}" if logarithmic else f"{tick:g}"
        drawing.line([(left, y), (left + width, y)], PALE, 1)
        drawing.text(left - 8, y, label, "end", 11)
    for tick in _ticks(x0, x1, False):
        if x0 <= tick <= x1 and float(tick).is_integer():
            drawing.text(place(tick, y0)[0], top + height + 12, f"{tick:g}", "middle", 11)
    drawing.line([(left, top), (left, top + height), (left + width, top + height)], INK, 1)
    drawing.text(left + width / 2, top + height + 32, x_title, "middle")
    for points in behind:
        drawing.line([place(*point) for point in points], BEHIND, 1)
    _draw_marks(drawing, marks, [place(mark.x, y0)[0] for mark in marks], top + height, left + width)
    for number, (name, points) in enumerate(shown.items()):
        colour, spots = COLOURS[number % len(COLOURS)], [place(*point) for point in points]
        drawing.line(spots, colour)
        for (x, y), (step, _), (_, value) in zip(spots, points, _kept(series[name], logarithmic), strict=True):
            if len(spots) <= 60:
                drawing.dot(x, y, 2.5, colour, f"{name}, step {step:g}: {value:.4g}")
        _name(drawing, left, top + height + 56 + 20 * number, colour, name + _left_out(series[name], logarithmic))
    if others:
        _name(drawing, left, top + height + 56 + 20 * len(shown), BEHIND, f"the other {len(others)}")
    return drawing


def _name(drawing: Drawing, left: float, y: float, colour: str, name: str) -> None:
    drawing.line([(left, y), (left + 24, y)], colour, 2.5)
    drawing.text(left + 32, y, name, size=12)


def _left_out(points: Series, logarithmic: bool) -> str:
    """What of a series is not in its line, for the legend."""
    broken = [x for x, y in points if not math.isfinite(y)]
    zeros = sum(y <= 0 for _, y in points if math.isfinite(y)) if logarithmic else 0
    said = [f"not a finite number at step {broken[0]:g}{' and later' * (len(broken) > 1)}"] if broken else []
    said += [f"0 at {zeros} of {len(points)} steps"] if zeros else []
    return f" ({', '.join(said)})" if said else ""


def _draw_marks(drawing: Drawing, marks: Sequence[Mark], places: Sequence[float], bottom: float, right: float) -> None:
    """A line each, down from its word; the words stand above the chart, below one another."""

    def fits(x: float, mark: Mark) -> bool:
        return x + MARK_WIDTH * len(mark.text) < right

    by_place = sorted(zip(places, marks, strict=True), key=lambda each: each[0])
    # In this order a line begins below every word that it would cross.
    ordered = [each for each in by_place if not fits(*each)][::-1] + [each for each in by_place if fits(*each)]
    for number, (x, mark) in enumerate(ordered):
        colour, y = RED if mark.strong else "#8a6d00", 36 + MARK_HEIGHT * number
        drawing.line([(x, y - 6), (x, bottom)], colour, 1, dashed=True)
        offset, anchor = (4, "start") if fits(x, mark) else (-4, "end")
        drawing.text(x + offset, y, mark.text, anchor, 11, colour)


def histograms(values: Mapping[str, np.ndarray], *, title: str) -> Drawing:
    """A panel for each: how its finite values are spread, with mean and standard deviation."""
    columns, width, height = 3, 220, 170
    rows = max(1, math.ceil(len(values) / columns))
    drawing = Drawing(columns * width + 20, rows * height + 40)
    drawing.text(18, 14, title, size=13)
    if not values:
        drawing.text(18, 50, "no ReLU input and no gradient was saved in full at the first step", colour=GREY)
    for number, (name, array) in enumerate(values.items()):
        drawing.paste(_histogram(name, array), 10 + number % columns * width, 35 + number // columns * height)
    return drawing


def _histogram(name: str, array: np.ndarray) -> Drawing:
    drawing, left, top, width, height = Drawing(220, 170), 8, 40, 196, 96
    finite = array[np.isfinite(array)].astype(np.float64)
    drawing.text(left, 10, name if len(name) <= 32 else f"…{name[-31:]}", size=11)
    if not finite.size:
        drawing.text(left, top, "no finite value", size=11, colour=RED)
        return drawing
    drawing.text(left, 26, f"mean {finite.mean():.3g}, std {finite.std():.3g}", size=10, colour="#5a6270")
    counts, edges = np.histogram(finite, bins=32)
    for index, count in enumerate(counts):
        tall = height * count / counts.max()
        drawing.box(left + width * index / 32, top + height - tall, width / 32 - 0.6, tall, COLOURS[0])
    drawing.line([(left, top + height), (left + width, top + height)], INK, 1)
    drawing.text(left, top + height + 12, f"{edges[0]:.3g}", size=10)
    drawing.text(left + width, top + height + 12, f"{edges[-1]:.3g}", "end", 10)
    return drawing


def _kept(points: Series, logarithmic: bool) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if math.isfinite(y) and (y > 0 or not logarithmic)]


def _shown(points: Series, logarithmic: bool) -> list[tuple[float, float]]:
    return [(x, math.log10(y) if logarithmic else y) for x, y in _kept(points, logarithmic)]


def _ticks(low: float, high: float, logarithmic: bool) -> list[float]:
    """About five round numbers that cover low to high; whole ones for powers of ten."""
    if logarithmic:
        first, last = math.floor(low), max(math.ceil(high), math.floor(low) + 1)
        return [float(tick) for tick in range(first, last + 1, max(1, (last - first) // 6))]
    span = (high - low) or abs(high) or 1.0
    power = 10 ** math.floor(math.log10(span / 5))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor * 5 >= span)
    return [round(n * step, 12) for n in range(math.floor(low / step), math.ceil(high / step) + 1)]
