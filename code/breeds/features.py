"""Feature arrays on disk: what Embed writes once and Tune and Train read again and again."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from breeds.container import InputError, host_number

INFO_FILE = "features.json"


@dataclass(frozen=True)
class Features:
    """One split: features float16 [views, n, d], labels int64 [n], keys: n image keys in the same order."""

    features: np.ndarray
    labels: np.ndarray
    keys: list[str]


def save(directory: Path, split: str, host: str, part: Features) -> None:
    """Write one host's share of a split. Raises ValueError when the arrays do not agree with each other."""
    n = len(part.keys)
    if part.features.ndim != 3 or part.features.shape[1] != n or part.labels.shape != (n,):
        raise ValueError(f"features {part.features.shape}, labels {part.labels.shape} and {n} keys do not agree")
    np.save(directory / f"{split}-{host}-features.npy", part.features.astype(np.float16, copy=False))
    np.save(directory / f"{split}-{host}-labels.npy", part.labels.astype(np.int64, copy=False))
    (directory / f"{split}-{host}-keys.json").write_text(json.dumps(part.keys))


def save_info(directory: Path, info: dict) -> None:
    """Write features.json (fields: docs/formats.md)."""
    (directory / INFO_FILE).write_text(json.dumps({"format": 1, **info}, indent=1))


def load_info(directory: Path) -> dict:
    """features.json. Raises InputError where it is missing or of another format."""
    path = directory / INFO_FILE
    if not path.is_file():
        raise InputError(
            f"{directory} holds no features ({INFO_FILE} is missing).", "Run embed.py first and give its output."
        )
    info = json.loads(path.read_text())
    if info.get("format") != 1:
        raise InputError(
            f"{path} has format {info.get('format')}; this code reads format 1.", "Run the Embed step again."
        )
    return info


def load(directory: Path, split: str) -> Features:
    """All hosts' parts of a split, joined in host order.

    Raises InputError when there are none, or fewer or more images than features.json counts.
    """
    info = load_info(directory)
    names = [path.name for path in directory.glob(f"{split}-*-features.npy")]
    found = sorted((n.removeprefix(f"{split}-").removesuffix("-features.npy") for n in names), key=host_number)
    parts = [_load_part(directory, split, host) for host in found]
    total = sum(len(part.keys) for part in parts)
    if not parts or total != info["counts"][split]:
        raise InputError(
            f"{directory} holds {total} {split} features; {INFO_FILE} counts {info['counts'].get(split, 0)}.",
            "A host's part is missing or stale: run the Embed step again.",
        )
    return Features(
        np.concatenate([part.features for part in parts], axis=1),
        np.concatenate([part.labels for part in parts]),
        _join(part.keys for part in parts),
    )


def _load_part(directory: Path, split: str, host: str) -> Features:
    prefix = f"{split}-{host}"
    return Features(
        np.load(directory / f"{prefix}-features.npy"),
        np.load(directory / f"{prefix}-labels.npy"),
        json.loads((directory / f"{prefix}-keys.json").read_text()),
    )


def _join(lists: Iterable[list[str]]) -> list[str]:
    return [key for keys in lists for key in keys]
