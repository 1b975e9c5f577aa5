"""One look for all pictures: palette, axes and text. Drawn with matplotlib, which AWS's training images have."""

import io
import re
from html import escape
from pathlib import Path

import matplotlib
from cycler import cycler
from matplotlib.figure import Figure

INK, GREY, PALE = "#222831", "#b2b8c0", "#eceff2"
BLUE, ORANGE, RED, BROWN = "#2667b0", "#de7a22", "#c62828", "#8a6d00"
COLOURS = (BLUE, ORANGE, "#3a8a4d", "#9a4fb0", "#b8860b", "#1a9aa0", "#c2476b", "#6b6f76")
POINTS = 72  # per inch
DPI = 2 * POINTS  # of a PNG

# For every function that makes a figure. Colours of a figure are chosen when it is made, the rest when it is written.
style = matplotlib.rc_context(
    {
        "font.size": 10,
        "text.color": INK,
        "text.parse_math": False,  # a dollar sign in a name is no formula
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "axes.titlesize": 10,
        "axes.prop_cycle": cycler(color=COLOURS),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": PALE,
        "xtick.color": INK,
        "ytick.color": INK,
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "legend.frameon": False,
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "breeds",  # the same figure gives the same bytes
    }
)


@style
def new(width: float, height: float, title: str = "") -> Figure:
    """An empty figure of `width` x `height` points, whose parts make room for each other."""
    figure = Figure(figsize=(width / POINTS, height / POINTS), layout="constrained")
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


@style
def save(figure: Figure, path: Path) -> None:
    """Write the figure as a PNG."""
    figure.savefig(path, format="png", dpi=DPI)


def tip(text: str) -> str:
    """The `gid` of an artist over which `svg` shows this text."""
    return f"tip:{text}"


@style
def svg(figure: Figure, spoken: str) -> str:
    """The figure as an element for an HTML page; `spoken` is read out to those who cannot see it."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], count=1, flags=re.DOTALL)
    text = re.sub(r' xmlns:\w+="[^"]*"', "", text, count=1)
    text = re.sub(r'<g id="tip:([^"]*)">', r"<g><title>\1</title>", text)
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(spoken)}"', 1)
