"""Prepare step: every image checked once, upright, RGB, short side 256; shards, manifest and quarantine list.

    python code/prepare.py --input DIR --output DIR

File formats: docs/formats.md (raw, prepared).
"""

import hashlib
import multiprocessing
import os
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from breeds import archive, container, images, manifest, splits
from breeds.container import InputError
from breeds.manifest import SPLITS, Limits, Manifest, Quarantined, Record
from breeds.outputs import PARTIAL, staged
from breeds.shards import ShardWriter

CHUNK = 16  # files a worker takes at a time
CHUNKS_AHEAD = 4  # per worker: bounds the memory of results that wait for their turn


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What one run of Prepare is asked to do."""

    input: Path
    output: Path
    short_side: int
    limits: Limits

    def __post_init__(self) -> None:
        if not 32 <= self.short_side <= 2048:
            raise InputError(f"short-side {self.short_side} is out of bounds.", "Use 32 to 2048 pixels.")


def main(arguments: list[str] | None = None) -> None:
    settings = _parse(arguments)
    hosts = container.hosts()
    shards = [f"{split}/{hosts.current}-*.tar" for split in SPLITS]
    with (
        staged(settings.output, replaces=shards) as staging,
        tempfile.TemporaryDirectory(prefix=PARTIAL, dir=settings.output) as scratch,
    ):
        part = prepare(settings, hosts, staging, Path(scratch))
    counts = ", ".join(f"{split} {len(part.images[split])}" for split in SPLITS)
    print(
        f"prepared: {len(part.classes)} classes, {counts}; {part.quarantined} of {part.files_seen} files in quarantine"
    )


def prepare(settings: Settings, hosts: container.Hosts, staging: Path, scratch: Path) -> Manifest:
    """Prepare this host's share of the data set into `staging` and return its manifest.

    Raises InputError for input that cannot be read, and, with one host, for a data set that breaks a limit; with
    several, `breeds.manifest.load` applies the limits to the whole.
    """
    source = archive.open_source(settings.input, scratch)
    layout = splits.find_layout(source)
    with _Workers(source, settings) as workers:
        if not layout.has_splits:
            layout = splits.assign_splits(layout, _digests(workers, layout))
        share = [place for place in layout.files if splits.host_of(place.path, hosts.count) == hosts.index]
        left_out = [entry for entry in layout.left_out if splits.host_of(entry.path, hosts.count) == hosts.index]
        part = _write_images(workers, layout, share, left_out, hosts, staging, source, settings)
    if hosts.count == 1:
        manifest.check_limits(part, left_out)
    manifest.write_part(staging, part, left_out)
    return part


def _digests(workers: "_Workers", layout: splits.Layout) -> dict[str, str]:
    """sha256 by path of what could be an image: all of it, since several hosts must agree on the splits."""
    progress = container.Progress("hashing", len(layout.files), "files")
    found = {}
    for path, digest in workers.map(_digest, [place.path for place in layout.files]):
        progress.step()
        if digest:
            found[path] = digest
    return found


def _write_images(
    workers: "_Workers",
    layout: splits.Layout,
    share: list[splits.Placed],
    left_out: list[Quarantined],
    hosts: container.Hosts,
    staging: Path,
    source: archive.Source,
    settings: Settings,
) -> Manifest:
    """Write shards in key order; add what cannot be used to `left_out`."""
    label_of = {folder: label for label, folder in enumerate(layout.folders)}
    keyed = {splits.image_key(place.split or "", place.path): place for place in share}
    records: dict[str, list[Record]] = {split: [] for split in SPLITS}
    files_seen = len(share) + len(left_out)
    progress = container.Progress("preparing", len(keyed))
    with ExitStack() as stack:
        writers = {split: stack.enter_context(ShardWriter(staging, split, hosts.current)) for split in SPLITS}
        order = sorted(keyed)
        for key, (digest, outcome) in zip(
            order, workers.map(_prepare, [keyed[key].path for key in order]), strict=True
        ):
            progress.step()
            place = keyed[key]
            if isinstance(outcome, str):
                left_out.append(Quarantined(place.path, outcome))
                continue
            writers[place.split].add(key, outcome)
            records[place.split].append(Record(key, label_of[place.folder], digest))
    progress.finish()
    left_out.sort()
    return Manifest(
        hosts=hosts.names,
        host=hosts.current,
        classes=splits.display_names(layout.folders),
        folders=layout.folders,
        images=records,
        paths={record.key: keyed[record.key].path for split in SPLITS for record in records[split]},
        files_seen=files_seen,
        quarantined=len(left_out),
        source_sha256=_source_digest(source),
        limits=settings.limits,
    )


def _source_digest(source: archive.Source) -> str:
    digest = hashlib.sha256()
    for path in sorted(source.sizes):
        digest.update(f"{path}\0{source.sizes[path]}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


class _Workers:
    """A process per core; results come back in order while memory stays bounded."""

    def __init__(self, source: archive.Source, settings: Settings) -> None:
        self.count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        method = "fork" if sys.platform == "linux" else "spawn"
        self._pool = ProcessPoolExecutor(
            self.count, multiprocessing.get_context(method), _start_worker, (source, settings)
        )

    def __enter__(self) -> "_Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def map(self, function: Callable, paths: list[str]) -> Iterator:
        waiting: deque = deque()
        try:
            for chunk in _chunks(paths):
                waiting.append(self._pool.submit(_run_chunk, function, chunk))
                if len(waiting) >= CHUNKS_AHEAD * self.count:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except BrokenProcessPool as error:
            raise InputError(
                "A worker process was killed, most likely for lack of memory.",
                "Use an instance with more memory per core, or lower max-pixels.",
            ) from error


def _chunks(paths: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(paths)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


_source: archive.Source
_settings: Settings


def _start_worker(source: archive.Source, settings: Settings) -> None:
    global _source, _settings
    _source, _settings = source, settings


def _run_chunk(function: Callable, chunk: list[str]) -> list:
    return [function(path) for path in chunk]


def _digest(path: str) -> tuple[str, str | None]:
    try:
        data = _source.read(path)
        images.check_looks_like_an_image(data)
    except images.Rejected:
        return path, None
    return path, hashlib.sha256(data).hexdigest()


def _prepare(path: str) -> tuple[str, bytes | str]:
    """(sha256, JPEG bytes), or ("", reason) for a file that cannot be used."""
    try:
        data = _source.read(path)
        jpeg = images.prepare(data, max_pixels=_settings.limits.max_pixels, short_side=_settings.short_side)
    except images.Rejected as reason:
        return "", str(reason)
    return hashlib.sha256(data).hexdigest(), jpeg


def _parse(arguments: list[str] | None) -> Settings:
    parser = container.ArgumentParser(description=__doc__)
    parser.add_argument("--input", type=Path, default=Path("/opt/ml/processing/input/raw"))
    parser.add_argument("--output", type=Path, default=Path("/opt/ml/processing/output/prepared"))
    parser.add_argument("--max-broken-fraction", type=float, default=Limits.max_broken_fraction, help="0 to 1")
    parser.add_argument("--max-duplicates", type=int, default=Limits.max_duplicates, help="images in two splits")
    parser.add_argument("--max-pixels", type=int, default=Limits.max_pixels, help="width x height of one image")
    parser.add_argument("--short-side", type=int, default=256, help="pixels")
    given = parser.parse_args(arguments)
    limits = Limits(
        max_broken_fraction=given.max_broken_fraction, max_duplicates=given.max_duplicates, max_pixels=given.max_pixels
    )
    return Settings(input=given.input, output=given.output, short_side=given.short_side, limits=limits)


if __name__ == "__main__":
    container.run(main)
