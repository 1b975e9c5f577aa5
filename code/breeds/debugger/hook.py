"""The SageMaker Debugger hook of a training: saves losses, gradients and relu inputs for the rules to read.

The hook is on when a hook configuration is there (SageMaker writes it from DebugHookConfig) and smdebug is installed;
otherwise training runs without. Whatever goes wrong inside it is reported once and never ends a training.
"""

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from breeds.base import container

DEFAULT_CONFIGURATION = container.base_dir() / "input/config/debughookconfig.json"


class DebuggerHook:
    """A hook that may be off; every method is safe to call either way.

    `train()` and `eval()` name the phase that the next forward passes belong to; `close()` says that the training came
    to its end, and must run before rules do.
    """

    def __init__(self, hook: Any = None):
        self._hook = hook
        self._watched: list[nn.Module] = []
        self.at_epoch_end: Callable[[int, int], None] | None = None  # see live_rules

    @property
    def is_on(self) -> bool:
        return self._hook is not None

    @property
    def directory(self) -> Path | None:
        """Where the tensors are; None when off."""
        return Path(self._hook.out_dir) if self._hook else None

    def register(self, module: nn.Module, loss: nn.Module) -> None:
        """Watch `module` (the inner one, not its DDP wrapper) and the loss module."""
        self._watched += [*module.modules(), loss] if self.is_on else []
        self._safely(lambda hook: (hook.register_module(module), hook.register_loss(loss)))

    def train(self) -> None:
        self._safely(lambda hook: hook.begin("TRAIN"))

    def eval(self) -> None:
        self._safely(lambda hook: hook.begin("EVAL"))

    def end_epoch(self, epoch: int, last_epoch: int) -> None:
        """An epoch was trained and evaluated. Raises InputError where rules were asked to stop such a training."""
        if self.at_epoch_end:
            self.at_epoch_end(epoch, last_epoch)

    def end_phase(self) -> None:
        """Make all that was saved so far readable."""
        self._safely(lambda hook: hook.end_phase(wait=True))

    def as_state(self) -> dict[str, Any] | None:
        """For a checkpoint: what `restore` needs; None when off."""
        return self._safely(lambda hook: hook.as_state())

    def restore(self, saved: dict[str, Any] | None) -> None:
        """Go on from a checkpoint's `as_state`, before the first step; None where there was no hook."""
        if saved is not None:
            self._safely(lambda hook: hook.restore(saved))

    def close(self) -> None:
        """Write what is left, and let go of the modules: copies of them made later must not carry the hook along."""
        self._safely(lambda hook: hook.close())
        for module in self._watched:
            for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks):
                hooks.clear()

    def _safely(self, action: Callable[[Any], Any]) -> Any:
        """What `action` returns; None when off, and after an error, which switches it off."""
        if self._hook is None:
            return None
        try:
            return action(self._hook)
        except Exception as error:
            print(f"Debugger hook switched off: {error!r}. Training goes on without it.", flush=True)
            self._hook = None
            return None


def create() -> DebuggerHook:
    """The hook of this training job, or one that is off, saying why when a configuration asked for it.

    The configuration is the file SMDEBUG_CONFIG_FILE_PATH names, else /opt/ml/input/config/debughookconfig.json. Under
    DDP it is off on ranks that would save nothing: all but the first, unless include_workers is `all`.
    """
    path = Path(os.environ.get("SMDEBUG_CONFIG_FILE_PATH", DEFAULT_CONFIGURATION))
    if not path.is_file():
        return DebuggerHook()
    try:
        return _created_from(path) if _saves_here(path) else DebuggerHook()
    except ImportError as error:
        print(f"Debugger hook off: {error}. Install smdebug, or remove DebugHookConfig.", flush=True)
    except Exception as error:
        print(f"Debugger hook off: {path} cannot be used: {error!r}.", flush=True)
    return DebuggerHook()


def _created_from(path: Path) -> DebuggerHook:
    from breeds.base import extras
    from breeds.debugger import smdebug_shim

    # smdebug logs each file it looks for.
    logging.getLogger("smdebug").setLevel(logging.WARNING)
    os.environ.setdefault("SMDEBUG_LOG_LEVEL", "warning")
    missing = extras.ensure(extras.DEBUGGING, with_dependencies=False)
    if missing:
        raise ImportError(missing)
    smdebug_shim.prepare()
    from breeds.debugger.trainable_hook import TrainableHook

    return DebuggerHook(TrainableHook.from_configuration(path))


def _saves_here(path: Path) -> bool:
    workers = (json.loads(path.read_text()).get("HookParameters") or {}).get("include_workers", "one")
    return os.environ.get("RANK", "0") == "0" or workers == "all"
