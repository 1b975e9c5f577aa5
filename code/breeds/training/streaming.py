"""Prepared images for fine-tuning: shards stay in memory up to a bound; the others are read again."""

import os
import random
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from breeds.base import distributed
from breeds.base.container import InputError
from breeds.data import images, manifest, shards, views
from breeds.training import batches

# Shards whose images are shuffled with each other. An epoch takes one such group after the other, so that it reads each
# shard once, from its beginning to its end, however many do not fit in memory. Up to this many: a full shuffle.
GROUP = 8


class JpegShards:
    """A split's JPEGs (about 40 KB each) by number; the last used `max_bytes` of them stay in memory.

    At least two groups are kept: a batch may lie on the border between them.
    """

    def __init__(self, directory: Path, split: str, max_bytes: int):
        known = manifest.load(directory).labels(split)
        self.paths = shards.shard_paths(directory, split)
        self.max_bytes = max_bytes
        self._resident: OrderedDict[int, list[bytes]] = OrderedDict()
        self._bytes = 0
        labels: list[int] = []
        sizes = []
        for number, path in enumerate(self.paths):
            content = list(shards.read_shard(path))
            unknown = next((key for key, _ in content if key not in known), None)
            if unknown:
                raise InputError(f"{path} holds {unknown}, which no manifest lists.", "Run the Prepare step again.")
            labels += [known[key] for key, _ in content]
            sizes.append(len(content))
            self._keep(number, [jpeg for _, jpeg in content])
        if not labels:
            raise InputError(f"{directory} has no {split} images.", "Give the Prepare step's output as prepared.")
        self.labels = torch.tensor(labels)
        self.starts = np.concatenate([[0], np.cumsum(sizes)])

    def jpegs(self, numbers: list[int]) -> list[bytes]:
        """The JPEG bytes of these images, in this order."""
        found = []
        for number in numbers:
            shard = int(np.searchsorted(self.starts, number, side="right")) - 1
            found.append(self._shard(shard)[number - int(self.starts[shard])])
        return found

    def _shard(self, number: int) -> list[bytes]:
        if number not in self._resident:
            self._keep(number, [jpeg for _, jpeg in shards.read_shard(self.paths[number])])
        self._resident.move_to_end(number)
        return self._resident[number]

    def _keep(self, number: int, content: list[bytes]) -> None:
        self._resident[number] = content
        self._bytes += sum(map(len, content))
        while self._bytes > self.max_bytes and len(self._resident) > 2 * GROUP:
            _, dropped = self._resident.popitem(last=False)
            self._bytes -= sum(map(len, dropped))


class ImageBatches:
    """Training takes a random crop and flip of each image, one of `num_views` in turn; evaluation the center view.

    Batches are float32 [b, 3, side, side] on `device`, channels last and normalised; `info` (features.json) says the
    side: image_size of crops, view_size of center views.
    """

    evaluation_batch = 64

    def __init__(self, source: JpegShards, info: dict, *, device: torch.device, seed: int, num_views: int):
        self.source, self.labels = source, source.labels.to(device)
        self.num_classes, self.image_size, self.view_size = len(info["classes"]), info["image_size"], info["view_size"]
        self.device, self.seed, self.num_views = device, seed, num_views
        self.mean = torch.tensor(info["mean"], device=device).view(3, 1, 1) * 255
        self.std = torch.tensor(info["std"], device=device).view(3, 1, 1) * 255
        self._pool = ThreadPoolExecutor(max(1, min(8, (os.cpu_count() or 1) // distributed.processes_here())))

    def order(self, epoch: int) -> Tensor:
        """int64 [n], a permutation within groups of shards, decided by seed and epoch."""
        chance = batches.generator(self.seed, epoch, 0)
        starts = self.source.starts
        ranges = [torch.arange(starts[i], starts[i + 1]) for i in torch.randperm(len(starts) - 1, generator=chance)]
        groups = [torch.cat(ranges[i : i + GROUP]) for i in range(0, len(ranges), GROUP)]
        return torch.cat([group[torch.randperm(len(group), generator=chance)] for group in groups])

    def take(self, indices: Tensor, epoch: int | None) -> Tensor:
        return self.take_view(indices, self.view_of(epoch))

    def view_of(self, epoch: int | None) -> int | None:
        """The number of the crop that an epoch sees; None for the center view."""
        return None if epoch is None else epoch % self.num_views

    def take_view(self, indices: Tensor, view: int | None) -> Tensor:
        """float32 [b, 3, side, side]: view `view` of images `indices`."""
        numbers = indices.tolist()
        pixels = self._pool.map(self._pixels, numbers, self.source.jpegs(numbers), [view] * len(numbers))
        batch = torch.from_numpy(np.stack(list(pixels))).to(self.device).permute(0, 3, 1, 2)
        return (batch - self.mean) / self.std

    def _pixels(self, number: int, jpeg: bytes, view: int | None) -> np.ndarray:
        if view is None:
            return images.center_view(shards.decode(jpeg), self.view_size)
        return views.random_view(shards.pixels(jpeg), self.image_size, random.Random(f"{self.seed}/{number}/{view}"))


def memory_bound() -> int:
    """Bytes of images and activations this process may keep: half the memory it may use, shared with its neighbours."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        total = min(total, int(limit)) if limit != "max" else total
    except (OSError, ValueError):
        pass
    return total // 2 // distributed.processes_here()
