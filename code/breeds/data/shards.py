"""Prepared images on disk: WebDataset tar shards, byte-identical for identical input, and a sample of them."""

import io
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from breeds.base.container import InputError, host_number
from breeds.data import images
from breeds.data import manifest as manifests
from breeds.data.tars import add_member, members

IMAGES_PER_SHARD = 1000
SAMPLE = 16  # train images of each host that lie beside the manifest, for readers without all shards
PICTURE_SIDE = 256  # pixels that readers work on; a stored photo may be larger


class ShardWriter:
    """Writes one host's images of one split to `shards/<split>/<host>-<nnnnn>.tar`; a context manager.

    The first shard is written even without an image: a job's input, and each host's share of it, needs an object.
    """

    def __init__(self, directory: Path, split: str, host: str) -> None:
        self.folder = _folder(directory, split)
        self.host = host
        self.folder.mkdir(parents=True, exist_ok=True)
        self._written = 0
        self._tar: tarfile.TarFile | None = None

    def __enter__(self) -> "ShardWriter":
        self._next()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def add(self, key: str, jpeg: bytes) -> None:
        if self._written and self._written % IMAGES_PER_SHARD == 0:
            self._next()
        assert self._tar is not None
        add_member(self._tar, f"{key}.jpg", jpeg)
        self._written += 1

    def _next(self) -> None:
        self._close()
        path = self.folder / f"{self.host}-{self._written // IMAGES_PER_SHARD:05d}.tar"
        self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115

    def _close(self) -> None:
        if self._tar is not None:
            self._tar.close()
            self._tar = None


def shard_paths(directory: Path, split: str) -> list[Path]:
    """The split's shards on this host, sorted by name; there may be none."""
    return sorted(_folder(directory, split).glob("*.tar"))


def write_sample(directory: Path, host: str) -> None:
    """Put the first SAMPLE train images of a host's shards beside the manifest: `manifest/sample-<host>.tar`."""
    own = sorted(_folder(directory, "train").glob(f"{host}-*.tar"))
    (directory / manifests.FOLDER).mkdir(parents=True, exist_ok=True)
    with tarfile.open(directory / manifests.FOLDER / f"sample-{host}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for key, jpeg in islice((item for path in own for item in read_shard(path)), SAMPLE):
            add_member(tar, f"{key}.jpg", jpeg)


def read_sample(directory: Path) -> list[bytes]:
    """JPEG bytes of SAMPLE train images (all, of fewer): the same on every host, whichever shards it has.

    Raises InputError where there is none.
    """
    paths = sorted((directory / manifests.FOLDER).glob("sample-*.tar"), key=lambda path: host_number(path.stem))
    found = list(islice((jpeg for path in paths for _, jpeg in read_shard(path)), SAMPLE))
    if not found:
        raise InputError(f"{directory} holds a manifest but no sample of train images.", "Run the Prepare step again.")
    return found


def read_shard(path: Path) -> Iterator[tuple[str, bytes]]:
    """(key, JPEG bytes) of each image of one shard, in order. Raises InputError for a damaged shard."""
    with _opened(path) as tar:
        for member in members(tar):
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


def sample_jpegs(directory: Path, split: str, count: int, seed: int) -> list[bytes]:
    """JPEG bytes of `count` images of a split (all, where it has fewer), drawn by `seed`; reads no others."""
    keys = sorted(manifests.load(directory).labels(split))
    return list(jpegs_of(directory, split, np.random.default_rng(seed).permutation(keys)[:count].tolist()).values())


def jpegs_of(directory: Path, split: str, keys: Iterable[str]) -> dict[str, bytes]:
    """JPEG bytes of these images by their keys, in the order of the shards; reads no others."""
    chosen = set(keys)
    found = {}
    for path in shard_paths(directory, split):
        with _opened(path) as tar:
            for member in members(tar):
                key = member.name.removesuffix(".jpg")
                file = tar.extractfile(member) if key in chosen else None
                if file is not None:
                    found[key] = file.read()
    return found


def _folder(directory: Path, split: str) -> Path:
    return directory / "shards" / split


def decode(jpeg: bytes) -> Image.Image:
    """A stored JPEG as an RGB picture of short side 256, or less where it is smaller."""
    return Image.fromarray(pixels(jpeg))


def pixels(jpeg: bytes, short_side: int = PICTURE_SIDE) -> np.ndarray:
    """uint8 [height, width, 3] of a stored JPEG, its short side at most `short_side`."""
    with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as header:
        side, count = min(short_side, *header.size), header.width * header.height
    return images.picture(jpeg, side, max_pixels=count)
