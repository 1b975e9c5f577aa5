"""Feature arrays on disk: what Embed writes once and Tune and Train read again and again."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType

import numpy as np

from breeds.base.container import InputError, host_number

INFO_FILE = "features.json"
FORMAT = 2  # format 1: the center view was a crop of the size of the random ones


@dataclass(frozen=True)
class Features:
    """One split: a memory-mapped float16 part [views, n_i, d] per host; labels int64 [n]; n keys."""

    parts: list[np.ndarray]
    labels: np.ndarray
    keys: list[str]

    @property
    def views(self) -> int:
        return self.parts[0].shape[0]

    def take(self, views: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """float16 [b, d]: image `indices[i]` in view `views[i]`."""
        if len(self.parts) == 1:
            return self.parts[0][views, indices]
        found = np.empty((len(indices), self.parts[0].shape[2]), np.float16)
        first = 0
        for part in self.parts:
            here = (first <= indices) & (indices < first + part.shape[1])
            found[here] = part[views[here], indices[here] - first]
            first += part.shape[1]
        return found


class Writer:
    """Writes one host's share of a split block by block; it never is in memory as a whole. A context manager."""

    def __init__(self, directory: Path, split: str, host: str, shape: tuple[int, int, int]) -> None:
        """`shape`: (views, images, feature_dim) of all blocks together."""
        self._prefix = directory / f"{split}-{host}"
        self._shape = shape
        self._keys: list[str] = []
        self._labels: list[int] = []

    def __enter__(self) -> "Writer":
        self._file = Path(f"{self._prefix}-features.npy").open("wb")
        header = {"descr": np.dtype(np.float16).str, "fortran_order": False, "shape": self._shape}
        np.lib.format.write_array_header_1_0(self._file, header)
        self._start = self._file.tell()
        return self

    def add(self, keys: Sequence[str], labels: Sequence[int], block: np.ndarray) -> None:
        """The next images: block [views, len(keys), feature_dim]. Raises ValueError where the shapes do not agree."""
        views, images, feature_dim = self._shape
        if block.shape != (views, len(keys), feature_dim) or len(labels) != len(keys):
            raise ValueError(f"{len(keys)} keys, {len(labels)} labels and features {block.shape} do not agree")
        for view, rows in enumerate(block.astype(np.float16, copy=False)):
            self._file.seek(self._start + (view * images + len(self._keys)) * rows.itemsize * feature_dim)
            self._file.write(np.ascontiguousarray(rows).data)
        self._keys += keys
        self._labels += labels

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self._file.close()
        if kind is not None:
            return
        if len(self._keys) != self._shape[1]:
            raise ValueError(f"{len(self._keys)} images were added, not {self._shape[1]}")
        np.save(f"{self._prefix}-labels.npy", np.array(self._labels, np.int64))
        Path(f"{self._prefix}-keys.json").write_text(json.dumps(self._keys))


def save_info(directory: Path, info: dict) -> None:
    """Write features.json (fields: docs/formats.md)."""
    (directory / INFO_FILE).write_text(json.dumps({"format": FORMAT, **info}, indent=1))


def load_info(directory: Path) -> dict:
    """features.json. Raises InputError where it is missing or of another format."""
    path = directory / INFO_FILE
    if not path.is_file():
        raise InputError(
            f"{directory} holds no features ({INFO_FILE} is missing).", "Run embed.py first and give its output."
        )
    info = json.loads(path.read_text())
    if info.get("format") != FORMAT:
        raise InputError(
            f"{path} has format {info.get('format')}; this code reads format {FORMAT}.", "Run the Embed step again."
        )
    return info


def load(directory: Path, split: str) -> Features:
    """All hosts' parts of a split in host order, memory-mapped: what is not read costs no memory.

    Raises InputError when there are none, or fewer or more images than features.json counts.
    """
    info = load_info(directory)
    names = [path.name for path in directory.glob(f"{split}-*-features.npy")]
    found = sorted((n.removeprefix(f"{split}-").removesuffix("-features.npy") for n in names), key=host_number)
    parts = [np.load(directory / f"{split}-{host}-features.npy", mmap_mode="c") for host in found]
    labels = [np.load(directory / f"{split}-{host}-labels.npy") for host in found]
    keys = [json.loads((directory / f"{split}-{host}-keys.json").read_text()) for host in found]
    total = sum(map(len, keys))
    counted = info["counts"].get(split, 0)
    if not parts or total != counted:
        advice = "A host's part is missing or stale: run the Embed step again."
        if total > counted:
            advice = (
                "Hosts embedded the same images, or parts of another run lie beside theirs: divide the shards among "
                "them (S3DataDistributionType ShardedByS3Key) and run the Embed step again into an empty place."
            )
        raise InputError(f"{directory} holds {total} {split} features; {INFO_FILE} counts {counted}.", advice)
    return Features(parts, np.concatenate(labels), list(chain.from_iterable(keys)))
