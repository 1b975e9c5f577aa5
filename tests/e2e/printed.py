"""Collects every command that this project prints: in its pages, its notebook, its help and its hints."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from pipeline import commands, hints

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / "sagelocal").glob("README.md"),
    *sorted((ROOT / "notebooks").glob("*.ipynb")),
    ROOT / "infra" / "template.yaml",
]

# What a shell is told by these words at its beginning is a command; other code in a text is a name.
PROGRAMS = (
    "pawline",
    "sagelocal",
    "make",
    "python",
    "pip",
    "aws",
    "curl",
    "printf",
    "export",
    "eval",
    "tensorboard",
    ".",
)
COMMAND = re.compile(rf"(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?(?:{'|'.join(map(re.escape, PROGRAMS))}) \S.*", re.DOTALL)
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^    (\S.*)", re.MULTILINE)
INLINE = re.compile(r"`([^`]+)`")
REMARK = re.compile(r"\s+# .*")

# The values that messages put into a hint's fields, in the words of the pages.
FIELDS = {
    "execution": "EXECUTION",
    "step": "Train",
    "file": "dog.jpg",
    "photo": "dog.jpg",
    "url": "https://…",
    "data": "dogImages.zip",
    "weights": "imagenet",
    "endpoint": "pawline",
    "target": 600,
    "most": 3,
    "cron": "cron(0 3 ? * MON *)",
    "timezone": "Europe/Berlin",
}


def printed() -> dict[str, str]:
    """Each command in the form in which it is printed, and where."""
    found: dict[str, str] = {}
    for page in PAGES:
        for command in in_text(_text(page)):
            found.setdefault(command, page.relative_to(ROOT).as_posix())
    for name in commands.TABLE:
        for text in help_of(name):
            for command in in_text(text):
                found.setdefault(command, f"pawline {name} --help")
    for hint in hints.ALL:
        found.setdefault(hint(**FIELDS), "a message")
    return found


def in_text(text: str) -> Iterator[str]:
    """The commands in fenced and indented blocks and in inline code."""
    for language, block in FENCED.findall(text):
        if language in ("", "bash"):
            lines = block.replace("\\\n", "").splitlines()
            yield from filter(COMMAND.fullmatch, (REMARK.sub("", line.strip()) for line in lines))
    prose = FENCED.sub("", text)
    spans = [" ".join(code.split()) for code in [*INDENTED.findall(prose), *INLINE.findall(prose)]]
    yield from filter(COMMAND.fullmatch, spans)


def strange_lines() -> list[str]:
    """Lines of shell blocks that begin with no program known here, JSON left out."""
    lines = []
    for page in PAGES:
        for language, block in FENCED.findall(_text(page)):
            if language in ("", "bash") and not block.startswith(("{", "[")):
                lines += [line for line in block.replace("\\\n", "").splitlines() if line.strip()]
    return [line for line in lines if not COMMAND.fullmatch(line.strip())]


def help_of(name: str) -> Iterator[str]:
    """The texts of a command's help."""
    made = commands.command(name)
    yield made.help
    yield from (parameter.help or "" for parameter in made.params)


def _text(page: Path) -> str:
    if page.suffix != ".ipynb":
        return page.read_text()
    cells = json.loads(page.read_text())["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells)
