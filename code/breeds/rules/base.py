"""What the rules share: findings, parameters, and the losses of a trial grouped into phases."""

import math
import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from breeds import smdebug_shim
from breeds.container import InputError

# smdebug reads both while it is imported: its log is chatter, and its pause waits for a training that has long ended.
os.environ.setdefault("SMDEBUG_LOG_LEVEL", "warning")
os.environ.setdefault("SMDEBUG_TRAINING_END_DELAY_REFRESH", "0")
smdebug_shim.prepare()

from smdebug import modes  # noqa: E402
from smdebug.rules import Rule  # noqa: E402
from smdebug.trials import LocalTrial  # noqa: E402


class NoUsableData(Exception):
    """The tensors a rule needs were not saved; the text says which. Its status is Error, never NoIssuesFound."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One place where a rule's condition holds. `step` is global: training and evaluation steps counted together."""

    tensor: str
    step: int
    value: float
    threshold: float
    advice: str
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Consecutive steps of one mode, with their losses: an epoch of training, or one evaluation."""

    tensor: str
    training: bool
    first_step: int
    last_step: int
    mean_loss: float


class TensorRule(Rule):
    """A Debugger rule on the tensors of a finished training.

    Subclasses give `defaults`, AWS's own parameter values, and `find`. The rule is an ordinary smdebug Rule too:
    `invoke_at_step` is true at the steps it has findings for.
    """

    defaults: ClassVar[Mapping[str, float]] = {}

    def __init__(self, base_trial: LocalTrial, **parameters: Any):
        super().__init__(base_trial, action_str="")
        self.parameters = {**self.defaults, **checked_parameters(type(self), parameters)}
        self._findings: list[Finding] | None = None

    @abstractmethod
    def find(self) -> Iterator[Finding]:
        """Yield what is wrong, in order of steps. Raises NoUsableData."""

    def findings(self) -> list[Finding]:
        if self._findings is None:
            self._findings = list(self.find())
        return self._findings

    def invoke_at_step(self, step: int) -> bool:
        return any(finding.step == step for finding in self.findings())


def checked_parameters(rule: type[TensorRule], parameters: Mapping[str, Any]) -> dict[str, float]:
    """Parameters as numbers of their defaults' types. Raises InputError for an unknown name or a value out of place."""
    checked = {}
    for name, value in parameters.items():
        if name not in rule.defaults:
            raise InputError(f"Rule {rule.__name__} has no parameter {name!r}.", f"It has {', '.join(rule.defaults)}.")
        try:
            number = float(value)
            if not math.isfinite(number) or number < 0:
                raise ValueError
        except (TypeError, ValueError):
            raise InputError(f"{rule.__name__}.{name}={value!r} is not a number >= 0.", "Give a number.") from None
        checked[name] = type(rule.defaults[name])(number)
    return checked


def open_trial(directory: Path) -> LocalTrial:
    """The tensors of one finished training below `directory`. Raises NoUsableData where there are none, or several."""
    found = sorted({path.parent for path in directory.rglob("collections") if path.is_dir()})
    if not found:
        raise NoUsableData(f"{directory} holds no Debugger tensors: was the training's hook on?")
    if len(found) > 1:
        raise NoUsableData(f"{directory} holds the tensors of {len(found)} trainings: give those of one.")
    if not any((found[0] / "collections").rglob("*_collections.json")) or not any(found[0].glob("index/*/*.json")):
        raise NoUsableData(f"{found[0]} holds no complete step: the training ended before the first was saved.")
    trial = LocalTrial("training", str(found[0]))
    # On SageMaker nobody marks the end of a training in the directory; without the mark each access lists it again.
    trial.loaded_all_steps = True
    return trial


def loss_phases(trial: LocalTrial) -> dict[str, list[Phase]]:
    """By loss tensor, its phases in order. Raises NoUsableData when no loss was saved."""
    names = trial.tensor_names(collection="losses")
    if not names:
        raise NoUsableData("no losses were saved: add the collection `losses` to DebugHookConfig.")
    return {name: list(_phases(trial, name)) for name in names}


def _phases(trial: LocalTrial, name: str) -> Iterator[Phase]:
    tensor = trial.tensor(name)
    steps: list[int] = []
    for step in tensor.steps():
        if steps and trial.mode(step) != trial.mode(steps[-1]):
            yield _phase(trial, name, steps)
            steps = []
        steps.append(step)
    if steps:
        yield _phase(trial, name, steps)


def _phase(trial: LocalTrial, name: str, steps: list[int]) -> Phase:
    values = [float(np.mean(trial.tensor(name).value(step))) for step in steps]
    return Phase(
        tensor=name,
        training=trial.mode(steps[0]) != modes.EVAL,
        first_step=steps[0],
        last_step=steps[-1],
        mean_loss=float(np.mean(values)),
    )


def training_steps(trial: LocalTrial, name: str) -> list[tuple[int, np.ndarray]]:
    """(global step, value) of a tensor at each training step it was saved in full, in order."""
    tensor = trial.tensor(name)
    return [
        (trial.global_step(modes.TRAIN, step), tensor.value(step, mode=modes.TRAIN))
        for step in tensor.steps(mode=modes.TRAIN)
    ]


def gradient_names(trial: LocalTrial) -> list[str]:
    """Names of the gradients saved in training. Raises NoUsableData when there are none."""
    names = [n for n in trial.tensor_names(collection="gradients") if trial.tensor(n).steps(mode=modes.TRAIN)]
    if not names:
        raise NoUsableData("no gradients were saved: add the collection `gradients` to DebugHookConfig.")
    return names
