"""Which class and which split each file of a raw data set belongs to."""

import hashlib
import posixpath
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import PurePosixPath
from typing import NamedTuple

from breeds.base.container import InputError
from breeds.data.archive import Source
from breeds.data.listing import Listing, Member

SPLIT_FOLDERS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
VALID_SHARE = TEST_SHARE = 0.15


class Hashed(NamedTuple):
    """A file of a class folder before its split is assigned; no sha256 where it cannot be an image."""

    path: str
    folder: str
    sha256: str | None


class Placed(NamedTuple):
    """A file of a class folder and its split."""

    path: str
    folder: str
    split: str


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A data set's sorted class folders. The listing has each file's folder and, if `has_splits`, its split."""

    folders: tuple[str, ...]
    has_splits: bool


def find_layout(source: Source) -> Layout:
    """`train|valid|test/<class>/<image>` under any wrapping folders, else plain `<class>/<image>` folders.

    Files outside of class folders leave the listing. Raises InputError when there is no class folder at all.
    """
    listing = source.listing
    files = listing.files(Member)
    has_splits = any(_split_position(path) is not None for path, _ in files)
    count, example = len(files), next((f" For example {path}." for path, _ in files), "")
    folders: set[str] = set()
    parents: set[str] = set()
    for path, _ in files:
        place = _place(path, has_splits)
        if place is not None:
            listing.update(path, folder=place[0], split=place[1])
            folders.add(place[0])
            parents.add(posixpath.dirname(path))
            continue
        if posixpath.splitext(path)[1].lower() in IMAGE_SUFFIXES:
            listing.leave_out(path, "not inside a class folder")
        listing.remove(path)
    if not folders:
        raise InputError(
            f"The data set has {count} files and no class folder.{example}",
            "Arrange the images as <breed>/<image> or train|valid|test/<breed>/<image>.",
        )
    folders |= _empty_class_folders(source.directories, {*map(PurePosixPath, parents)}, has_splits)
    return Layout(folders=tuple(sorted(folders)), has_splits=has_splits)


def assign_splits(listing: Listing) -> None:
    """Split plain class folders 70/15/15 by content hash; equal contents of a class stay in one split.

    A file that has no `sha256` in the listing gets `train`. Files are ranked by hash within their class rather than
    cut at fixed hash values, so that a class of 3 images still has one in each split.
    """
    for _, found in groupby(listing.files(Hashed, order="folder"), attrgetter("folder")):
        files = list(found)  # one class at a time
        split_of = dict(_rank({file.sha256 for file in files if file.sha256}))
        for file in files:
            listing.update(file.path, split=split_of.get(file.sha256 or "", "train"))


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
    """The parts of a PurePosixPath, which would intern every file's name for good."""
    return [part for part in path.split("/") if part not in ("", ".")]


def _split_position(path: str, names_below: int = 2) -> int | None:
    """Index of the split folder in the path, the last one that has a class folder (and a file) below it."""
    parts = _parts(path)
    found = [i for i, part in enumerate(parts[: len(parts) - names_below]) if part.lower() in SPLIT_FOLDERS]
    return found[-1] if found else None


def _place(path: str, has_splits: bool) -> tuple[str, str | None] | None:
    """(class folder, split); a split only with `has_splits`."""
    parts = _parts(path)
    if not has_splits:
        return (parts[-2], None) if len(parts) > 1 else None
    position = _split_position(path)
    return None if position is None else (parts[position + 1], SPLIT_FOLDERS[parts[position].lower()])


def _empty_class_folders(directories: Iterable[str], parents: set[PurePosixPath], has_splits: bool) -> set[str]:
    """Class folders without a file, which only a directory entry shows. `parents`: of the files in class folders."""
    if has_splits:
        return {PurePosixPath(path).name for path in directories if _is_class_folder(path)}
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
