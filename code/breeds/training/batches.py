"""Where the batches of a training come from, in which order, and how they are mixed."""

import hashlib
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from breeds.base.distributed import World
from breeds.model.features import Features


class Batches(Protocol):
    """A split of the data. What training sees depends on seed, epoch and image alone, so it is the same on any number
    of processes and after a resumption.

    `order(epoch)` is a permutation of its images; `take(indices, epoch)` gives their inputs: augmented as in that
    epoch, or plain where it is None. `evaluation_batch`: images per batch in evaluation.
    """

    labels: Tensor
    num_classes: int
    evaluation_batch: int

    def order(self, epoch: int) -> Tensor: ...

    def take(self, indices: Tensor, epoch: int | None) -> Tensor: ...


class FeatureBatches:
    """Features on disk, read as they are needed; training takes a random view of each image, evaluation view 0."""

    evaluation_batch = 1024

    def __init__(self, split: Features, *, num_classes: int, device: torch.device, seed: int = 0):
        self.num_classes, self.seed, self.device = num_classes, seed, device
        self.split = split
        self.labels = torch.from_numpy(split.labels).to(device)
        self._views: tuple[int | None, np.ndarray] = None, self._draw_views(None)

    def order(self, epoch: int) -> Tensor:
        """int64 [n], a permutation decided by seed and epoch."""
        return torch.randperm(len(self.labels), generator=generator(self.seed, epoch, 0))

    def take(self, indices: Tensor, epoch: int | None) -> Tensor:
        """float32 [b, feature_dim] on `device`."""
        if self._views[0] != epoch:
            self._views = epoch, self._draw_views(epoch)
        rows = indices.cpu().numpy()
        return torch.from_numpy(self.split.take(self._views[1][rows], rows)).to(self.device).float()

    def _draw_views(self, epoch: int | None) -> np.ndarray:
        if epoch is None:
            return np.zeros(len(self.labels), np.int64)
        return torch.randint(self.split.views, (len(self.labels),), generator=generator(self.seed, epoch, 1)).numpy()


def training_batches(
    batches: Batches, *, batch_size: int, epoch: int, first_step: int, world: World
) -> Iterator[tuple[int, Tensor, Tensor, float]]:
    """Yield (step, inputs, labels, share) of one epoch from `first_step` on; `batch_size` counts all ranks' images.

    `share` scales a rank's mean loss so that the gradient averaged over ranks is the mean over the whole batch, even
    where the last batch does not divide evenly. A rank that has no image in it gets one with share 0.
    """
    for step, indices in enumerate(batches.order(epoch).split(batch_size)):
        if step >= first_step:
            mine = world.share(indices)
            share = len(mine) * world.size / len(indices)
            mine = mine if len(mine) else indices[:1]
            yield step, batches.take(mine, epoch), batches.labels[mine], share


def evaluation_batches(batches: Batches, *, world: World) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (inputs, labels) of this rank's share; the ranks together see each image exactly once."""
    for indices in world.share(torch.arange(len(batches.labels))).split(batches.evaluation_batch):
        if len(indices):
            yield batches.take(indices, None), batches.labels[indices]


def plain_inputs(batches: Batches) -> Iterator[Tensor]:
    """Yield the plain inputs of a whole split in its order, batch by batch, by this rank alone."""
    alone = World(rank=0, size=1, device=batches.labels.device)
    return (inputs for inputs, _ in evaluation_batches(batches, world=alone))


def mixup(inputs: Tensor, labels: Tensor, num_classes: int, alpha: float, generator: np.random.Generator):
    """Mix each input with another by a weight from Beta(alpha, alpha), and its target alike (Zhang et al. 2017).

    Returns inputs and class probabilities [n, num_classes]; with alpha 0 the inputs and labels unchanged.
    """
    if alpha == 0:
        return inputs, labels
    weight = float(generator.beta(alpha, alpha))
    order = torch.from_numpy(generator.permutation(len(labels))).to(labels.device)
    targets = nn.functional.one_hot(labels, num_classes).float()
    return weight * inputs + (1 - weight) * inputs[order], weight * targets + (1 - weight) * targets[order]


def generator(*numbers: int) -> torch.Generator:
    """A generator whose stream is decided by `numbers` (each >= 0)."""
    return torch.Generator().manual_seed(mixed(*numbers))


def mixed(*numbers: int) -> int:
    """One seed made of several, so that each (epoch, step, rank) has a stream of its own and none need be saved."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:8], "little") >> 1
