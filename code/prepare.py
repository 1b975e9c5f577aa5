"""Prepare step: every image checked once, upright, RGB, no larger than needed; shards, manifest and quarantine list.

    python code/prepare.py --input DIR --output DIR [--cache DIR --new-cache DIR]

File formats: docs/formats.md (raw, prepared, cache).
"""

import hashlib
import shutil
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import NamedTuple

from breeds.base import container, extras
from breeds.base.container import InputError
from breeds.data import archive, images, known, manifest, splits
from breeds.data.known import Known, Recorder
from breeds.data.listing import BY_KEY, Listing, Member
from breeds.data.manifest import SPLITS, Limits, Manifest, Record
from breeds.data.outputs import PARTIAL, staged
from breeds.data.shards import ShardWriter, write_sample
from breeds.data.splits import Placed
from breeds.data.workers import Workers

USUAL_BYTES = 64 * 2**10  # more than the average prepared image takes on disk
FEW_IMAGES = 5  # of a class in train; with fewer there is a warning


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What one run of Prepare is asked to do. `cache`: what earlier runs found out; `new_cache`: for this one's."""

    input: Path
    output: Path
    cache: Path | None
    new_cache: Path | None
    short_side: int
    limits: Limits

    def __post_init__(self) -> None:
        if not 32 <= self.short_side <= 2048:
            raise InputError(f"short-side {self.short_side} is out of bounds.", "Use 32 to 2048 pixels.")


class Task(NamedTuple):
    """An image to prepare; the fields are columns of the listing."""

    key: str
    path: str
    member: bytes
    split: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """This host's share of the data set: the files that are left in `listing`."""

    reader: archive.Reader
    listing: Listing
    folders: tuple[str, ...]
    source_sha256: str


def main(arguments: list[str] | None = None) -> None:
    settings = _parse(arguments)
    if reason := extras.ensure(extras.DECODING):
        print(f"Pillow decodes all images, at a fourth of the speed: {reason}", flush=True)
    hosts = container.hosts()
    shards = [f"shards/{split}/{hosts.current}-*.tar" for split in SPLITS]
    with ExitStack() as stack:
        staging = stack.enter_context(staged(settings.output, replaces=shards))
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=PARTIAL, dir=settings.output)))
        memory = stack.enter_context(staged(settings.new_cache)) if settings.new_cache else scratch
        part, decoded = prepare(settings, hosts, staging, scratch, memory)
        counts = ", ".join(f"{split} {len(part.images[split])}" for split in SPLITS)
    print(
        f"prepared: {len(part.classes)} classes, {counts}; {part.quarantined} of {part.files_seen} files in quarantine;"
        f" {decoded} had to be decoded"
    )


def prepare(
    settings: Settings, hosts: container.Hosts, staging: Path, scratch: Path, memory: Path
) -> tuple[Manifest, int]:
    """Prepare this host's share of the data set into `staging`; its manifest, and how many images were decoded.

    What was found out about them goes to `memory`. Raises InputError for input that cannot be read, and, with one host,
    for a data set that breaks a limit; with several, `manifest.load` applies the limits to the whole.
    """
    folder = known.folder_name(settings.short_side, settings.limits.max_pixels)
    earlier = known.load(settings.cache / folder) if settings.cache else Known()
    with Workers(_start_worker, settings, earlier) as workers:
        plan = _plan(settings, hosts, workers, scratch)
        _check_disk(plan, staging)
        recorder = Recorder(memory / folder)
        decoded = _write_images(plan, hosts, workers, staging, recorder)
        recorder.finish()
    left_out = plan.listing.left_out()
    part = _manifest(plan, settings, hosts, len(left_out))
    if hosts.count == 1:
        manifest.check_limits(part, left_out)
        _warn_of_small_classes(part)
    manifest.write_part(staging, part, left_out)
    write_sample(staging, hosts.current)
    return part, decoded


def _plan(settings: Settings, hosts: container.Hosts, workers: Workers, scratch: Path) -> Plan:
    source = archive.open_source(settings.input, scratch)
    listing = source.listing
    source_sha256 = _source_digest(listing)
    layout = splits.find_layout(source)
    if not layout.has_splits:
        _hash_all(workers, source)
        splits.assign_splits(listing)
    label_of = {folder: label for label, folder in enumerate(layout.folders)}
    listing.keep(lambda path: splits.host_of(path, hosts.count) == hosts.index)
    for place in listing.files(Placed):
        listing.update(place.path, key=splits.image_key(place.split, place.path), label=label_of[place.folder])
    return Plan(reader=source.reader, listing=listing, folders=layout.folders, source_sha256=source_sha256)


def _hash_all(workers: Workers, source: archive.Source) -> None:
    """Hash every possible image of the whole data set: all hosts must assign the same splits."""
    progress = container.Progress("hashing", len(source.listing), "files")
    for path, digest in workers.map(partial(_digest, source.reader), source.listing.files(Member)):
        progress.step()
        source.listing.update(path, sha256=digest)


