"""What earlier runs found out about images, by their sha256, so that none is decoded twice (docs/formats.md, cache)."""

import hashlib
import os
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from breeds.data.archive import opened_once
from breeds.data.tars import add_member, members

FORMAT = 1


def folder_name(short_side: int, max_pixels: int) -> str:
    """The cache's folder for these settings; other settings give other images."""
    return f"{FORMAT}-{short_side}px-{max_pixels}"


@dataclass(frozen=True)
class Known:
    """Digests (32 bytes) of the files that go into shards as they are, and where the JPEGs made of others lie."""

    whole: set[bytes] = field(default_factory=set)
    made: dict[bytes, tuple[Path, int, int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.whole) + len(self.made)

    def jpeg_of(self, digest: bytes, data: bytes) -> bytes | None:
        """What goes into a shard for the file `data` with this sha256; None where it is new."""
        if digest in self.whole:
            return data
        if digest not in self.made:
            return None
        path, offset, size = self.made[digest]
        file = opened_once(path, os.getpid())
        file.seek(offset)
        return file.read(size)


def load(folder: Path) -> Known:
    """All that earlier runs left in `folder`, which need not exist. A damaged file of it is named and left out."""
    known = Known()
    for path in sorted(folder.glob("whole-*.txt")):
        try:
            known.whole.update(bytes.fromhex(line) for line in path.read_text("ascii").split())
        except ValueError as error:
            _say_damaged(path, error)
    for path in sorted(folder.glob("made-*.tar")):
        try:
            known.made.update(_members(path))
        except (tarfile.TarError, ValueError) as error:
            _say_damaged(path, error)
    return known


def _say_damaged(path: Path, error: Exception) -> None:
    print(f"{path.name} of the cache is damaged ({error}): its images are prepared again", flush=True)


def _members(path: Path) -> dict[bytes, tuple[Path, int, int]]:
    found = {}
    with tarfile.open(path, "r:") as tar:
        for member in members(tar):
            found[bytes.fromhex(member.name.removesuffix(".jpg"))] = (path, member.offset_data, member.size)
    return found


class Recorder:
    """Writes down what is new in this run: one list and, if JPEGs had to be made, one tar."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._list = (folder / "whole").open("w", encoding="ascii")
        self._tar: tarfile.TarFile | None = None
        self._content = {"whole": hashlib.sha256(), "made": hashlib.sha256()}

    def add(self, digest: bytes, made: bytes | None) -> None:
        """The file with this sha256 went into a shard as it is, or as the JPEG that was `made` of it."""
        self._content["whole" if made is None else "made"].update(digest)
        if made is None:
            self._list.write(f"{digest.hex()}\n")
            return
        if self._tar is None:
            self._tar = tarfile.open(self.folder / "made", "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        add_member(self._tar, f"{digest.hex()}.jpg", made)

    def finish(self) -> None:
        """Give the files names made from their content: no run overwrites what another one wrote."""
        self._list.close()
        self._rename("whole", ".txt")
        if self._tar is not None:
            self._tar.close()
            self._rename("made", ".tar")

    def _rename(self, name: str, suffix: str) -> None:
        (self.folder / name).rename(self.folder / f"{name}-{self._content[name].hexdigest()[:16]}{suffix}")
