"""The prepared data set's table of contents: written per host, merged and held to its limits in one place."""

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from breeds.base.container import InputError, host_number

SPLITS = ("train", "valid", "test")
FORMAT = 2  # format 1: the manifest lay beside the folders of the splits
FOLDER = "manifest"
EXAMPLES = 5


class Record(NamedTuple):
    """One usable image; `sha256` is of the original file's bytes, `path` its place in the data set."""

    key: str
    label: int
    sha256: str
    path: str


class Quarantined(NamedTuple):
    """A file left out, and why."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a data set may contain and still be trained on."""

    max_broken_fraction: float = 0.05
    max_duplicates: int = 0
    max_pixels: int = 100_000_000

    def __post_init__(self) -> None:
        if not 0 <= self.max_broken_fraction <= 1:
            raise InputError(f"max-broken-fraction {self.max_broken_fraction} is not a fraction.", "Use 0 to 1.")
        if self.max_duplicates < 0:
            raise InputError(f"max-duplicates {self.max_duplicates} is negative.", "Use 0 or more.")
        if self.max_pixels < 1:
            raise InputError(f"max-pixels {self.max_pixels} allows no image.", "Use 1 or more.")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One host's part, or all parts merged (then `host` is empty). `classes[label]` is the display name.

    `images` of a split are in the order of its shards; they are a list, or read from the disk (listing.Rows).
    """

    hosts: tuple[str, ...]
    host: str
    classes: tuple[str, ...]
    folders: tuple[str, ...]
    images: dict[str, Collection[Record]]
    files_seen: int
    quarantined: int
    source_sha256: str
    limits: Limits

    @cached_property
    def counts(self) -> dict[str, list[int]]:
        """Images per class in each split."""
        per_split = {split: Counter(record.label for record in records) for split, records in self.images.items()}
        return {split: [count[label] for label in range(len(self.classes))] for split, count in per_split.items()}

    @property
    def paths(self) -> dict[str, str]:
        """key -> path in the data set."""
        return {record.key: record.path for split in SPLITS for record in self.images[split]}

    @property
    def label_map(self) -> dict[str, int]:
        """Class folder -> label."""
        return {folder: label for label, folder in enumerate(self.folders)}

    def labels(self, split: str) -> dict[str, int]:
        """key -> label of one split."""
        return {record.key: record.label for record in self.images[split]}


def part_names(host: str, hosts: Sequence[str]) -> tuple[str, str]:
    """(manifest, quarantine) file names: plain with one host, naming the host with several."""
    suffix = "" if len(hosts) == 1 else f"-{host}"
    return f"manifest{suffix}.json", f"quarantine{suffix}.csv"


def write_part(directory: Path, part: Manifest, left_out: Iterable[Quarantined]) -> None:
    """Write one host's manifest and quarantine list (docs/formats.md)."""
    manifest_name, quarantine_name = part_names(part.host, part.hosts)
    folder = directory / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / manifest_name).open("w") as file:
        file.writelines(_json(part))
    with (folder / quarantine_name).open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(Quarantined._fields)
        writer.writerows(left_out)


def _json(part: Manifest) -> Iterator[str]:
    """The manifest's text in pieces, so that it never is in memory as a whole."""
    head = {"format": FORMAT, "hosts": part.hosts, "host": part.host, "classes": part.classes, "folders": part.folders}
    tail = {
        "files_seen": part.files_seen,
        "quarantined": part.quarantined,
        "source_sha256": part.source_sha256,
        "limits": asdict(part.limits),
        "label_map": part.label_map,
        "counts": part.counts,
    }
    yield f'{json.dumps(head)[:-1]}, "images": {{'
    for number, split in enumerate(SPLITS):
        yield f'{", " if number else ""}"{split}": ['
        yield from _joined(json.dumps(record[:3]) for record in part.images[split])
        yield "]"
    yield '}, "paths": {'
    by_key = (record for split in sorted(SPLITS) for record in part.images[split])
    yield from _joined(f"{json.dumps(record.key)}: {json.dumps(record.path)}" for record in by_key)
    yield f"}}, {json.dumps(tail)[1:]}"


def _joined(pieces: Iterable[str]) -> Iterator[str]:
    for number, piece in enumerate(pieces):
        yield f", {piece}" if number else piece


def load(directory: Path) -> Manifest:
    """All hosts' parts as one manifest, after the limits were applied to the whole.

    Raises InputError when a part is missing, when parts come from different runs, or when a limit is broken.
    """
    parts = [_read_part(path) for path in (directory / FOLDER).glob("manifest*.json")]
    if not parts:
        for path in directory.glob("manifest*.json"):
            raise _of_another_format(path, 1)
        raise InputError(
            f"{directory} holds no prepared data set (manifest.json is missing).",
            "Run prepare.py first and give its output.",
        )
    parts.sort(key=lambda part: host_number(part.host))
    merged = merge(parts)
    check_limits(merged, _read_quarantine(directory))
    return merged


