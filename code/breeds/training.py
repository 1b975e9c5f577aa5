"""The pieces of a training loop: where batches come from, how they are mixed, when to stop."""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from breeds.container import InputError
from breeds.distributed import World
from breeds.features import Features
from breeds.metrics import EpochMetrics

EVALUATION_BATCH = 1024


class Batches(Protocol):
    """A split in memory. `take(indices, generator)` gives inputs; a generator means training, None evaluation."""

    labels: Tensor
    num_classes: int

    def take(self, indices: Tensor, generator: torch.Generator | None) -> Tensor: ...


class FeatureBatches:
    """Features float16 [views, n, d] in memory; training takes a random view of each image, evaluation view 0."""

    def __init__(self, split: Features, *, num_classes: int, device: torch.device):
        self.num_classes = num_classes
        self.features = torch.from_numpy(split.features).to(device)
        self.labels = torch.from_numpy(split.labels).to(device)

    def take(self, indices: Tensor, generator: torch.Generator | None) -> Tensor:
        indices = indices.to(self.features.device)
        if generator is None:
            return self.features[0, indices].float()
        views = torch.randint(len(self.features), (len(indices),), generator=generator).to(indices.device)
        return self.features[views, indices].float()


class ImageBatches:
    """Images uint8 [n, 3, s, s] in memory; training takes a random crop and flip, evaluation the centre crop.

    Batches are float32 [b, 3, image_size, image_size] on `device`, normalised.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        num_classes: int,
        image_size: int,
        mean: list[float],
        std: list[float],
        device: torch.device,
    ):
        self.images, self.labels = images, labels.to(device)
        self.num_classes, self.image_size, self.device = num_classes, image_size, device
        self.mean = torch.tensor(mean, device=device).view(3, 1, 1)
        self.std = torch.tensor(std, device=device).view(3, 1, 1)

    def take(self, indices: Tensor, generator: torch.Generator | None) -> Tensor:
        room = self.images.shape[-1] - self.image_size
        crops = []
        for index in indices.tolist():
            top = left = room // 2
            flip = False
            if generator is not None:
                top, left, coin = torch.randint(2**30, (3,), generator=generator).tolist()
                top, left, flip = top % (room + 1), left % (room + 1), coin % 2 == 1
            crop = self.images[index, :, top : top + self.image_size, left : left + self.image_size]
            crops.append(crop.flip(-1) if flip else crop)
        return (torch.stack(crops).to(self.device).float() / 255 - self.mean) / self.std


def training_batches(
    batches: Batches, *, batch_size: int, order: torch.Generator, draws: torch.Generator, world: World
) -> Iterator:
    """Yield (inputs, labels, share) over one epoch in random order, `batch_size` images over all ranks together.

    `order` must be in the same state on every rank; `draws` picks views and crops, and may be each rank's own.

    `share` scales a rank's mean loss so that the gradient averaged over ranks is the mean over the whole batch, even
    where the last batch does not divide evenly. A last batch smaller than the number of ranks is left out.
    """
    for indices in torch.randperm(len(batches.labels), generator=order).split(batch_size):
        if len(indices) < world.size:
            return
        mine = world.share(indices)
        yield batches.take(mine, draws), batches.labels[mine], len(mine) * world.size / len(indices)


def evaluation_batches(batches: Batches, *, world: World, batch_size: int = EVALUATION_BATCH) -> Iterator:
    """Yield (inputs, labels) of this rank's share; the ranks together see each image exactly once."""
    for indices in world.share(torch.arange(len(batches.labels))).split(batch_size):
        if len(indices):
            yield batches.take(indices, None), batches.labels[indices]


def cosine(step: int, total_steps: int) -> float:
    """The learning rate's factor on a cosine from 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * step / total_steps))


def check_finite(loss: float, epoch: int, step: int, learning_rate: float) -> None:
    """Raises InputError for a loss that is NaN or infinite: nothing after it would mean anything."""
    if not math.isfinite(loss):
        raise InputError(
            f"The training loss became {loss} in epoch {epoch}, step {step}.",
            f"Lower the learning rate (it is {learning_rate:g}), or look for broken values in the features.",
        )


@torch.no_grad()
def predict(model: nn.Module, batches: Batches) -> tuple[Tensor, Tensor]:
    """(logits [n, num_classes], labels [n]) of a whole split, whatever the number of ranks."""
    model.eval()
    alone = World(rank=0, size=1, device=batches.labels.device)
    logits = [model(inputs) for inputs, _ in evaluation_batches(batches, world=alone)]
    return torch.cat(logits), batches.labels


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


@dataclass
class Best:
    """The best epoch so far, its weights, and whether waiting for a better one has become pointless.

    Best is the lowest validation loss: on a few hundred images the accuracy of neighbouring epochs differs by luck.
    Patience counts epochs without a better accuracy, because a smoothed loss goes on falling after all is learned.
    """

    patience: int
    metrics: EpochMetrics | None = None
    state: dict[str, Tensor] = field(default_factory=dict)
    highest_accuracy: float = -1.0
    epochs_without_gain: int = 0

    def update(self, metrics: EpochMetrics, model: nn.Module) -> None:
        if self.metrics is None or metrics.validation_loss < self.metrics.validation_loss:
            self.metrics, self.state = metrics, copy.deepcopy(model.state_dict())
        gained = metrics.validation_accuracy > self.highest_accuracy
        self.epochs_without_gain = 0 if gained else self.epochs_without_gain + 1
        self.highest_accuracy = max(self.highest_accuracy, metrics.validation_accuracy)

    @property
    def should_stop(self) -> bool:
        return self.epochs_without_gain >= self.patience


def optimizer(name: str, parameters: list[nn.Parameter], *, learning_rate: float, weight_decay: float):
    """adamw (decoupled weight decay) or adam (L2)."""
    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
    return kinds[name](parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)
