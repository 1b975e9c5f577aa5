"""A drawing of lines, dots, boxes and words, kept as a list: shown as SVG in a page, and as PNG where no browser is."""

from collections.abc import Sequence
from html import escape

from PIL import Image, ImageDraw, ImageFont

INK, GREY, PALE = "#222831", "#b2b8c0", "#eceff2"
SCALE = 2  # the PNG has this many pixels for each unit, drawn at twice that and made smaller: smooth lines
Point = tuple[float, float]


class Drawing:
    """`width` x `height` units, the origin at the upper left."""

    def __init__(self, width: float, height: float):
        self.width, self.height = width, height
        self._shapes: list[tuple] = []

    def line(self, points: Sequence[Point], colour: str, width: float = 1.5, dashed: bool = False) -> None:
        """Nothing for no points."""
        if points:
            self._shapes.append(("line", list(points), colour, width, dashed))

    def dot(self, x: float, y: float, radius: float, colour: str, tip: str = "") -> None:
        self._shapes.append(("dot", x, y, radius, colour, tip))

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        self._shapes.append(("box", x, y, width, height, colour))

    def text(self, x: float, y: float, text: str, anchor: str = "start", size: int = 12, colour: str = INK) -> None:
        """`anchor`: start, middle or end; `y` is the middle of the line."""
        self._shapes.append(("text", x, y, text, anchor, size, colour))

    def paste(self, other: "Drawing", x: float, y: float) -> None:
        for kind, *rest in other._shapes:
            if kind == "line":
                points, *more = rest
                self._shapes.append((kind, [(px + x, py + y) for px, py in points], *more))
            else:
                left, top, *more = rest
                self._shapes.append((kind, left + x, top + y, *more))

    def svg(self, what: str) -> str:
        """`what` is read out to those who cannot see it."""
        size = f'viewBox="0 0 {self.width:g} {self.height:g}" width="{self.width:g}" height="{self.height:g}"'
        inside = "\n".join(_as_svg(kind, *rest) for kind, *rest in self._shapes)
        spoken = f'role="img" aria-label="{escape(what)}"'
        return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {spoken} font-family="sans-serif">\n{inside}\n</svg>'

    def image(self) -> Image.Image:
        scale = 2 * SCALE
        picture = Image.new("RGB", (round(self.width * scale), round(self.height * scale)), "white")
        pen = ImageDraw.Draw(picture)
        for kind, *rest in self._shapes:
            _on_image(pen, scale, kind, *rest)
        return picture.resize((round(self.width * SCALE), round(self.height * SCALE)), Image.Resampling.LANCZOS)


def _as_svg(kind: str, *rest) -> str:
    if kind == "line":
        points, colour, width, dashed = rest
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dashes = ' stroke-dasharray="4 3"' if dashed else ""
        return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}"{dashes}/>'
    if kind == "dot":
        x, y, radius, colour, tip = rest
        title = f"<title>{escape(tip)}</title>" if tip else ""
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{colour}">{title}</circle>'
    if kind == "box":
        x, y, width, height, colour = rest
        return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'
    x, y, text, anchor, size, colour = rest
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" dominant-baseline="central"'
    return f'<text {where} font-size="{size}" fill="{colour}">{escape(text)}</text>'


def _on_image(pen: ImageDraw.ImageDraw, scale: float, kind: str, *rest) -> None:
    if kind == "line":
        points, colour, width, dashed = rest
        spots = [(x * scale, y * scale) for x, y in points]
        for piece in _dashes(spots, 4 * scale, 3 * scale) if dashed else [spots]:
            pen.line(piece, colour, max(1, round(width * scale)), joint="curve")
    elif kind == "dot":
        x, y, radius, colour, _ = rest
        pen.circle((x * scale, y * scale), radius * scale, colour)
    elif kind == "box":
        x, y, width, height, colour = rest
        pen.rectangle((x * scale, y * scale, (x + width) * scale, (y + height) * scale), colour)
    else:
        x, y, text, anchor, size, colour = rest
        font = ImageFont.load_default(size * scale)
        pen.text(
            (x * scale, y * scale), text, colour, font, anchor={"start": "l", "middle": "m", "end": "r"}[anchor] + "m"
        )


def _dashes(points: Sequence[Point], on: float, off: float) -> list[list[Point]]:
    """The pieces of a straight line from the first point to the last, `on` long with `off` between."""
    (x0, y0), (x1, y1) = points[0], points[-1]
    length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5 or 1.0
    starts = [n * (on + off) for n in range(int(length / (on + off)) + 1)]

    def at(distance: float) -> Point:
        share = min(1.0, distance / length)
        return x0 + share * (x1 - x0), y0 + share * (y1 - y0)

    return [[at(start), at(start + on)] for start in starts]
