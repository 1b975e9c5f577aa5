"""Prepared images on disk: WebDataset tar shards, byte-identical for identical input."""

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from breeds import manifest as manifests
from breeds.container import InputError

IMAGES_PER_SHARD = 1000


class ShardWriter:
    """Writes one host's images of one split to `<split>/<host>-<nnnnn>.tar`; a context manager."""

    def __init__(self, directory: Path, split: str, host: str) -> None:
        self.folder = directory / split
        self.host = host
        self.folder.mkdir(parents=True, exist_ok=True)
        self._written = 0
        self._tar: tarfile.TarFile | None = None

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def add(self, key: str, jpeg: bytes) -> None:
        if self._written % IMAGES_PER_SHARD == 0:
            self._close()
            path = self.folder / f"{self.host}-{self._written // IMAGES_PER_SHARD:05d}.tar"
            self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        member = tarfile.TarInfo(f"{key}.jpg")
        member.size = len(jpeg)
        assert self._tar is not None
        self._tar.addfile(member, io.BytesIO(jpeg))
        self._written += 1

    def _close(self) -> None:
        if self._tar is not None:
            self._tar.close()
            self._tar = None


def shard_paths(directory: Path, split: str) -> list[Path]:
    """The split's shards in a fixed order, the same on every host."""
    return sorted((directory / split).glob("*.tar"))


def read_shard(path: Path) -> Iterator[tuple[str, bytes]]:
    """(key, JPEG bytes) of each image of one shard, in order. Raises InputError for a damaged shard."""
    with _opened(path) as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is not None:
                yield member.name.removesuffix(".jpg"), file.read()


def count(path: Path) -> int:
    """Images in a shard. Raises InputError for a damaged shard."""
    with _opened(path) as tar:
        return len(tar.getnames())


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path, "r:") as tar:
            yield tar
    except tarfile.TarError as error:
        raise InputError(f"The shard {path} is damaged ({error}).", "Run the Prepare step again.") from error


def read_jpegs(directory: Path, split: str) -> Iterator[tuple[str, int, bytes]]:
    """(key, label, JPEG bytes) of each image of a split: small enough to keep a split in memory (about 40 KB each)."""
    labels = manifests.load(directory).labels(split)
    for path in shard_paths(directory, split):
        for key, jpeg in read_shard(path):
            if key not in labels:
                raise InputError(f"{path} holds {key}, which no manifest lists.", "Run the Prepare step again.")
            yield key, labels[key], jpeg


def read_images(directory: Path, split: str) -> Iterator[tuple[str, int, np.ndarray]]:
    """(key, label, uint8 [height, width, 3]) of each image of a split, short side as prepared (256)."""
    for key, label, jpeg in read_jpegs(directory, split):
        yield key, label, np.asarray(decode(jpeg))


def decode(jpeg: bytes) -> Image.Image:
    """A prepared JPEG as an RGB picture."""
    image = Image.open(io.BytesIO(jpeg), formats=["JPEG"])
    image.load()
    return image
