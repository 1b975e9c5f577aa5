"""smdebug's hook as this project uses it: cheap at steps that save losses only.

smdebug asks in each callback of each module and parameter whether this step is to be saved, which takes longer than
some layers of a head. Here it is asked once a step. Where nothing but the loss is due, which is nearly always, the
loss is recorded and no other callback is even registered; elsewhere smdebug's own way is taken.

Only the layers that are trained count: frozen ones are never saved. Under DDP gradients are those of this process,
before they are averaged with the others' (PyTorch calls a tensor's hooks before DDP sees it).
"""

import json
import math
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from smdebug.core.collection import CollectionKeys
from smdebug.core.config_constants import DEFAULT_SAGEMAKER_OUTDIR
from smdebug.core.modes import ModeKeys
from smdebug.core.utils import match_inc
from smdebug.pytorch.hook import error_handling_agent
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from breeds.debugger import trial_directory
from breeds.debugger.bounded_hook import MAX_GRADIENT_ELEMENTS, BoundedHook
from breeds.debugger.outcomes import Outcomes
from breeds.debugger.save_schedule import SaveSchedule
from breeds.debugger.trial_writer import StepWriter, TrialWriter

MAX_WAITING_LOSSES = 1000


class TrainableHook(BoundedHook):
    """A hook for one training; make it with `from_configuration`."""

    writer: StepWriter | None
    exported_collections: bool
    _collections_to_save_for_step: set[Any] | None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.trial = TrialWriter(self.out_dir, self.worker)
        self.outcomes = Outcomes()
        self.frozen: set[nn.Module] = set()
        self.parameters: list[tuple[str, nn.Parameter]] = []  # the trained ones
        self.watched: list[nn.Module] = []
        self.out_of_place: list[nn.ReLU | nn.ReLU6] = []
        self.loss_tensors: list[str] = []
        self.losses: list[tuple] = []  # of steps that are not written yet
        self.handles: list[RemovableHandle] = []

    @classmethod
    def from_configuration(cls, configuration: Path) -> "TrainableHook":
        """The hook of a DebugHookConfig file; writes to disk which job's tensors these will be.

        smdebug has one error handler per process: an earlier training's fault would switch this hook off too.
        """
        error_handling_agent.disable_smdebug = False
        trial_directory.reopen(Path(json.loads(configuration.read_text()).get("LocalPath", DEFAULT_SAGEMAKER_OUTDIR)))
        hook = cls.create_from_json_file(str(configuration))
        hook.write_state(finished=False)
        return hook

    def write_state(self, *, finished: bool) -> None:
        """The job and whether it came to its end, beside the tensors: `training.json`."""
        if self.worker == self.chief_worker:
            trial_directory.write_state(Path(self.out_dir), finished=finished)

    # What to watch

    @error_handling_agent.catch_smdebug_errors()
    def register_module(self, module: nn.Module) -> None:
        parents = [m for m in module.modules() if any(True for _ in m.parameters())]
        frozen = [m for m in parents if not any(parameter.requires_grad for parameter in m.parameters())]
        self.frozen = {child for parent in frozen for child in parent.modules()}
        trained = ((name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad)
        self.parameters = [(f"{module._get_name()}_{name}", parameter) for name, parameter in trained]
        self.stride = -(-sum(parameter.numel() for _, parameter in self.parameters) // MAX_GRADIENT_ELEMENTS)
        super().register_module(module)

    def _closure_for_registering_forward_hook(self, module: nn.Module) -> None:
        """Called for each module: watch the whole, and those whose inputs or outputs some collection wants."""
        if module in self.frozen:
            return
        if isinstance(module, nn.ReLU | nn.ReLU6):
            self._prepare_relu(module)
        wanted = [c for c in self.collection_manager.get_collections().values() if c.name in self.include_collections]
        is_whole = module._module_name == module._get_name()
        if is_whole or any(match_inc(name, c.include_regex) for name in _tensors_of(module) for c in wanted):
            self.watched.append(module)

    def _backward_apply(self, module: nn.Module) -> None:
        """Nothing yet: see `_watch`."""

    def _watch(self) -> None:
        """Register the callbacks that save this step's tensors; the next step removes them."""
        self.handles = [module.register_forward_hook(self.forward_hook) for module in self.watched]
        self.handles += [value.register_hook(self.backward_hook(name)) for name, value in self.parameters]

    def _unwatch(self) -> None:
        for handle in self.handles:
            handle.remove()
        self.handles = []

    def _prepare_relu(self, relu: nn.ReLU | nn.ReLU6) -> None:
        """An in-place ReLU would overwrite the input that is saved; in nn.Sequential its name is only a number."""
        if relu.inplace:
            relu.inplace = False
            self.out_of_place.append(relu)
        name: Any = relu._module_name  # smdebug's attribute, a text
        if not re.search("relu", name, re.IGNORECASE):
            relu._module_name = name + ".relu"

    @error_handling_agent.catch_smdebug_errors()
    def register_loss(self, loss: nn.Module) -> None:
        loss._module_name = loss._get_name()
        self.module_set.add(loss)
        self.loss_tensors = [f"{loss._module_name}_input_1", *_tensors_of(loss)]
        loss.register_forward_hook(self.loss_hook)
        self.has_registered_loss_module = True

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
        if self.handles:
            self._unwatch()
        if self.writer is not None:
            self._close_writers()
        if not self.prepared_collections:
            self._prepare_collections()
        self._increment_step()
        self.due = self._get_collections_to_save_for_step()
        self.is_full_step = not self.due.isdisjoint(self._demanding)
        if self.is_full_step:
            self._initialize_writers()
            self._watch()
            if self.due & self._of_parameters:
                self._log_params(module)
        if not self.exported_collections:
            trial_directory.forget_from(Path(self.out_dir), self.worker, self.step)
            self.export_collections()
            self.exported_collections = True
        if isinstance(inputs[0], Tensor):
            self.outcomes.add_inputs(inputs[0])

    def _prepare_collections(self) -> None:
        super()._prepare_collections()
        self._schedule = SaveSchedule(self._collections_to_save)
        self._of_parameters = {c for name, _ in self.parameters for c in self._get_collections_with_tensor(name)}
        tensors = [prefix + name for prefix in ("", self.GRADIENT_PREFIX) for name, _ in self.parameters]
        tensors += [name for module in self.watched for name in _tensors_of(module)]
        self._of_loss = {
            c for c in self._collections_to_save if any(match_inc(n, c.include_regex) for n in self.loss_tensors[-1:])
        }
        # smdebug's own losses are written as they are, and nothing else is derived from them here.
        self.is_plain = not self.tensorboard_dir and self.metrics_writer is None
        self._demanding = {
            collection
            for collection in self._collections_to_save
            if not (self.is_plain and collection.name == CollectionKeys.LOSSES)
            and any(match_inc(name, collection.include_regex) for name in tensors + self.loss_tensors)
        }

    def _increment_step(self) -> None:
        # Without smdebug's own note of the step among the checkpoints: see `restore`.
        self.step += 1
        self.mode_steps[self.mode] += 1
        self.mode_steps[ModeKeys.GLOBAL] = self.step
        self.written_tensor_name_for_step.clear()
        self._collections_to_save_for_step = None

    def _get_collections_to_save_for_step(self) -> set:
        if self._collections_to_save_for_step is None:
            self._check_collections_prep()
            self._collections_to_save_for_step = self._schedule.due(self.mode, self.mode_steps[self.mode])
        return self._collections_to_save_for_step

    @error_handling_agent.catch_smdebug_errors()
    def forward_hook(self, module: nn.Module, inputs: tuple, outputs: Any) -> None:
        self._write_inputs(module._module_name, inputs)
        self._write_outputs(module._module_name, outputs)
        self._save_custom_tensors_post_step()

    @error_handling_agent.catch_smdebug_errors()
    def fhook(self, module: nn.Module, inputs: tuple, outputs: Any) -> None:
        """smdebug's profiler is off."""

    @error_handling_agent.catch_smdebug_errors()
    def loss_hook(self, loss: nn.Module, inputs: tuple, output: Tensor) -> None:
        self.outcomes.add(inputs[0], inputs[1], training=self.mode == ModeKeys.TRAIN)
        if self.is_full_step or output.numel() != 1:
            self._initialize_writers(only_initialize_if_missing=True)
            self.forward_hook(loss, inputs, output)
            is_finite = bool(torch.isfinite(output).all())
        else:
            value = output.item()
            if not self.due.isdisjoint(self._of_loss):
                self._note_loss(loss, value, np.float64 if output.dtype == torch.float64 else np.float32)
            is_finite = math.isfinite(value)
        if not is_finite or len(self.losses) >= MAX_WAITING_LOSSES:
            self.flush(wait=not is_finite)  # if it is not, the training may end here, and this step says why

    def _note_loss(self, loss: nn.Module, value: float, dtype: type[np.floating]) -> None:
        """Remember a loss for `_write_losses`, which writes those of many steps at once.

        Between two steps Python code runs slowly, because the network's data has displaced it from the processor's
        caches.
        """
        prefix = loss._module_name + self.OUTPUT_TENSOR_SUFFIX
        name = f"{prefix}{self.written_tensor_name_for_step[prefix]}"
        self.written_tensor_name_for_step[prefix] += 1
        self.losses.append((self.step, dtype(value), name, self.mode, self.mode_steps[self.mode], time.time()))

    def _write_losses(self) -> None:
        for step, value, name, mode, mode_step, timestamp in self.losses:
            writer = self.trial.step(step)
            writer.write_tensor(value, name, mode, mode_step, timestamp)
            writer.close()
        self.losses = []

    def _initialize_writers(self, only_initialize_if_missing: bool = False) -> None:
        if not (only_initialize_if_missing and self.writer):
            self._write_losses()  # in the order of steps: the last one's writer is asked for again
            self.writer = self.trial.step(self.step)

    def _log_params(self, module: nn.Module) -> None:
        for name, parameter in self.parameters:
            self._save_for_tensor(tensor_name=name, tensor_value=parameter.data)

    # The end of a phase

    def begin(self, phase: str) -> None:
        """`phase`: TRAIN or EVAL."""
        self.set_mode(ModeKeys[phase])

    def set_mode(self, mode: ModeKeys) -> None:
        self.end_phase()
        super().set_mode(mode)

    def end_phase(self, *, wait: bool = False) -> None:
        """Save what the phase's labels and predictions were, with its last step, and write what waits."""
        training, validation = self.mode == ModeKeys.TRAIN, self.mode == ModeKeys.EVAL
        if self.prepared_collections and (training or validation):
            found = self.outcomes.pop_training() if training else self.outcomes.pop_validation()
            if found:
                self._initialize_writers(only_initialize_if_missing=True)
            for name, value in found.items():
                self._save_for_tensor(name, value)
        self.flush(wait=wait)

    def flush(self, *, wait: bool) -> None:
        """Write what waits; with `wait` it is readable on return."""
        self._write_losses()
        self._close_writers()
        self.trial.flush(wait=wait)

    @error_handling_agent.catch_smdebug_errors()
    def _cleanup(self) -> None:
        self._unwatch()
        self.end_phase(wait=True)
        super()._cleanup()

    def close(self) -> None:
        """The training came to its end."""
        self._cleanup()
        self.write_state(finished=True)
        for relu in self.out_of_place:
            relu.inplace = True

    # A training that goes on from a checkpoint

    def _initialize_to_last_saved_state(self) -> None:
        """Nothing: for this, smdebug lists the checkpoint directory at each step, and takes a checkpoint of the same
        size for the one before. See `restore`."""

    def as_state(self) -> dict[str, Any]:
        """For a checkpoint: the steps so far, whose tensors are written from now on, and what a phase has gathered."""
        if self.mode == ModeKeys.EVAL:
            self.end_phase()
        else:
            self.flush(wait=False)
        steps = {mode.name: step for mode, step in self.mode_steps.items()}
        return {"training_job": trial_directory.training_job(), "steps": steps, "outcomes": self.outcomes.as_state()}

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on counting where the checkpoint `saved` was made, if the tensors of the steps before are there.

        They are there for a job that SageMaker starts again after a spot interruption: it uploaded them to the same
        place, where later steps replace those of the same number. They are also there in a directory that still has
        them. A job of another name has tensors of its own: its steps count from 0, and the rules judge them alone.
        PoorWeightInitialization then finds nothing where the losses are already below those of guessing.
        """
        self.outcomes.restore(saved["outcomes"])
        job = trial_directory.training_job()
        if saved["training_job"] == job if job else trial_directory.has_steps(Path(self.out_dir)):
            self.mode_steps = {ModeKeys[name]: step for name, step in saved["steps"].items()}
            self.step = self.mode_steps[ModeKeys.GLOBAL]
        else:
            self.outcomes.count_labels_again()


def _tensors_of(module: nn.Module) -> list[str]:
    """The names of a module's first input and output."""
    return [f"{module._module_name}_{side}_0" for side in ("input", "output")]
