"""One process of a training, as torchrun started it: rank, device, and what all ranks do together."""

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook

from breeds.base.container import InputError, first_line
from breeds.base.metrics import Sums

# A process that died is noticed at once, by its closed connections. This is for one that hangs, and longer than any
# rank legitimately keeps the others waiting (a shard read from S3, a checkpoint written).
COLLECTIVE_TIMEOUT = timedelta(minutes=5)
CONNECTION_WORDS = ("connection closed", "connection reset", "broken pipe", "gloo", "nccl", "timed out")


class WorkerLost(InputError):
    """Another process of this training ended or hangs: raised in those that are left."""

    is_consequence = True


@dataclass(frozen=True, kw_only=True)
class World:
    """This process among `size`; rank 0 prints and writes."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def share(self, indices: Tensor) -> Tensor:
        """This rank's part of `indices`: every size-th one, so that all ranks together take each exactly once."""
        return indices[self.rank :: self.size]

    def wrap(self, module: nn.Module, *, bf16: bool) -> nn.Module:
        """The module with gradients averaged over ranks, sent as bfloat16 if asked; itself when there is one rank."""
        if self.size == 1:
            return module
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # its successor is not in all versions the images have
            parallel = nn.parallel.DistributedDataParallel(
                module, broadcast_buffers=False, gradient_as_bucket_view=True
            )
        if bf16:
            parallel.register_comm_hook(None, bf16_compress_hook)
        return parallel

    def total(self, sums: Sums) -> Sums:
        """The sums of all ranks added up."""
        if self.size == 1:
            return sums
        values = torch.tensor([sums.loss, sums.correct, sums.count], dtype=torch.float64, device=self.device)
        dist.all_reduce(values)
        loss, correct, count = values.tolist()
        return Sums(loss, round(correct), round(count))

    def smallest(self, value: int) -> int:
        """The smallest of all ranks' values."""
        if self.size == 1:
            return value
        found = torch.tensor(value, device=self.device)
        dist.all_reduce(found, dist.ReduceOp.MIN)
        return int(found)

    def broadcast_from_main(self, value: Any) -> Any:
        """Rank 0's `value`, on every rank. It travels pickled: between processes of one training only."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def exchange(self, parts: list[Tensor]) -> None:
        """Fill `parts` (contiguous, in host memory) in place: part r is what rank r put there."""
        for owner, part in enumerate(parts if self.size > 1 else []):
            if part.numel():
                dist.broadcast(part.view(torch.uint8), src=owner)

    def leave(self) -> None:
        """Leave the process group."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()


def without_sync(module: nn.Module) -> AbstractContextManager:
    """Inside, backward passes leave gradients on their rank; the next backward pass outside averages them all."""
    return module.no_sync() if isinstance(module, nn.parallel.DistributedDataParallel) else nullcontext()


def join() -> World:
    """Join the process group that torchrun's RANK and WORLD_SIZE describe (nccl on GPUs, else gloo), or be alone.

    Raises InputError when SageMaker gave several hosts but nothing launched torchrun: each would train its own copy.
    """
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    num_hosts = len(json.loads(os.environ.get("SM_HOSTS", "[]")))
    if num_hosts > 1 and "WORLD_SIZE" not in os.environ:
        raise InputError(
            f"{num_hosts} hosts were started without torchrun: each would train its own copy.",
            "Set the hyperparameter sagemaker_torch_distributed_enabled to true.",
        )
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if size > 1:
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=COLLECTIVE_TIMEOUT)
    return World(rank=rank, size=size, device=device)


def processes_here() -> int:
    """Processes of this training on this machine: they share its memory and cores."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


@contextmanager
def lost_workers_named(world: World) -> Iterator[None]:
    """Raise WorkerLost where an error of the communication library means that another process is gone."""
    try:
        yield
    except (dist.DistError, RuntimeError) as error:
        reason = first_line(error)
        lost = isinstance(error, dist.DistError) or any(word in reason.lower() for word in CONNECTION_WORDS)
        if world.size == 1 or not lost:
            raise
        raise WorkerLost(
            f"Another of the {world.size} processes of this training was lost ({reason[:200]}).",
            "Its own message or the log of its host says why. With checkpoints, a new start goes on from the last one.",
        ) from None
