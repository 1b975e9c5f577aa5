"""smdebug's hook with bounds: how much of a tensor is written, and its reductions, made in one pass."""

import re
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from smdebug.core.collection import SCALAR_COLLECTIONS
from smdebug.core.reductions import get_reduction_tensor_name
from smdebug.pytorch import Hook
from torch import Tensor

from breeds.debugger.reductions import reductions

# Bounds of what is written in full at one step; reductions are always those of the whole tensor. The rules look at
# the distribution of gradients and at the activity of units, which a part shows as well.
MAX_GRADIENT_ELEMENTS = 1_250_000  # all gradients together: a head's fit, those of a network's last stage are thinned
MAX_ACTIVATION_ELEMENTS = 65_536  # of one activation; at least one position of each sample


class BoundedHook(Hook):
    """A Hook that writes only a part of a large tensor, and bfloat16 as float32, which numpy knows.

    `stride`: the distance between the values of a gradient that are written. `is_plain`: only the trial is written, no
    TensorBoard files.
    """

    stride = 1
    is_plain = False

    def _save_for_tensor(self, tensor_name: str, tensor_value: Any, check_before_write: bool = True) -> None:
        if not (self.is_plain and check_before_write):
            super()._save_for_tensor(tensor_name, tensor_value, check_before_write)
            return
        collections = self._get_collections_with_tensor(tensor_name) & self._get_collections_to_save_for_step()
        if collections:
            self._write_shape(tensor_name, tensor_value, collections)
            self._write_reductions(tensor_name, tensor_value, collections)
            self._write_raw_tensor(tensor_name, tensor_value, collections)

    @staticmethod
    def _make_numpy_array(tensor_value: Any) -> np.ndarray:
        if isinstance(tensor_value, Tensor) and tensor_value.dtype in (torch.bfloat16, torch.float16):
            tensor_value = tensor_value.float()
        return Hook._make_numpy_array(tensor_value)

    def _write_reductions(self, tensor_name: str, tensor_value: Any, save_collections: set, tensor_ref: Any = None):
        """smdebug's own method reads the tensor at least once per reduction, and fails on bfloat16."""
        configured = [c.reduction_config for c in save_collections if c.name not in SCALAR_COLLECTIONS]
        wanted = {name: (name, False) for each in configured for name in (*each.reductions, *each.norms)}
        wanted |= {f"abs_{n}": (n, True) for each in configured for n in (*each.abs_reductions, *each.abs_norms)}
        values = torch.as_tensor(tensor_value).detach().float()
        known = reductions(values, wanted) if wanted and values.numel() else {}
        for name, (reduction, absolute) in wanted.items():
            if name not in known:
                self._write_reduction(tensor_name, values, reduction, absolute, tensor_ref=tensor_ref)
            elif self.writer is not None:
                full_name = _reduction_name(tensor_name, reduction, absolute)
                value = np.array(known[name], np.float32)
                self.writer.write_tensor(value, full_name, self.mode, self.mode_steps[self.mode])

    def _write_raw_tensor(self, tensor_name: str, tensor_value: Any, *arguments: Any, **options: Any) -> None:
        if isinstance(tensor_value, Tensor):
            tensor_value = self._part(tensor_name, tensor_value)
        super()._write_raw_tensor(tensor_name, tensor_value, *arguments, **options)

    def _part(self, name: str, value: Tensor) -> Tensor:
        if name.startswith(self.GRADIENT_PREFIX) and self.stride > 1 and value.numel() > 1000:
            return value.flatten()[:: self.stride]
        if re.search(r"_(in|out)put_\d+$", name) and value.numel() > MAX_ACTIVATION_ELEMENTS:
            samples = max(1, MAX_ACTIVATION_ELEMENTS // value[0].numel())
            return some_positions(value) if value.ndim == 4 else value[:samples]
        return value


@lru_cache(maxsize=4096)
def _reduction_name(tensor_name: str, reduction: str, absolute: bool) -> str:
    return get_reduction_tensor_name(tensor_name, reduction, absolute, remove_colon_index=True)


def some_positions(value: Tensor) -> Tensor:
    """A few positions of [n, channels, h, w], others in each sample: [n, channels, kept].

    All samples count, so that a unit which is active now and then is seen to be alive.
    """
    samples, channels, positions = len(value), value.shape[1], value.shape[2] * value.shape[3]
    kept = min(positions, max(1, MAX_ACTIVATION_ELEMENTS // (samples * channels)))
    sample = torch.arange(samples, device=value.device)[:, None]
    position = (sample * 31 + torch.arange(kept, device=value.device) * (positions // kept)) % positions
    return value.flatten(2)[sample, :, position].transpose(1, 2)