def merge(parts: Sequence[Manifest]) -> Manifest:
    """One manifest from all hosts' parts, images in host order. Raises InputError when they do not belong together."""
    first = parts[0]
    present = [part.host for part in parts]
    if sorted(present) != sorted(first.hosts):
        raise InputError(
            f"The prepared data set has parts of {', '.join(present)}, but was made by {', '.join(first.hosts)}.",
            "Run the Prepare step again into an empty place.",
        )
    for part in parts[1:]:
        for field in ("source_sha256", "folders", "limits"):
            if getattr(part, field) != getattr(first, field):
                raise InputError(
                    f"The parts of {first.host} and {part.host} disagree in {field}: they are from different runs.",
                    "Give every host the whole input (FullyReplicated) and run the Prepare step again.",
                )
    return replace(
        first,
        host="",
        images={split: [record for part in parts for record in part.images[split]] for split in SPLITS},
        files_seen=sum(part.files_seen for part in parts),
        quarantined=sum(part.quarantined for part in parts),
    )


def check_limits(whole: Manifest, left_out: Collection[Quarantined]) -> None:
    """Refuse a data set that would train a misleading model. Raises InputError for the first rule it breaks."""
    _check_broken_fraction(whole, left_out)
    _check_classes(whole)
    _check_duplicates(whole)


def _check_broken_fraction(whole: Manifest, left_out: Collection[Quarantined]) -> None:
    fraction = whole.quarantined / whole.files_seen if whole.files_seen else 0
    if whole.quarantined == whole.files_seen:
        raise InputError(
            f"The data set holds no usable image.{_examples(left_out)}", "Give JPEG or PNG photos in class folders."
        )
    if fraction > whole.limits.max_broken_fraction:
        raise InputError(
            f"{whole.quarantined} of {whole.files_seen} files ({fraction:.1%}) cannot be used; the limit is "
            f"{whole.limits.max_broken_fraction:.1%}.{_examples(left_out)}",
            "Repair or remove them, or raise max-broken-fraction.",
        )


def _examples(left_out: Collection[Quarantined]) -> str:
    if not left_out:
        return ""
    by_reason = Counter(entry.reason.split(":")[0] for entry in left_out)
    reasons = ", ".join(f"{count}x {reason}" for reason, count in by_reason.most_common(EXAMPLES))
    named = "; ".join(f"{entry.path} ({entry.reason})" for entry in islice(left_out, EXAMPLES))
    return f" Reasons: {reasons}. For example {named}."


def _check_classes(whole: Manifest) -> None:
    if len(whole.folders) < 2:
        held = ", ".join(whole.folders) or "none"
        raise InputError(
            f"A classifier needs two classes or more; the data set has {held}.", "Give one folder per breed."
        )
    counts = whole.counts
    empty = [folder for label, folder in enumerate(whole.folders) if not any(counts[split][label] for split in SPLITS)]
    if empty:
        raise InputError(f"{_named(empty, 'class')} no usable image.", "Add images or remove the folder.")
    for split in SPLITS:
        missing = [folder for label, folder in enumerate(whole.folders) if not counts[split][label]]
        if missing:
            raise InputError(
                f"{_named(missing, 'class')} no usable image in {split}.",
                f"Add images to {split}, or give plain class folders of 3 images or more, which are split 70/15/15.",
            )


def _named(folders: Sequence[str], what: str) -> str:
    if len(folders) == 1:
        return f"The {what} {folders[0]} has"
    more = f" and {len(folders) - EXAMPLES} more" if len(folders) > EXAMPLES else ""
    return f"{len(folders)} {what}es ({', '.join(folders[:EXAMPLES])}{more}) have"


def _check_duplicates(whole: Manifest) -> None:
    """An image that is in two splits is tested on what it was trained on."""
    hashes = {  # eight bytes of each image find the few candidates
        split: np.unique(np.fromiter((hash(record.sha256) for record in records), np.int64, len(records)))
        for split, records in whole.images.items()
    }
    unique, splits = np.unique(np.concatenate(list(hashes.values())), return_counts=True)
    crossing = set(unique[splits > 1].tolist())
    across: dict[str, list[str]] = defaultdict(list)
    for record in (record for split in SPLITS if crossing for record in whole.images[split]):
        if hash(record.sha256) in crossing:
            across[record.sha256].append(record.path or record.key)
    if len(across) > whole.limits.max_duplicates:
        named = "; ".join(" = ".join(places) for places in list(across.values())[:EXAMPLES])
        raise InputError(
            f"{len(across)} images are in more than one split; the limit is {whole.limits.max_duplicates}. "
            f"For example {named}.",
            "Keep each image in one split, or raise max-duplicates.",
        )


def _of_another_format(path: Path, found: object) -> InputError:
    return InputError(f"{path} has format {found}; this code reads format {FORMAT}.", "Run the Prepare step again.")


def _read_part(path: Path) -> Manifest:
    try:
        document = json.loads(path.read_text())
        if document["format"] != FORMAT:
            raise _of_another_format(path, document["format"])
        paths = document.get("paths", {})
        return Manifest(
            hosts=tuple(document["hosts"]),
            host=document["host"],
            classes=tuple(document["classes"]),
            folders=tuple(document["folders"]),
            images={
                split: [Record._make((*entry, paths.get(entry[0], ""))) for entry in document["images"][split]]
                for split in SPLITS
            },
            files_seen=document["files_seen"],
            quarantined=document["quarantined"],
            source_sha256=document["source_sha256"],
            limits=Limits(**document["limits"]),
        )
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a manifest ({error!r}).", "Run the Prepare step again.") from error


def _read_quarantine(directory: Path) -> list[Quarantined]:
    entries = []
    for path in sorted((directory / FOLDER).glob("quarantine*.csv")):
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            entries += [Quarantined(*row) for row in list(csv.reader(file))[1:]]
    return entries
