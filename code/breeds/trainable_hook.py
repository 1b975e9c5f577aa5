"""smdebug's hook as this project uses it: cheap at steps that save losses only, bounded in what it writes.

Only the layers that are trained count: frozen ones are never saved. Under DDP gradients are those of this process,
before they are averaged with the others' (PyTorch calls a tensor's hooks before DDP sees it).
"""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from smdebug.core.modes import ModeKeys
from smdebug.core.utils import match_inc
from smdebug.pytorch import Hook
from smdebug.pytorch.hook import error_handling_agent
from torch import Tensor, nn

from breeds.outcomes import Outcomes
from breeds.trial_writer import TrialWriter

# Bounds of what is written in full at one step; reductions are always those of the whole tensor. The rules look at
# the distribution of gradients, and of activations at units, which a part shows as well.
MAX_GRADIENT_ELEMENTS = 1_250_000  # all gradients together: a head's fit, those of a network's last stage are thinned
MAX_ACTIVATION_ELEMENTS = 65_536  # of one activation; at least one position of each sample
STATE_FILE = "training.json"


class TrainableHook(Hook):
    """A hook for one training; `create_from_json_file` reads SageMaker's DebugHookConfig."""

    @classmethod
    def of(cls, configuration: Path) -> "TrainableHook":
        """The hook of a DebugHookConfig file. Marks on disk whose tensors these will be.

        smdebug's error handling is one for the process: a fault of an earlier training would switch this one off too.
        """
        error_handling_agent.disable_smdebug = False
        hook = cls.create_from_json_file(str(configuration))
        hook.outcomes, hook.out_of_place, hook.frozen, hook.stride = Outcomes(), [], set(), 1
        hook.trial = TrialWriter(hook.out_dir, hook.worker)
        hook.write_state(finished=False)
        return hook

    def write_state(self, *, finished: bool) -> None:
        """The job and whether it came to its end, beside the tensors: `training.json`."""
        if self.worker == self.chief_worker:
            content = {"training_job": os.environ.get("TRAINING_JOB_NAME"), "finished": finished}
            Path(self.out_dir).mkdir(parents=True, exist_ok=True)
            (Path(self.out_dir) / STATE_FILE).write_text(json.dumps(content))

    # What to watch

    @error_handling_agent.catch_smdebug_errors()
    def register_module(self, module: nn.Module) -> None:
        parents = [m for m in module.modules() if any(True for _ in m.parameters())]
        frozen = [m for m in parents if not any(parameter.requires_grad for parameter in m.parameters())]
        self.frozen = {child for parent in frozen for child in parent.modules()}
        self.parameters = [
            (f"{module._get_name()}_{name}", parameter)
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        ]
        self.stride = -(-sum(parameter.numel() for _, parameter in self.parameters) // MAX_GRADIENT_ELEMENTS)
        super().register_module(module)

    def _closure_for_registering_forward_hook(self, module: nn.Module) -> None:
        """Called for each module: watch the whole, and those whose inputs or outputs some collection wants."""
        if module in self.frozen:
            return
        if isinstance(module, nn.ReLU | nn.ReLU6):
            self._prepare_relu(module)
        wanted = [c for c in self.collection_manager.get_collections().values() if c.name in self.include_collections]
        names = [f"{module._module_name}_{side}_0" for side in ("input", "output")]
        is_whole = module._module_name == module._get_name()
        if is_whole or any(match_inc(name, c.include_regex) for name in names for c in wanted):
            super()._closure_for_registering_forward_hook(module)

    def _prepare_relu(self, relu: nn.ReLU | nn.ReLU6) -> None:
        """In place, the saved input would be the output. A ReLU inside nn.Sequential is called by a number only."""
        if relu.inplace:
            relu.inplace = False
            self.out_of_place.append(relu)
        if not re.search("relu", relu._module_name, re.IGNORECASE):
            relu._module_name = f"{relu._module_name}.relu"

    @error_handling_agent.catch_smdebug_errors()
    def register_loss(self, loss: nn.Module) -> None:
        super().register_loss(loss)
        loss.register_forward_hook(self._observe)

    def backward_hook(self, tname: str) -> Callable[[Tensor], None]:
        # The one callback whose errors smdebug does not catch itself.
        return error_handling_agent.catch_smdebug_errors()(super().backward_hook(tname))

    def count_parameters(self, model: nn.Module) -> int:
        return sum(parameter.numel() for _, parameter in self.parameters)

    def has_default_configuration(self) -> bool:
        # smdebug swallows its own errors for its default configuration only; ours must not be fatal either.
        return True

    # A step

    @error_handling_agent.catch_smdebug_errors()
    def forward_pre_hook(self, module: nn.Module, inputs: tuple) -> None:
        self._close_writers()
        self._close_tb_writer()
        if not self.prepared_collections:
            self._prepare_collections()
            self.prepared_collections = True
            self._of_parameters = {c for name, _ in self.parameters for c in self._get_collections_with_tensor(name)}
        self._increment_step()
        saved = self._get_collections_to_save_for_step()
        if saved:
            self._initialize_writers()
        if saved & self._of_parameters:
            self._log_params(module)
        if not self.exported_collections:
            self.export_collections()
            self.exported_collections = True
        if isinstance(inputs[0], Tensor):
            self.outcomes.add_inputs(inputs[0])

    @error_handling_agent.catch_smdebug_errors()
    def forward_hook(self, module: nn.Module, inputs: tuple, outputs: Any) -> None:
        if self._get_collections_to_save_for_step():
            self._write_inputs(module._module_name, inputs)
            self._write_outputs(module._module_name, outputs)
            self._save_custom_tensors_post_step()
            self.last_saved_step = self.step

    @error_handling_agent.catch_smdebug_errors()
    def fhook(self, module: nn.Module, inputs: tuple, outputs: Any) -> None:
        """smdebug's profiler is off."""

    @error_handling_agent.catch_smdebug_errors()
    def _observe(self, loss: nn.Module, inputs: tuple, output: Tensor) -> None:
        self.outcomes.add(inputs[0], inputs[1], training=self.mode == ModeKeys.TRAIN)
        if not torch.isfinite(output).all():
            self.flush()  # the training may end here, and this step says why

    def _log_params(self, module: nn.Module) -> None:
        for name, parameter in self.parameters:
            self._save_for_tensor(tensor_name=name, tensor_value=parameter.data)

    # The end of a phase

    def set_mode(self, mode: ModeKeys) -> None:
        self.end_phase()
        super().set_mode(mode)

    def end_phase(self) -> None:
        """Save what the phase's labels and predictions were, with its last step, and write what waits."""
        training, validation = self.mode == ModeKeys.TRAIN, self.mode == ModeKeys.EVAL
        if self.prepared_collections and (training or validation):
            found = self.outcomes.pop_training() if training else self.outcomes.pop_validation()
            if found:
                self._initialize_writers(only_initialize_if_missing=True)
            for name, value in found.items():
                self._save_for_tensor(name, value)
        self.flush()

    def flush(self) -> None:
        self._close_writers()
        self.trial.flush()

    @error_handling_agent.catch_smdebug_errors()
    def _cleanup(self) -> None:
        self.end_phase()
        super()._cleanup()

    def close(self) -> None:
        """The training came to its end."""
        self._cleanup()
        self.write_state(finished=True)
        for relu in self.out_of_place:
            relu.inplace = True

    # What is written

    def _initialize_writers(self, only_initialize_if_missing: bool = False) -> None:
        if not (only_initialize_if_missing and self.writer):
            self.writer = self.trial.step(self.step)

    @staticmethod
    def _make_numpy_array(tensor_value: Any) -> np.ndarray:
        if isinstance(tensor_value, Tensor) and tensor_value.dtype in (torch.bfloat16, torch.float16):
            tensor_value = tensor_value.float()
        return Hook._make_numpy_array(tensor_value)

    @staticmethod
    def _get_reduction_of_data(reduction_name: str, tensor_value: Any, tensor_name: str, abs: bool) -> Any:
        if reduction_name == "variance" and isinstance(tensor_value, Tensor):
            values = tensor_value.abs() if abs else tensor_value
            return values.var(correction=0)  # numpy's; torch's own is NaN for a single value
        return Hook._get_reduction_of_data(reduction_name, tensor_value, tensor_name, abs)

    def _write_reductions(self, tensor_name: str, tensor_value: Any, *arguments: Any, **options: Any) -> None:
        if isinstance(tensor_value, Tensor):
            tensor_value = tensor_value.float()  # numpy has no bfloat16, and a sum in it no digits
        super()._write_reductions(tensor_name, tensor_value, *arguments, **options)

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


def some_positions(value: Tensor) -> Tensor:
    """Of [n, channels, h, w] a few positions [n, channels, kept], others in each sample: all samples count, which a
    unit that is active now and then needs to be seen alive."""
    samples, channels, positions = len(value), value.shape[1], value.shape[2] * value.shape[3]
    kept = min(positions, max(1, MAX_ACTIVATION_ELEMENTS // (samples * channels)))
    sample = torch.arange(samples, device=value.device)[:, None]
    position = (sample * 31 + torch.arange(kept, device=value.device) * (positions // kept)) % positions
    return value.flatten(2)[sample, :, position].transpose(1, 2)
