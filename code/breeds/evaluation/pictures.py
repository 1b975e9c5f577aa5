"""The evaluation's pictures: confusion, calibration, mistakes and robustness."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image, ImageOps

from breeds.base import figures
from breeds.base.figures import BLUE, GREY, INK, ORANGE

PHOTO_SIDE = 140  # points
CAPTION_LETTERS = 24  # that fit below a photo


@figures.style
def confusion(matrix: np.ndarray, classes: Sequence[str]) -> Figure:
    """int [num_classes, num_classes]: rows are true classes, columns predicted ones.

    A cell is darker the larger its share of the row; errors are orange.
    """
    num_classes = len(classes)
    cell = max(6, min(40, 800 // num_classes))
    letters = min(10, 0.75 * cell)
    is_labelled = cell >= 8
    margin = 10 + (0.62 * letters * max(map(len, classes)) if is_labelled else 0)
    side, below = cell * num_classes, 30
    width, height = max(margin + side + 10, 420), margin + side + below
    figure = figures.new(width, height)
    figure.set_layout_engine("none")  # it would measure each of many labels, for seconds
    axes = figure.add_axes((margin / width, below / height, side / width, side / height))
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    inks = np.where(np.eye(num_classes, dtype=bool)[..., None], to_rgb(BLUE), to_rgb(ORANGE))
    pixels = 255 * (1 - shares[..., None] * (1 - inks))
    axes.imshow(pixels.round().astype(np.uint8), interpolation="nearest")
    axes.grid(False)
    axes.tick_params(length=0, labelsize=letters, labeltop=True, labelbottom=False)
    axes.set_xticks(range(num_classes) if is_labelled else [], classes if is_labelled else [], rotation=90)
    axes.set_yticks(range(num_classes) if is_labelled else [], classes if is_labelled else [])
    for row, column in np.argwhere(matrix) if cell >= 24 else ():
        ink = "white" if shares[row, column] > 0.5 else INK
        axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=ink)
    accuracy = matrix.trace() / max(matrix.sum(), 1)
    caption = f"rows: true breed, columns: predicted; {int(matrix.sum())} images, {accuracy:.1%} right"
    figure.text(10 / width, 10 / height, caption)
    return figure


@figures.style
def reliability(bins: Sequence[dict[str, float]], ece: float) -> Figure:
    """Accuracy against confidence per bin; on the diagonal, probabilities mean what they say."""
    figure = figures.new(480, 500, f"Expected calibration error {ece:.3f}")
    axes = figure.add_subplot(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.set(xlabel="confidence (darker: more images)", ylabel="accuracy")
    largest = max((each["count"] for each in bins), default=1)
    for each in bins:
        shade = (BLUE, 0.3 + 0.7 * each["count"] / largest)
        axes.bar(
            each["low"], each["accuracy"], each["high"] - each["low"], align="edge", color=shade, edgecolor="white"
        )
    axes.plot([0, 1], [0, 1], color=ORANGE, linewidth=2)
    return figure


@figures.style
def confused(rows: Sequence[tuple[str, str, Image.Image, Image.Image | None]]) -> Figure:
    """Each row is a mistake and, beside it, a photo of the breed it was taken for: (caption, caption, photo, photo)."""
    figure = figures.new(2 * PHOTO_SIDE + 40, max(1, len(rows)) * (PHOTO_SIDE + 40))
    for number, (*captions, mistake, typical) in enumerate(rows):
        for column, (caption, photo) in enumerate(zip(captions, (mistake, typical), strict=True)):
            axes = figure.add_subplot(len(rows), 2, 2 * number + column + 1, xticks=[], yticks=[], aspect="equal")
            axes.spines[:].set(visible=photo is None, color=GREY)
            axes.set_xlabel(textwrap.fill(str(caption), CAPTION_LETTERS))
            if isinstance(photo, Image.Image):
                axes.imshow(np.asarray(ImageOps.fit(photo, (2 * PHOTO_SIDE, 2 * PHOTO_SIDE))))
    if not rows:
        figure.text(0.5, 0.5, "no breed was taken for another", ha="center")
    return figure


@figures.style
def curves(panels: Mapping[str, Sequence[tuple[float, float]]]) -> Figure:
    """Accuracy (0 to 1) against the strength of each change, a panel each: name -> sorted (strength, accuracy)."""
    figure = figures.new(250 * len(panels), 260)
    for number, (name, points) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), number + 1, ylim=(0, 1), xlabel=name)
        axes.set_ylabel("" if number else "accuracy")
        strengths, accuracies = zip(*points, strict=True)
        axes.plot(strengths, accuracies, marker="o", linewidth=2, clip_on=False)
        axes.set_xticks(strengths, [f"{strength:g}" for strength in strengths])
    return figure
