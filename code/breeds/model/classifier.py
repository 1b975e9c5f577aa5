"""The classifier: a backbone that turns images into features, and the head that turns features into logits."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def one_thread() -> Iterator[None]:
    """One intra-op thread inside. A head's operations are small: a second thread makes them a quarter faster, or thirty
    times slower where its core is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Head(nn.Module):
    """Linear-ReLU-Linear on standardised features: float [n, feature_dim] -> logits [n, num_classes].

    The standardisation belongs to the head because a backbone with random weights gives features of a tiny, lopsided
    scale that no learning rate suits. Its mean and std are buffers: they travel in the state dict.
    """

    mean: Tensor
    std: Tensor
    temperature: Tensor

    def __init__(self, feature_dim: int, hidden_width: int, num_classes: int, dropout: float = 0.0):
        super().__init__()
        self.register_buffer("mean", torch.zeros(feature_dim))
        self.register_buffer("std", torch.ones(feature_dim))
        self.register_buffer("temperature", torch.ones(()))
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(feature_dim, hidden_width)
        # The Debugger's `relu_input` collection finds its tensors by this attribute's name; in place, the saved input
        # would be the output.
        self.relu = nn.ReLU(inplace=False)
        self.output = nn.Linear(hidden_width, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        hidden = self.hidden(self.dropout((features - self.mean) / self.std))
        return self.output(self.dropout(self.relu(hidden)))

    def calibrated(self, features: Tensor) -> Tensor:
        """Logits [n, num_classes] whose softmax gives calibrated probabilities."""
        return self(features) / self.temperature

    @one_thread()
    def calibrate(self, logits: Tensor, labels: Tensor) -> None:
        """Set the temperature that makes held-out logits [n, num_classes] most likely (Guo et al. 2017).

        Label smoothing and dropout make a classifier underconfident. No prediction changes by this.
        """
        temperatures = torch.logspace(-1, 1, 101, device=logits.device)
        losses = torch.stack([nn.functional.cross_entropy(logits / t, labels) for t in temperatures])
        self.temperature.copy_(temperatures[losses.argmin()])

    @one_thread()
    def standardise_by(self, batches: Iterable[Tensor]) -> None:
        """Take mean and std per dimension from batches [n, feature_dim]; a constant dimension keeps std 1."""
        count, total, squares = 0, torch.zeros(()), torch.zeros(())
        for batch in batches:
            count += len(batch)
            total = total + batch.sum(dim=0, dtype=torch.float64)
            squares = squares + batch.square().sum(dim=0, dtype=torch.float64)
        mean = total / count
        std = (squares / count - mean.square()).clamp(min=0).sqrt()
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))


class Classifier(nn.Module):
    """Backbone and head as one module: normalised images [n, 3, h, w] -> logits [n, num_classes].

    Its state dict is `model.pth`: keys `backbone.*` and `head.*`.
    """

    def __init__(self, backbone: nn.Module, head: Head):
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images).float())
