"""The SageMaker Debugger hook of a training: saves losses, gradients and relu inputs for the rules to read.

The hook is on when a hook configuration is there (SageMaker writes it from DebugHookConfig) and smdebug is installed;
otherwise training runs without. Whatever goes wrong inside it is reported once and never ends a training.
"""

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

DEFAULT_CONFIGURATION = "/opt/ml/input/config/debughookconfig.json"
# A relu input of a fine-tuned convolution is many MB a step, and the rules only look at its distribution.
MAX_ACTIVATION_ELEMENTS = 262_144


class DebuggerHook:
    """A hook that may be off; every method is safe to call either way.

    `train()` and `eval()` name the phase that the next forward passes belong to, `close()` must run before rules do.
    """

    def __init__(self, hook: Any = None):
        self._hook = hook

    @property
    def is_on(self) -> bool:
        return self._hook is not None

    def register(self, module: nn.Module, loss: nn.Module) -> None:
        """Watch `module` (the inner one, not its DDP wrapper) and the loss module."""
        self._safely(lambda hook: (hook.register_module(module), hook.register_loss(loss)))

    def train(self) -> None:
        self._set_mode("TRAIN")

    def eval(self) -> None:
        self._set_mode("EVAL")

    def close(self) -> None:
        self._safely(lambda hook: hook.close())

    def _set_mode(self, name: str) -> None:
        def set_mode(hook: Any) -> None:
            from smdebug import modes

            hook.set_mode(modes[name])

        self._safely(set_mode)

    def _safely(self, action: Callable[[Any], object]) -> None:
        if self._hook is None:
            return
        try:
            action(self._hook)
        except Exception as error:
            print(f"Debugger hook switched off: {error!r}. Training goes on without it.", flush=True)
            self._hook = None


def create() -> DebuggerHook:
    """The hook of this training job, or one that is off, saying why when a configuration asked for it.

    The configuration is the file SMDEBUG_CONFIG_FILE_PATH names, else /opt/ml/input/config/debughookconfig.json.
    """
    path = Path(os.environ.get("SMDEBUG_CONFIG_FILE_PATH", DEFAULT_CONFIGURATION))
    if not path.is_file():
        return DebuggerHook()
    try:
        # smdebug logs each file it looks for.
        logging.getLogger("smdebug").setLevel(logging.WARNING)
        os.environ.setdefault("SMDEBUG_LOG_LEVEL", "warning")
        return DebuggerHook(_smdebug_hook(path))
    except ImportError as error:
        print(f"Debugger hook off: {error}. Install smdebug, or remove DebugHookConfig.", flush=True)
    except Exception as error:
        print(f"Debugger hook off: {path} cannot be used: {error!r}.", flush=True)
    return DebuggerHook()


def _smdebug_hook(path: Path) -> Any:
    from breeds import smdebug_shim

    smdebug_shim.prepare()
    import smdebug.core.tfevent.util as tfevent
    import torch
    from smdebug.pytorch import Hook
    from smdebug.pytorch.hook import error_handling_agent

    if not hasattr(tfevent.np.ndarray, "tostring"):
        raise ImportError("smdebug 1.0.34 needs numpy < 2.3")

    class TrainableLayersHook(Hook):
        """Leaves out frozen layers, converts bfloat16 (numpy has none) and saves a slice of huge activations."""

        @staticmethod
        def _make_numpy_array(tensor_value: Any) -> Any:
            if isinstance(tensor_value, Tensor) and tensor_value.dtype in (torch.bfloat16, torch.float16):
                tensor_value = tensor_value.float()
            return Hook._make_numpy_array(tensor_value)

        def register_module(self, module: nn.Module) -> None:
            parents = [m for m in module.modules() if any(True for _ in m.parameters())]
            frozen = [m for m in parents if not any(parameter.requires_grad for parameter in m.parameters())]
            self.frozen = {child for parent in frozen for child in parent.modules()}
            super().register_module(module)

        def backward_hook(self, tname: str) -> Callable[[Tensor], None]:
            # The one callback whose errors smdebug does not catch itself.
            return error_handling_agent.catch_smdebug_errors()(super().backward_hook(tname))

        def _closure_for_registering_forward_hook(self, module: nn.Module) -> None:
            if module not in self.frozen:
                super()._closure_for_registering_forward_hook(module)

        def _save_for_tensor(self, tensor_name: str, tensor_value: Any, check_before_write: bool = True) -> None:
            if re.search(r"_(in|out)put_\d+$", tensor_name) and tensor_value.numel() > MAX_ACTIVATION_ELEMENTS:
                per_sample = tensor_value[0].numel()
                tensor_value = tensor_value[: max(1, MAX_ACTIVATION_ELEMENTS // per_sample)]
            super()._save_for_tensor(tensor_name, tensor_value, check_before_write)

        def count_parameters(self, model: nn.Module) -> int:
            return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)

        def has_default_configuration(self) -> bool:
            # smdebug swallows its own errors for its default configuration only; ours must not be fatal either.
            return True

    return TrainableLayersHook.create_from_json_file(str(path))
