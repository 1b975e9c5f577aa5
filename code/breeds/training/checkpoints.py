"""Checkpoints: a training that was cut off goes on from the last one as if nothing had happened.

One file per training, `<fingerprint>.pt`, over what decides its result: hyperparameters, features, data, processes. So
a directory may be shared by any trainings (it is an S3 prefix that SageMaker keeps in step): each finds its own file
only, leaves the others as they are, and says once what they differ in.
"""

import hashlib
import json
import os
import pickle
import time
from pathlib import Path
from typing import Any

import torch

from breeds.base.container import InputError, first_line
from breeds.base.distributed import World

ASK_EVERY = 10  # steps between two looks at rank 0's clock, which the ranks have to agree on


class Checkpoints:
    """The checkpoints of one training; without a directory every method does nothing.

    `identity`: plain values that decide the result. `seconds`: between two checkpoints within an epoch.
    """

    def __init__(self, directory: Path | None, identity: dict[str, Any], world: World, seconds: float):
        self.directory, self.identity, self.world, self.seconds = directory, identity, world, seconds
        text = json.dumps(identity, sort_keys=True)
        self.path = (directory or Path()) / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.pt"
        self._saved_at = time.monotonic()
        self._asked = 0
        self.state: dict[str, Any] | None = None

    def load(self) -> None:
        """Read `state`, what the last `save` was given; None for a new training. Rank 0 reads for all ranks.

        Raises InputError for a damaged file: starting again might not be wanted, and it is kept.
        """
        if self.directory is not None:
            self.state = self.world.broadcast_from_main(self._read(self.directory) if self.world.is_main else None)

    @property
    def phase(self) -> str | None:
        """The phase in which the training was cut off; None for a new training."""
        return self.state["phase"] if self.state else None

    def due(self) -> bool:
        """Whether to save now, within an epoch: the same answer on every rank, which must all ask after each step."""
        self._asked += 1
        if self.directory is None or self._asked % ASK_EVERY:
            return False
        return self.world.broadcast_from_main(time.monotonic() - self._saved_at >= self.seconds)

    def save(self, state: dict[str, Any]) -> None:
        """Replace the last checkpoint atomically; rank 0 writes. `state`: tensors and plain values only."""
        self._saved_at = time.monotonic()
        if self.directory is None or not self.world.is_main:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".part")
        torch.save({"format": 1, "identity": self.identity, "state": state}, unfinished)
        os.replace(unfinished, self.path)

    def finish(self) -> None:
        """Replace the checkpoint by a note that it is no longer needed: SageMaker never deletes one in S3."""
        self.save({})

    def _read(self, directory: Path) -> dict[str, Any] | None:
        others = [path for path in sorted(directory.glob("*.pt")) if path != self.path]
        unfinished = [(path, identity) for path in others if (identity := _unfinished(path))]
        if unfinished and not self.path.exists():
            path, identity = unfinished[0]
            more = f" and {len(unfinished) - 1} more" if len(unfinished) > 1 else ""
            print(
                f"checkpoint {path.name}{more} is another training's and stays unused: "
                f"{_difference(identity, self.identity)}",
                flush=True,
            )
        if not self.path.exists():
            return None
        state = _load(self.path)["state"]
        if not state:
            return None
        print(f"resuming from checkpoint {self.path.name}: {describe(state)}", flush=True)
        return state


def describe(state: dict[str, Any]) -> str:
    """Phase, epoch and step of a state, for the log."""
    return f"{state['phase']}, epoch {state['epoch']}, step {state['step']}"


def _unfinished(path: Path) -> dict[str, Any] | None:
    """The identity of another training's checkpoint; None for one that is finished or damaged."""
    try:
        content = _load(path)
    except InputError:
        return None
    return content["identity"] if content["state"] else None


def _load(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        if content["format"] == 1:
            return content
        reason = f"format {content['format']}"
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, TypeError, pickle.UnpicklingError) as error:
        reason = first_line(error)[:200]
    raise InputError(
        f"The checkpoint {path} cannot be used: {reason}.", "Remove it (also in S3) to train from the start."
    ) from None


def _difference(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """The first few values that differ, by name."""
    names = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    shown = [
        f"{name.replace('_', '-')} {_short(theirs.get(name))} there, {_short(ours.get(name))} here"
        for name in names[:3]
    ]
    return "; ".join(shown) + ("; …" if len(names) > 3 else "")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 20 else f"{text[:17]}…"
