"""What train.py printed and wrote, for the tests of training."""

import re
from pathlib import Path

import torch

from contract import metrics


def metrics_in(text: str, name: str) -> list[float]:
    """Every value of a metric, the best epoch's last."""
    return [float(value) for value in re.findall(metrics.regex(name), text)]


def weights(model_dir: Path) -> dict[str, torch.Tensor]:
    return torch.load(model_dir / "model.pth", weights_only=True)


def same_weights(one: Path, other: Path) -> bool:
    """Whether two model directories hold bit for bit the same weights."""
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
