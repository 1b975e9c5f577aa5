"""What a training's labels, predictions and inputs say, gathered while it runs: for the rules that judge the outcome.

Watches the loss module (its inputs are logits and labels) and the model's inputs, so a training loop needs no call.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

# How many values identify an input. Each feature depends on the whole image; a pixel does not, so more are needed.
FEATURE_VALUES, PIXEL_VALUES = 32, 256
ROWS_AT_ONCE = 4096  # fingerprints are made for many batches at once: a head's batches are small


@dataclass
class Outcomes:
    """Of one process: under DDP, its share of the images. Tensors stay on their device until a phase ends or is
    large.

    `pop_training` gives the labels of the first training phase only: they are the same in each.
    """

    _labels: list[Tensor] = field(default_factory=list)
    _predictions: list[Tensor] = field(default_factory=list)
    _rows: list[Tensor] = field(default_factory=list)  # of this phase, not yet among `_inputs`
    _inputs: list[np.ndarray] = field(default_factory=list)
    _trained_on: np.ndarray | None = None
    _counted: bool = False
    num_classes: int = 0

    def add(self, logits: Tensor, targets: Tensor, *, training: bool) -> None:
        """logits [n, num_classes]; targets [n] or, with mixup, [n, num_classes]: then the likeliest label counts."""
        if logits.ndim != 2 or (training and self._counted):
            return
        self.num_classes = logits.shape[1]
        self._labels.append(targets.detach() if targets.ndim == 1 else targets.detach().argmax(dim=1))
        if not training:
            self._predictions.append(logits.detach().argmax(dim=1))

    def add_inputs(self, inputs: Tensor) -> None:
        """[n, …] floating point."""
        if inputs.ndim > 1 and inputs.is_floating_point():
            self._rows.append(some_values(inputs.detach()))
            if len(self._rows) * len(inputs) >= ROWS_AT_ONCE:
                self._make_fingerprints()

    def _make_fingerprints(self) -> None:
        # The batches of a phase may come from several places: only rows of one width can be stacked.
        for width in {rows.shape[1] for rows in self._rows}:
            alike = [rows for rows in self._rows if rows.shape[1] == width]
            self._inputs.append(fingerprints(torch.cat(alike)).cpu().numpy())
        self._rows = []

    def pop_training(self) -> dict[str, np.ndarray]:
        """The labels [n] of a first training phase, else nothing; its inputs are remembered as seen."""
        self._make_fingerprints()
        if self._inputs:
            seen = self._inputs if self._trained_on is None else [self._trained_on, *self._inputs]
            self._trained_on, self._inputs = np.unique(np.concatenate(seen)), []
        labels, self._labels, self._counted = self._labels, [], True
        return {"training_labels": _joined(labels)} if labels else {}

    def pop_validation(self) -> dict[str, np.ndarray]:
        """Labels and predictions [n] in the order of evaluation, the number of classes, and the share of inputs that
        training saw too, bit by bit."""
        self._make_fingerprints()
        saved: dict[str, np.ndarray] = {}
        if self._predictions:
            saved["validation_labels"] = _joined(self._labels)
            saved["validation_predictions"] = _joined(self._predictions)
            saved["validation_num_classes"] = np.array(self.num_classes, np.int64)
        if self._inputs and self._trained_on is not None:
            # numpy finds them in a fifth of torch's time.
            saved["validation_inputs_seen"] = np.array(np.isin(np.concatenate(self._inputs), self._trained_on).mean())
        self._labels, self._predictions, self._inputs = [], [], []
        return saved

    def as_state(self) -> dict[str, Any]:
        """What a training phase has gathered and what the earlier ones left: plain values and tensors."""
        self._make_fingerprints()
        return {
            "labels": torch.cat([labels.cpu() for labels in self._labels]) if self._labels else None,
            "inputs": torch.from_numpy(np.concatenate(self._inputs)) if self._inputs else None,
            "trained_on": None if self._trained_on is None else torch.from_numpy(self._trained_on),
            "counted": self._counted,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        self._labels = [] if saved["labels"] is None else [saved["labels"]]
        self._inputs = [] if saved["inputs"] is None else [saved["inputs"].numpy()]
        self._trained_on = None if saved["trained_on"] is None else saved["trained_on"].numpy()
        self._counted = saved["counted"]

    def count_labels_again(self) -> None:
        """Gather the next training phase's labels too: those of an earlier phase were saved elsewhere."""
        self._counted = False


def some_values(inputs: Tensor) -> Tensor:
    """Evenly spaced values of each of [n, …]: float32 [n, k]."""
    rows, wanted = inputs.flatten(1), FEATURE_VALUES if inputs.ndim == 2 else PIXEL_VALUES
    return rows[:, :: -(-rows.shape[1] // wanted)].to(torch.float32, copy=True).contiguous()


def fingerprints(rows: Tensor) -> Tensor:
    """float32 [n, k] -> int64 [n]: equal for equal rows, whatever batch they come in; unequal ones agree with a chance
    of 2**-64 or so.

    Whole numbers made of the values' bits: sums of floating-point numbers depend on how they are grouped.
    """
    bits = rows.view(torch.int32).long()
    weights = torch.randint(2**62, (bits.shape[1],), generator=torch.Generator().manual_seed(0))
    return bits.mul_((2 * weights + 1).to(bits.device)).sum(dim=1)


def _joined(parts: list[Tensor]) -> np.ndarray:
    return torch.cat([part.cpu() for part in parts]).numpy().astype(np.int32)
