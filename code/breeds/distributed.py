"""One process of a training, as torchrun started it: rank, device, and sums over all ranks."""

import json
import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from breeds.container import InputError
from breeds.metrics import Sums


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

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module with gradients averaged over ranks; itself when there is one rank."""
        if self.size == 1:
            return module
        return nn.parallel.DistributedDataParallel(module, broadcast_buffers=False)

    def total(self, sums: Sums) -> Sums:
        """The sums of all ranks added up."""
        if self.size == 1:
            return sums
        values = torch.tensor([sums.loss, sums.correct, sums.count], dtype=torch.float64, device=self.device)
        dist.all_reduce(values)
        loss, correct, count = values.tolist()
        return Sums(loss, round(correct), round(count))

    def barrier(self) -> None:
        if self.size > 1:
            dist.barrier()

    def leave(self) -> None:
        if self.size > 1:
            dist.destroy_process_group()


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
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return World(rank=rank, size=size, device=device)
