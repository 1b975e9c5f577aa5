"""The steps of an optimization: seeds, optimizer, learning rate, averaged weights, the best epoch."""

import copy
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from breeds.base.container import InputError
from breeds.base.distributed import World
from breeds.base.metrics import EpochMetrics
from breeds.training.batches import Batches, plain_inputs


def make_deterministic(seed: int) -> None:
    """Seed what draws initial weights, and prefer deterministic kernels."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)


def seed_dropout(device: torch.device, seed: int) -> None:
    """Set PyTorch's global generator of `device`; torch.manual_seed, which sets all, takes a tenth of a head's step."""
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def optimizer(name: str, parameters: list[nn.Parameter], *, learning_rate: float, weight_decay: float):
    """adamw (decoupled weight decay) or adam (L2)."""
    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
    return kinds[name](parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)


def cosine(step: int, total_steps: int) -> float:
    """The learning rate's factor on a cosine from 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * step / total_steps))


def check_finite(
    loss: float, parameters: list[nn.Parameter], world: World, *, epoch: int, learning_rate: float
) -> None:
    """Raises InputError for a loss that is NaN or infinite, before it reaches the weights: all after it is worthless.

    Of several ranks only one may have seen it; the gradients are averaged, so they tell all of them in the same step.
    """
    what, value = "loss", loss
    if world.size > 1 and math.isfinite(loss):
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        what, value = "gradient", float(torch.stack(torch._foreach_norm(gradients)).sum())
    if not math.isfinite(value):
        raise InputError(
            f"The training {what} became {value} in epoch {epoch}.",
            f"Lower the learning rate (it is {learning_rate:g}), or look for broken values in the features.",
        )


class Average:
    """An exponential moving average of parameters (Polyak averaging); with decay 0 there is none.

    In the first steps the decay is (1 + t) / (10 + t), as in TensorFlow and timm: else the initial weights would
    outweigh all that a short training learned.
    """

    def __init__(self, parameters: list[nn.Parameter], decay: float):
        self.parameters, self.decay, self.steps = parameters, decay, 0
        self.values = [parameter.detach().clone() for parameter in parameters] if decay else []

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the parameters; after each step."""
        if self.decay:
            decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
            torch._foreach_lerp_(self.values, [p.detach() for p in self.parameters], 1 - decay)
            self.steps += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the parameters have their averages: what is evaluated and kept."""
        current = [parameter.detach().clone() for parameter in self.parameters] if self.decay else []
        self._set(self.values)
        yield
        self._set(current)

    def as_state(self) -> dict[str, Any]:
        return {"steps": self.steps, "values": self.values}

    def restore(self, saved: dict[str, Any]) -> None:
        self.steps = saved["steps"]
        for value, kept in zip(self.values, saved["values"], strict=True):
            value.copy_(kept)

    @torch.no_grad()
    def _set(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self.parameters if self.decay else [], values, strict=True):
            parameter.copy_(value)


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
        """Take the epoch's metrics, and the model's weights if its loss is the lowest."""
        if self.metrics is None or metrics.validation_loss < self.metrics.validation_loss:
            self.metrics, self.state = metrics, copy.deepcopy(model.state_dict())
        gained = metrics.validation_accuracy > self.highest_accuracy
        self.epochs_without_gain = 0 if gained else self.epochs_without_gain + 1
        self.highest_accuracy = max(self.highest_accuracy, metrics.validation_accuracy)

    @property
    def should_stop(self) -> bool:
        """Whether patience ran out."""
        return self.epochs_without_gain >= self.patience

    def as_state(self) -> dict[str, Any]:
        """For a checkpoint: plain values and tensors."""
        metrics = asdict(self.metrics) if self.metrics else None
        own = {name: getattr(self, name) for name in ("state", "highest_accuracy", "epochs_without_gain")}
        return {"metrics": metrics, **own}

    def restore(self, saved: dict[str, Any]) -> None:
        self.metrics = EpochMetrics(**saved["metrics"]) if saved["metrics"] else None
        self.state, self.highest_accuracy = saved["state"], saved["highest_accuracy"]
        self.epochs_without_gain = saved["epochs_without_gain"]


@torch.no_grad()
def predict(model: nn.Module, batches: Batches) -> tuple[Tensor, Tensor]:
    """(logits [n, num_classes], labels [n]) of a whole split, by this rank alone."""
    model.eval()
    return torch.cat([model(inputs) for inputs in plain_inputs(batches)]), batches.labels
