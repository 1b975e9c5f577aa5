"""How an image's URI maps to a way to run it here: images.toml, after the user's own files."""

import fnmatch
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sagelocal.core import lifecycle
from sagelocal.core.context import Context
from sagelocal.core.errors import ValidationException
from sagelocal.core.json import Json

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
    file: Path = OWN_FILE


def find(context: Context, uri: str, use: str) -> Image:
    """The entry for an image used for "processing", "training", "serving" or "rules", as the server finds it."""
    return entry_for(context.state_dir, uri, use)


def entry_for(state_dir: Path, uri: str, use: str, named: Sequence[str] | None = None) -> Image:
    """The entry for an image in the `files` of a state directory.

    Raises ValidationException that names the image and shows the lines to add when there is none.
    """
    name = _without_registry(uri)
    for image in known(files(state_dir, named)):
        if use in image.runs and fnmatch.fnmatch(name.lower(), image.pattern.lower()):
            return image
    raise ValidationException(
        f"sagelocal does not know how to run the image {uri} for {use}. "
        f"If this machine's Python can stand in for it, add to {state_dir / 'images.toml'}:\n"
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


def preload(files: list[Path]) -> list[str]:
    """The modules that the warm worker imports, in order, each once."""
    named = [module for path in files for module in _read(path).get("preload", [])]
    return list(dict.fromkeys(named))


def known(files: list[Path]) -> list[Image]:
    """All entries in the order in which they are tried. Raises ValidationException for a file that cannot be used."""
    return [_image(entry, path) for path in files for entry in _read(path).get("image", [])]


def files(state_dir: Path, named: Sequence[str] | None = None) -> list[Path]:
    """The images files that count for a state directory: those `named` (those of SAGELOCAL_IMAGES, if nobody says), its
    own, and the one that comes with this distribution."""
    own = state_dir / "images.toml"
    chosen = [Path(path) for path in (lifecycle.named_images() if named is None else named)]
    return [*chosen, *([own] if own.is_file() else []), OWN_FILE]


def _read(path: Path) -> Json:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as problem:
        raise ValidationException(f"The images file {path} cannot be read: {problem}. Correct its name.") from None
    except tomllib.TOMLDecodeError as problem:
        raise ValidationException(f"{path} is not valid TOML: {problem}. Correct it or remove it.") from None


def _image(entry: Json, path: Path) -> Image:
    unknown = set(entry) - {"pattern", "runs", "toolkit", "train", "serve", "evaluate"}
    runs = tuple(entry.get("runs", ()))
    if unknown or not entry.get("pattern") or not runs or set(runs) - set(USES):
        needed = f"it needs a pattern, and runs out of {', '.join(USES)}"
        wrong = f"unknown {', '.join(sorted(unknown))}" if unknown else needed
        raise ValidationException(f"An image in {path} cannot be used ({entry}): {wrong}.")
    return Image(
        entry["pattern"],
        runs,
        entry.get("toolkit", False),
        tuple(entry.get("train", ())),
        tuple(entry.get("serve", ())),
        tuple(_beside(path, word) for word in entry.get("evaluate", ())),
        path,
    )


def _beside(path: Path, word: str) -> str:
    """A word that begins with ./ or ../ is a program beside the file that names it."""
    return str((path.parent / word).resolve()) if word.startswith(("./", "../")) else word
