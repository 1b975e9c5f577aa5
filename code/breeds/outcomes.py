"""What a training's labels, predictions and inputs say, gathered while it runs: for the rules that judge the outcome.

Watches the loss module (its inputs are logits and labels) and the model's inputs, so a training loop needs no call.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

FINGERPRINT_VALUES = 256


@dataclass
class Outcomes:
    """Of one process: under DDP, its share of the images. Tensors stay on their device until a phase ends.

    `pop_training` gives the labels of the first training phase only: they are the same in each.
    """

    _labels: list[Tensor] = field(default_factory=list)
    _predictions: list[Tensor] = field(default_factory=list)
    _inputs: list[Tensor] = field(default_factory=list)
    _trained_on: Tensor | None = None
    _counted: bool = False
    num_classes: int = 0

    def add(self, logits: Tensor, targets: Tensor, *, training: bool) -> None:
        """logits [n, num_classes]; targets [n] or, mixed, [n, num_classes]: then the label with the larger part."""
        if logits.ndim != 2 or (training and self._counted):
            return
        self.num_classes = logits.shape[1]
        self._labels.append(targets.detach() if targets.ndim == 1 else targets.detach().argmax(dim=1))
        if not training:
            self._predictions.append(logits.detach().argmax(dim=1))

    def add_inputs(self, inputs: Tensor) -> None:
        """[n, …] floating point."""
        if inputs.ndim > 1 and inputs.is_floating_point():
            self._inputs.append(fingerprints(inputs.detach()))

    def pop_training(self) -> dict[str, np.ndarray]:
        if self._inputs:
            seen = self._inputs if self._trained_on is None else [self._trained_on, *self._inputs]
            self._trained_on, self._inputs = torch.cat(seen).unique(), []
        labels, self._labels, self._counted = self._labels, [], True
        return {"training_labels": _joined(labels)} if labels else {}

    def pop_validation(self) -> dict[str, np.ndarray]:
        """Labels and predictions [n] in the order of evaluation, the number of classes, and the share of inputs that
        training saw too, bit by bit."""
        saved: dict[str, np.ndarray] = {}
        if self._predictions:
            saved["validation_labels"] = _joined(self._labels)
            saved["validation_predictions"] = _joined(self._predictions)
            saved["validation_num_classes"] = np.array(self.num_classes, np.int64)
        if self._inputs and self._trained_on is not None:
            seen = torch.isin(torch.cat(self._inputs), self._trained_on)
            saved["validation_inputs_seen"] = np.array(seen.double().mean().item())
        self._labels, self._predictions, self._inputs = [], [], []
        return saved


def fingerprints(inputs: Tensor) -> Tensor:
    """int64 [n]: equal for equal rows, whatever batch they come in; unequal ones agree with a chance of 2**-64 or so.

    Whole numbers made of the values' bits: sums of floating-point numbers depend on how they are grouped.
    """
    rows = inputs.flatten(1)
    bits = rows[:, :: -(-rows.shape[1] // FINGERPRINT_VALUES)].float().contiguous().view(torch.int32).long()
    weights = torch.randint(2**62, (bits.shape[1],), generator=torch.Generator().manual_seed(0))
    return (bits * (2 * weights + 1).to(bits.device)).sum(dim=1)


def _joined(parts: list[Tensor]) -> np.ndarray:
    return torch.cat(parts).cpu().numpy().astype(np.int32)
