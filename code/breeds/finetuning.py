"""Fine-tuning the backbone's last stages on images: the images in memory, and the classifier in its training form."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from breeds import images, shards
from breeds.model import Classifier, Head
from breeds.training import ImageBatches


class FineTuned(Classifier):
    """A classifier whose backbone stays in eval mode: batch norm statistics are the pretrained ones, also in training.

    The backbone runs in bfloat16 where its features were made so; weights, gradients and the head are float32.
    """

    def __init__(self, backbone: nn.Module, head: Head, *, bf16: bool):
        super().__init__(backbone, head)
        self.bf16 = bf16

    def train(self, mode: bool = True) -> "FineTuned":
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, batch: Tensor) -> Tensor:
        with torch.autocast(batch.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            features = self.backbone(batch)
        return self.head(features.float())


def load_images(directory: Path, split: str, info: dict, device: torch.device) -> ImageBatches:
    """A split of the prepared images as centre squares of side `info["resize"]`, uint8 in memory (196 KiB at 256)."""
    squares, labels = [], []
    for _key, label, jpeg in shards.read_jpegs(directory, split):
        squares.append(centre_square(shards.decode(jpeg), info["resize"]))
        labels.append(label)
    return ImageBatches(
        torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2),
        torch.tensor(labels),
        num_classes=len(info["classes"]),
        image_size=info["image_size"],
        mean=info["mean"],
        std=info["std"],
        device=device,
    )


def centre_square(image: Image.Image, side: int) -> np.ndarray:
    """uint8 [side, side, 3]: the short side resized to `side`, the middle of the long one."""
    image = images.resize_short_side(image, side)
    left, top = round((image.width - side) / 2), round((image.height - side) / 2)
    return np.asarray(image.crop((left, top, left + side, top + side)))
