"""The evaluation's pictures, drawn with Pillow: the container has no plotting library."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

INK, GREY, PAPER = (34, 40, 49), (178, 184, 192), (255, 255, 255)
BLUE, ORANGE = (38, 103, 176), (222, 122, 34)


def confusion(matrix: np.ndarray, classes: Sequence[str]) -> Image.Image:
    """Rows are true classes, columns predicted ones; darker is a larger share of its row, errors are orange."""
    num_classes = len(classes)
    cell = max(6, min(40, 800 // num_classes))
    font = ImageFont.load_default(max(8, min(14, cell)))
    labelled = cell >= 8
    margin = int(max(font.getlength(name) for name in classes)) + 14 if labelled else 10
    side = cell * num_classes
    picture = Image.new("RGB", (margin + side + 12, margin + side + 34), PAPER)
    draw = ImageDraw.Draw(picture)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    for row in range(num_classes):
        for column in range(num_classes):
            left, top = margin + column * cell, margin + row * cell
            colour = BLUE if row == column else ORANGE
            fill = _blend(PAPER, colour, shares[row, column])
            draw.rectangle((left, top, left + cell - 1, top + cell - 1), fill=fill)
            if cell >= 24 and matrix[row, column]:
                ink = PAPER if shares[row, column] > 0.5 else INK
                draw.text((left + cell / 2, top + cell / 2), str(matrix[row, column]), ink, font, anchor="mm")
    draw.rectangle((margin - 1, margin - 1, margin + side, margin + side), outline=GREY)
    if labelled:
        _label_axes(picture, classes, font, margin, cell)
    accuracy = matrix.trace() / max(matrix.sum(), 1)
    caption = f"rows: true breed, columns: predicted; {int(matrix.sum())} images, {accuracy:.1%} right"
    draw.text((8, margin + side + 12), caption, INK, ImageFont.load_default(13))
    return picture


def reliability(bins: Sequence[dict[str, float]], ece: float) -> Image.Image:
    """Accuracy against confidence per bin; on the diagonal, probabilities mean what they say."""
    side, left, top = 420, 60, 20
    picture = Image.new("RGB", (left + side + 20, top + side + 60), PAPER)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(13)
    for tick in range(6):
        offset = side * tick / 5
        draw.line((left, top + offset, left + side, top + offset), GREY)
        draw.text((left - 8, top + side - offset), f"{tick / 5:.1f}", INK, font, anchor="rm")
        draw.text((left + offset, top + side + 12), f"{tick / 5:.1f}", INK, font, anchor="mm")
    largest = max((each["count"] for each in bins), default=1)
    for each in bins:
        strength = 0.3 + 0.7 * each["count"] / largest
        height = top + side * (1 - each["accuracy"])
        x0, x1 = left + side * each["low"] + 1, left + side * each["high"] - 1
        draw.rectangle((x0, height, x1, top + side), fill=_blend(PAPER, BLUE, strength))
    draw.line((left, top + side, left + side, top), ORANGE, 2)
    draw.rectangle((left, top, left + side, top + side), outline=INK)
    caption = f"accuracy by confidence (darker: more images); expected calibration error {ece:.3f}"
    draw.text((8, top + side + 34), caption, INK, font)
    return picture


def confused(rows: Sequence[tuple[str, str, Image.Image, Image.Image | None]]) -> Image.Image:
    """Per row a mistake and, beside it, a photo of the breed it was taken for: (caption, caption, photo, photo)."""
    side, gap, line, font = 180, 12, 20, ImageFont.load_default(13)
    picture = Image.new("RGB", (2 * side + 3 * gap, max(1, len(rows)) * (side + line + gap) + gap), PAPER)
    draw = ImageDraw.Draw(picture)
    for number, (*captions, mistake, typical) in enumerate(rows):
        top = gap + number * (side + line + gap)
        for column, (caption, photo) in enumerate(zip(captions, (mistake, typical), strict=True)):
            left = gap + column * (side + gap)
            if photo is None:
                draw.rectangle((left, top, left + side - 1, top + side - 1), outline=GREY)
            else:
                picture.paste(ImageOps.fit(photo, (side, side)), (left, top))
            draw.text((left, top + side + 3), _shortened(caption, font, side), INK, font)
    if not rows:
        draw.text((gap, gap), "no breed was taken for another", INK, font)
    return picture


def curves(panels: Mapping[str, Sequence[tuple[float, float]]]) -> Image.Image:
    """Accuracy (0 to 1) against the strength of each change, a panel each: name -> sorted (strength, accuracy)."""
    side, left, top, font = 220, 50, 20, ImageFont.load_default(13)
    picture = Image.new("RGB", (len(panels) * (left + side) + 30, top + side + 60), PAPER)
    draw = ImageDraw.Draw(picture)
    for number, (name, points) in enumerate(panels.items()):
        x0 = left + number * (left + side)
        for tick in range(6):
            y = top + side * (1 - tick / 5)
            draw.line((x0, y, x0 + side, y), GREY)
            draw.text((x0 - 6, y), f"{tick / 5:.1f}", INK, font, anchor="rm")
        low, high = points[0][0], points[-1][0]
        spots = [(x0 + side * (x - low) / ((high - low) or 1), top + side * (1 - y)) for x, y in points]
        draw.line(spots, BLUE, 3)
        for (x, y), (strength, _) in zip(spots, points, strict=True):
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), BLUE)
            draw.text((x, top + side + 12), f"{strength:g}", INK, font, anchor="mm")
        draw.text((x0 + side / 2, top + side + 34), name, INK, font, anchor="mm")
    return picture


def _shortened(text: str, font: ImageFont.FreeTypeFont, pixels: int) -> str:
    while font.getlength(text) > pixels:
        text = text[:-2].rstrip("…") + "…"
    return text


def _label_axes(picture: Image.Image, classes: Sequence[str], font, margin: int, cell: int) -> None:
    draw = ImageDraw.Draw(picture)
    columns = Image.new("RGB", (cell * len(classes), margin - 4), PAPER).rotate(-90, expand=True)
    along = ImageDraw.Draw(columns)
    for index, name in enumerate(classes):
        middle = (index + 0.5) * cell
        draw.text((margin - 6, margin + middle), name, INK, font, anchor="rm")
        along.text((2, middle), name, INK, font, anchor="lm")
    picture.paste(columns.rotate(90, expand=True), (margin, 0))


def _blend(low: tuple[int, int, int], high: tuple[int, int, int], share: float) -> tuple[int, ...]:
    return tuple(round(a + (b - a) * float(share)) for a, b in zip(low, high, strict=True))
