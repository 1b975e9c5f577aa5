"""Which class and which split each file of a raw data set belongs to."""

import hashlib
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from breeds.archive import Source
from breeds.container import InputError
from breeds.manifest import Quarantined

SPLIT_FOLDERS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
VALID_SHARE = TEST_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Placed:
    """A file and where it belongs; `split` is None in plain class folders, until `assign_splits`."""

    path: str
    folder: str
    split: str | None


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A data set's class folders, sorted, and its files in path order."""

    folders: tuple[str, ...]
    files: tuple[Placed, ...]
    left_out: tuple[Quarantined, ...]
    has_splits: bool


def find_layout(source: Source) -> Layout:
    """`train|valid|test/<class>/<image>` under any wrapping folders, else plain `<class>/<image>` folders.

    Raises InputError when there is no class folder at all.
    """
    paths = sorted(source.members)
    has_splits = any(_split_position(path) is not None for path in paths)
    placed, left_out, folders = [], list(source.left_out), set()
    for path in paths:
        place = _place(path, has_splits)
        if place is not None:
            placed.append(place)
            folders.add(place.folder)
        elif PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES:
            left_out.append(Quarantined(path, "not inside a class folder"))
    if not placed:
        example = f" For example {paths[0]}." if paths else ""
        raise InputError(
            f"The data set has {len(paths)} files and no class folder.{example}",
            "Arrange the images as <breed>/<image> or train|valid|test/<breed>/<image>.",
        )
    folders |= _empty_class_folders(source.directories, placed, has_splits)
    return Layout(folders=tuple(sorted(folders)), files=tuple(placed), left_out=tuple(left_out), has_splits=has_splits)


def assign_splits(layout: Layout, digests: Mapping[str, str]) -> Layout:
    """Split plain class folders 70/15/15 by content hash; equal contents of a class stay in one split.

    `digests`: sha256 by path; a file that is not in it gets `train`. Files are ranked by hash within their class
    rather than cut at fixed hash values, so that a class of 3 images still has one in each split.
    """
    per_class: dict[str, set[str]] = defaultdict(set)
    for place in layout.files:
        if place.path in digests:
            per_class[place.folder].add(digests[place.path])
    split_of = {(folder, digest): split for folder, found in per_class.items() for digest, split in _rank(found)}
    files = tuple(
        Placed(place.path, place.folder, split_of.get((place.folder, digests.get(place.path, "")), "train"))
        for place in layout.files
    )
    return Layout(folders=layout.folders, files=files, left_out=layout.left_out, has_splits=True)


def display_names(folders: Iterable[str]) -> tuple[str, ...]:
    """`001.Afghan_hound` and `n02088094-Afghan_hound` become `afghan hound`; folders that would be equal stay."""
    folders = tuple(folders)
    names = [_display_name(folder) for folder in folders]
    count = Counter(names)
    return tuple(name if count[name] == 1 else folder for name, folder in zip(names, folders, strict=True))


def image_key(split: str, path: str) -> str:
    """Unique and safe as a file name: docs/formats.md."""
    return f"{split}-{hashlib.sha256(path.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"


def host_of(path: str, host_count: int) -> int:
    """Index of the host that prepares this file: stable whatever the other files are."""
    return int(hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[-8:], 16) % host_count


def _rank(digests: set[str]) -> Iterable[tuple[str, str]]:
    ranked = sorted(digests)
    valid = max(1, round(VALID_SHARE * len(ranked))) if len(ranked) > 1 else 0
    test = max(1, round(TEST_SHARE * len(ranked))) if len(ranked) > 2 else 0
    train = len(ranked) - valid - test
    for position, digest in enumerate(ranked):
        yield digest, "train" if position < train else "valid" if position < train + valid else "test"


def _parts(path: str) -> list[str]:
    """As PurePosixPath has them; but that would keep every file's name in Python's table of names."""
    return [part for part in path.split("/") if part not in ("", ".")]


def _split_position(path: str, names_below: int = 2) -> int | None:
    """Index of the split folder in the path, the last one that has a class folder (and a file) below it."""
    parts = _parts(path)
    found = [i for i, part in enumerate(parts[: len(parts) - names_below]) if part.lower() in SPLIT_FOLDERS]
    return found[-1] if found else None


def _place(path: str, has_splits: bool) -> Placed | None:
    parts = _parts(path)
    if not has_splits:
        return Placed(path, sys.intern(parts[-2]), None) if len(parts) > 1 else None
    position = _split_position(path)
    if position is None:
        return None
    return Placed(path, sys.intern(parts[position + 1]), SPLIT_FOLDERS[parts[position].lower()])


def _empty_class_folders(directories: Iterable[str], placed: Iterable[Placed], has_splits: bool) -> set[str]:
    """Class folders without a file, which only a directory entry shows."""
    if has_splits:
        return {PurePosixPath(path).name for path in directories if _is_class_folder(path)}
    parents = {PurePosixPath(place.path).parent for place in placed}
    ancestors = {ancestor for parent in parents for ancestor in parent.parents}
    siblings = {parent.parent for parent in parents}
    found = (PurePosixPath(path) for path in directories)
    return {path.name for path in found if path.parent in siblings and path not in ancestors}


def _is_class_folder(directory: str) -> bool:
    parts = PurePosixPath(directory).parts
    return len(parts) > 1 and parts[-2].lower() in SPLIT_FOLDERS


def _display_name(folder: str) -> str:
    name = re.sub(r"^(n\d{8}|\d+)[-._ ]+", "", folder).replace("_", " ").strip().lower()
    return name or folder