def _source_digest(listing: Listing) -> str:
    digest = hashlib.sha256()
    for path, member in listing.files(Member):
        digest.update(f"{path}\0{archive.size(member)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _check_disk(plan: Plan, staging: Path) -> None:
    """Better now than after hours. Raises InputError."""
    needed = sum(min(archive.size(file.member), USUAL_BYTES) for file in plan.listing.files(Member))
    free = shutil.disk_usage(staging).free
    if needed > free:
        raise InputError(
            f"The prepared images take about {needed / 2**30:.1f} GiB; {free / 2**30:.1f} GiB of disk are free.",
            "Raise the job's VolumeSizeInGB, or ProcessingInstanceCount, so that each instance takes a share.",
        )


def _write_images(plan: Plan, hosts: container.Hosts, workers: Workers, staging: Path, recorder: Recorder) -> int:
    """Write shards in key order; how many images were decoded. What cannot be used moves to the files left out."""
    listing = plan.listing
    decoded = 0
    progress = container.Progress("preparing", len(listing))
    handed_out: deque[Task] = deque()

    def files() -> Iterator[tuple[str, bytes]]:
        for task in listing.files(Task, order=BY_KEY):
            handed_out.append(task)
            yield task.path, task.member

    with ExitStack() as stack:
        writers = {split: stack.enter_context(ShardWriter(staging, split, hosts.current)) for split in SPLITS}
        for result in workers.map(partial(_prepare, plan.reader), files()):
            progress.step()
            task = handed_out.popleft()
            decoded += not result.was_known
            if result.rejected:
                listing.leave_out(task.path, result.rejected)
                listing.remove(task.path)
                continue
            writers[task.split].add(task.key, result.jpeg)
            listing.update(task.path, sha256=result.digest.hex())
            if not result.was_known:
                recorder.add(result.digest, None if result.is_original else result.jpeg)
    progress.finish()
    return decoded


def _manifest(plan: Plan, settings: Settings, hosts: container.Hosts, quarantined: int) -> Manifest:
    return Manifest(
        hosts=hosts.names,
        host=hosts.current,
        classes=splits.display_names(plan.folders),
        folders=plan.folders,
        images={split: plan.listing.files(Record, order=BY_KEY, split=split) for split in SPLITS},
        files_seen=len(plan.listing) + quarantined,
        quarantined=quarantined,
        source_sha256=plan.source_sha256,
        limits=settings.limits,
    )


def _warn_of_small_classes(part: Manifest) -> None:
    small = [part.folders[label] for label, count in enumerate(part.counts["train"]) if count < FEW_IMAGES]
    if small:
        named = ", ".join(small[: manifest.EXAMPLES]) + (", …" if len(small) > manifest.EXAMPLES else "")
        print(f"warning: {len(small)} classes have fewer than {FEW_IMAGES} images to learn from: {named}", flush=True)


class Result(NamedTuple):
    """Of one file: its sha256 and the JPEG for a shard, or why there is none."""

    digest: bytes = b""
    jpeg: bytes = b""
    is_original: bool = False
    was_known: bool = False
    rejected: str = ""


_settings: Settings
_earlier: Known


def _start_worker(settings: Settings, earlier: Known) -> None:
    global _settings, _earlier
    _settings, _earlier = settings, earlier


def _digest(reader: archive.Reader, path: str, member: bytes) -> tuple[str, str | None]:
    try:
        data = reader.read(path, member)
        images.check_looks_like_an_image(data)
    except images.Rejected:
        return path, None
    return path, hashlib.sha256(data).hexdigest()


def _prepare(reader: archive.Reader, path: str, member: bytes) -> Result:
    try:
        data = reader.read(path, member)
        digest = hashlib.sha256(data).digest()
        if jpeg := _earlier.jpeg_of(digest, data):
            return Result(digest, jpeg, was_known=True)
        jpeg = images.prepare(data, max_pixels=_settings.limits.max_pixels, short_side=_settings.short_side)
    except images.Rejected as reason:
        return Result(rejected=str(reason))
    return Result(digest, jpeg, is_original=jpeg is data)


def _parse(arguments: list[str] | None) -> Settings:
    parser = container.ArgumentParser(description=__doc__)
    parser.add_argument("--input", type=Path, default=container.base_dir() / "processing/input/raw")
    parser.add_argument("--output", type=Path, default=container.base_dir() / "processing/output/prepared")
    parser.add_argument("--cache", type=Path, help="what earlier runs left in their --new-cache, all together")
    parser.add_argument("--new-cache", type=Path, help="where to write what this run found out")
    parser.add_argument("--max-broken-fraction", type=float, default=Limits.max_broken_fraction, help="0 to 1")
    parser.add_argument("--max-duplicates", type=int, default=Limits.max_duplicates, help="images in two splits")
    parser.add_argument("--max-pixels", type=int, default=Limits.max_pixels, help="width x height of one image")
    parser.add_argument("--short-side", type=int, default=256, help="pixels")
    given = vars(parser.parse_args(arguments))
    limits = Limits(**{each.name: given.pop(each.name) for each in fields(Limits)})
    return Settings(**given, limits=limits)


if __name__ == "__main__":
    container.run(main)
