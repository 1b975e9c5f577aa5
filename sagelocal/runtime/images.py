"""How an image's URI maps to a way to run it here: images.toml, after the user's own files."""

import fnmatch
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagelocal.core.context import Context
from sagelocal.core.errors import ValidationException

OWN_FILE = Path(__file__).with_name("images.toml")
USES = ("processing", "training", "serving", "rules")


@dataclass(frozen=True)
class Image:
    """One entry: what it may be used for, and the commands it brings (empty: the request brings them)."""

    pattern: str
    runs: tuple[str, ...]
    toolkit: bool = False
    train: tuple[str, ...] = ()
    serve: tuple[str, ...] = ()
    evaluate: tuple[str, ...] = ()


def find(context: Context, uri: str, use: str) -> Image:
    """The entry for an image used for "processing", "training", "serving" or "rules".

    Raises ValidationException that names the image and shows the lines to add when there is none.
    """
    name = _without_registry(uri)
    for image in _images(context):
        if use in image.runs and fnmatch.fnmatch(name.lower(), image.pattern.lower()):
            return image
    raise ValidationException(
        f"The embedded SageMaker does not know how to run the image {uri} for {use}. "
        f"If this machine's Python can stand in for it, add to {context.state_dir / 'images.toml'}:\n"
        f'[[image]]\npattern = "{name}"\nruns = ["{use}"]'
        + {
            "processing": "",
            "training": "\ntoolkit = true",
            "serving": '\nserve = ["python3", "…"]',
            "rules": '\nevaluate = ["python3", "./…"]',
        }[use]
    )


def _without_registry(uri: str) -> str:
    first, slash, rest = uri.partition("/")
    return rest if slash and ("." in first or ":" in first or first == "localhost") else uri


def preload(context: Context) -> list[str]:
    """The modules that the warm worker imports, in order, each once."""
    named = [module for path in _files(context) for module in _read(path).get("preload", [])]
    return list(dict.fromkeys(named))


def _images(context: Context) -> list[Image]:
    return [_image(entry, path) for path in _files(context) for entry in _read(path).get("image", [])]


def _files(context: Context) -> list[Path]:
    """The files that are there, the user's own first."""
    named = os.environ.get("SAGELOCAL_IMAGES")
    candidates = [Path(named)] if named else []
    return [path for path in [*candidates, context.state_dir / "images.toml"] if path.is_file()] + [OWN_FILE]


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as problem:
        raise ValidationException(f"{path} is not valid TOML: {problem}. Correct it or remove it.") from None


def _image(entry: dict[str, Any], path: Path) -> Image:
    known = {"pattern", "runs", "toolkit", "train", "serve", "evaluate"}
    unknown = set(entry) - known
    runs = tuple(entry.get("runs", ()))
    if unknown or not entry.get("pattern") or not runs or set(runs) - set(USES):
        wrong = (
            f"unknown {', '.join(sorted(unknown))}"
            if unknown
            else "it needs a pattern, and runs out of " + ", ".join(USES)
        )
        raise ValidationException(f"An image in {path} cannot be used ({entry}): {wrong}.")
    return Image(
        entry["pattern"],
        runs,
        entry.get("toolkit", False),
        tuple(entry.get("train", ())),
        tuple(entry.get("serve", ())),
        tuple(_beside(path, word) for word in entry.get("evaluate", ())),
    )


def _beside(path: Path, word: str) -> str:
    """A word that begins with ./ or ../ is a program beside the file that names it."""
    return str((path.parent / word).resolve()) if word.startswith(("./", "../")) else word
