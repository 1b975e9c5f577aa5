"""The frozen backbone as a function from pixels to features, and the threads that keep every core busy with it."""

import platform
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from breeds.base.container import cores
from breeds.data import images
from breeds.model.backbones import for_inference

MIN_COSINE = 0.99  # mean agreement of bf16 features with float32 ones, below which float32 is used
T = TypeVar("T")
R = TypeVar("R")


class Embedder:
    """uint8 [n, size, size, 3] pixels to float16 [n, feature_dim] features; safe to call from several threads."""

    def __init__(self, network: nn.Module, dtype: torch.dtype, device: torch.device) -> None:
        """`network`: as `for_inference` returns it."""
        self.dtype, self.device = dtype, device
        self._network = for_inference(network).to(device=device, dtype=dtype)
        self._mean = torch.tensor(images.MEAN, device=device).view(1, 3, 1, 1) * 255
        self._std = torch.tensor(images.STD, device=device).view(1, 3, 1, 1) * 255

    @property
    def precision(self) -> str:
        return "bf16" if self.dtype == torch.bfloat16 else "fp32"

    @property
    def batch_size(self) -> int:
        """Images per call that are fastest: on a CPU activations beyond the cache cost up to twice the time."""
        return 64 if self.device.type == "cuda" else 8

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            batch = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2)
            normalised = ((batch - self._mean) / self._std).to(self.dtype)
            return self._network(normalised).half().cpu().numpy()


def choose_embedder(network: nn.Module, sample: np.ndarray) -> Embedder:
    """bf16 where the machine computes in it natively and `sample` (uint8 [n, s, s, 3]) agrees with float32.

    Prints which precision was chosen and why.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    exact = Embedder(network, torch.float32, device)
    if not _has_bf16(device):
        print(f"precision: fp32 on {device} (no native bf16)", flush=True)
        return exact
    fast = Embedder(network, torch.bfloat16, device)
    agreement = mean_cosine(exact(sample), fast(sample))
    chosen = fast if agreement >= MIN_COSINE else exact
    print(f"precision: {chosen.precision} on {device} (bf16 agrees with fp32 to cosine {agreement:.4f})", flush=True)
    return chosen


def map_in_threads(function: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R]]:
    """(item, function(item)) in order, on a thread per core, each with one intra-op thread.

    A thread decodes, augments and runs the network on its own batch: no queue between stages, no more threads than
    cores, and measured faster than one batch spread over the cores. Few items are in flight, so memory stays small.
    """
    threads = cores()
    remaining = iter(items)
    waiting: deque = deque()
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        while True:
            for item in islice(remaining, 2 * threads - len(waiting)):
                waiting.append((item, pool.submit(function, item)))
            if not waiting:
                return
            item, result = waiting.popleft()
            yield item, result.result()


def mean_cosine(exact: np.ndarray, fast: np.ndarray) -> float:
    """How well features [n, feature_dim] agree: the mean over images of the cosine between the two."""
    first, second = (torch.from_numpy(array).float() for array in (exact, fast))
    return float(functional.cosine_similarity(first, second, dim=1).nan_to_num(0).mean())


def _has_bf16(device: torch.device) -> bool:
    """Native bf16: elsewhere it is emulated and slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if platform.system() != "Linux":
        return False
    flags = set(Path("/proc/cpuinfo").read_text().split())
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})
