"""Fine-tuning the backbone's last stages: what is trained, and the activations of the frozen stages that feed it."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from breeds.base.distributed import World
from breeds.model import backbones
from breeds.model.classifier import Head
from breeds.training.batches import Batches
from breeds.training.streaming import ImageBatches, JpegShards, memory_bound

CHUNK = 32  # images that the frozen stages see at once
ROUND = 8 * CHUNK  # images of one rank between two exchanges


def prepare(
    directory: Path,
    backbone: nn.Module,
    info: dict,
    *,
    trainable: int,
    epochs: int,
    views: int,
    max_bytes: int,
    seed: int,
    world: World,
) -> tuple[nn.Module, Batches, Batches]:
    """The last `trainable` stages of `backbone`, ready to be trained, and the train and valid splits as their input.

    `directory`: prepared images. `info`: features.json. `max_bytes`: of images and activations in memory, 0 for half of
    the memory; a quarter of it goes to the JPEGs, the rest to what the frozen stages made of them.
    """
    bound = max_bytes or memory_bound()
    frozen, stages = backbones.split_stages(backbone, info["backbone"], trainable)
    frozen.requires_grad_(False)
    stages.requires_grad_(True)
    train_set, valid_set = (
        ImageBatches(JpegShards(directory, split, bound // 8), info, device=world.device, seed=seed, num_views=views)
        for split in ("train", "valid")
    )
    if not len(frozen):
        return stages, train_set, valid_set
    network = Frozen.of(frozen, bf16=info["precision"] == "bf16", device=world.device)
    valid_inputs = StageInputs(valid_set, network, epochs=None, max_bytes=bound // 4, world=world)
    left = bound // 4 * 3 - valid_inputs.kept_bytes
    return stages, StageInputs(train_set, network, epochs=epochs, max_bytes=left, world=world), valid_inputs


class FineTuned(nn.Module):
    """The trainable stages and the head: activations of the frozen stages [n, c, h, w] -> logits [n, num_classes].

    The stages stay in eval mode: batch norm statistics are the pretrained ones, also in training. They run in bfloat16
    where the features were made so; weights, gradients and the head are float32.
    """

    def __init__(self, stages: nn.Module, head: Head, *, bf16: bool):
        super().__init__()
        self.stages, self.head, self.bf16 = stages.to(memory_format=torch.channels_last), head, bf16

    def train(self, mode: bool = True) -> "FineTuned":
        """As nn.Module.train, but the stages stay in eval mode."""
        super().train(mode)
        self.stages.eval()
        return self

    def forward(self, activations: Tensor) -> Tensor:
        with torch.autocast(activations.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            features = self.stages(activations)
        return self.head(features.float())


@dataclass(frozen=True)
class Frozen:
    """The frozen stages as they run fastest: normalised images [n, 3, h, w] -> activations [n, c, h', w']."""

    network: nn.Module
    dtype: torch.dtype

    @classmethod
    def of(cls, stages: nn.Module, *, bf16: bool, device: torch.device) -> "Frozen":
        dtype = torch.bfloat16 if bf16 else torch.float32
        return cls(backbones.for_inference(stages).to(device=device, dtype=dtype), dtype)

    @torch.no_grad()
    def __call__(self, batch: Tensor) -> Tensor:
        return self.network(batch.to(self.dtype))


class StageInputs:
    """Image batches as the trainable stages see them: what the frozen stages make of each view is computed once.

    `max_bytes` bounds what is kept in host memory: all views, if training takes each more than once in its `epochs`,
    else the current one. Evaluation (`epochs` None) has one view only. Where that does not fit, each batch passes the
    frozen stages when it is needed. The ranks share the work of a view. Activations of float32 stages are kept as
    float16, as the head's features are.
    """

    def __init__(self, images: ImageBatches, frozen: Frozen, *, epochs: int | None, max_bytes: int, world: World):
        self.images, self.frozen, self.world = images, frozen, world
        self.labels, self.num_classes = images.labels, images.num_classes
        self.evaluation_batch = images.evaluation_batch
        self._dtype = torch.bfloat16 if frozen.dtype == torch.bfloat16 else torch.float16
        first = images.take_view(torch.tensor([0]), None if epochs is None else 0)
        self._shape = frozen(first).permute(0, 2, 3, 1).shape[1:]
        self._views: dict[int | None, Tensor] = {}
        self._keep = images.num_views if epochs and images.num_views < epochs else 1
        self.kept_bytes = self._keep * len(self.labels) * math.prod(self._shape) * self._dtype.itemsize
        if self.kept_bytes > max_bytes:
            self._keep = self.kept_bytes = 0

    def order(self, epoch: int) -> Tensor:
        return self.images.order(epoch)

    def take(self, indices: Tensor, epoch: int | None) -> Tensor:
        """float [b, c, h, w] on the images' device."""
        if not self._keep:
            return self.frozen(self.images.take(indices, epoch)).to(self._dtype).to(self.frozen.dtype)
        kept = self._view(self.images.view_of(epoch))[indices]
        return kept.to(self.images.device).to(self.frozen.dtype).permute(0, 3, 1, 2)

    def _view(self, view: int | None) -> Tensor:
        """[n, h, w, c] of all images."""
        if view not in self._views:
            if len(self._views) >= self._keep:
                self._views.pop(next(iter(self._views)))
            self._views[view] = self._compute(view)
        return self._views[view]

    def _compute(self, view: int | None) -> Tensor:
        count, world = len(self.labels), self.world
        kept = torch.empty(count, *self._shape, dtype=self._dtype)
        for start in range(0, count, ROUND * world.size):
            mine = torch.arange(count)[start + world.rank * ROUND :][:ROUND]
            for indices in mine.split(CHUNK) if len(mine) else ():
                made = self.frozen(self.images.take_view(indices, view))
                kept[indices[0] : indices[-1] + 1] = made.permute(0, 2, 3, 1).to("cpu", self._dtype)
            world.exchange([kept[start + rank * ROUND :][:ROUND] for rank in range(world.size)])
        return kept
