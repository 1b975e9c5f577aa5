"""Reading what a training saved: which tensors, at which steps, in full or as reductions."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from smdebug import modes
from smdebug.exceptions import TensorUnavailableForStep
from smdebug.trials import LocalTrial

from breeds.debugger import trial_directory


class NoUsableData(Exception):
    """The tensors a rule needs were not saved; the text says which. Its status is Error, never NoIssuesFound."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Consecutive steps of one mode, with their losses: an epoch of training, or one evaluation."""

    tensor: str
    training: bool
    first_step: int
    last_step: int
    losses: tuple[float, ...]

    @property
    def mean_loss(self) -> float:
        return float(np.mean(self.losses))


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Labels and predictions [n] of one evaluation; `seen` is the share of its inputs that were trained on, or None."""

    step: int
    labels: np.ndarray
    predictions: np.ndarray
    num_classes: int
    seen: float | None

    @property
    def accuracy(self) -> float:
        return float(np.mean(self.labels == self.predictions))


def open_trial(directory: Path) -> LocalTrial:
    """The tensors of one training below `directory`. Raises NoUsableData where there are none, or several."""
    found = sorted({path.parent for path in directory.rglob("collections") if path.is_dir()})
    if not found:
        raise NoUsableData(f"{directory} holds no Debugger tensors: was the training's hook on?")
    if len(found) > 1:
        raise NoUsableData(f"{directory} holds the tensors of {len(found)} trainings: give those of one.")
    collections = sorted((found[0] / "collections").rglob("*_collections.json"))
    if not collections or not trial_directory.has_steps(found[0]):
        raise NoUsableData(f"{found[0]} holds no complete step: the training ended before the first was saved.")
    _check_workers(collections)
    trial = LocalTrial("training", str(found[0]), cache=True)
    # On SageMaker nobody marks the end of a training in the directory; without the mark each access lists it again.
    trial.loaded_all_steps = True
    return trial


def _check_workers(collections: list[Path]) -> None:
    """Raises NoUsableData where a process's tensors are missing: smdebug would wait for them for ever."""
    wanted = json.loads(collections[0].read_text()).get("_meta", {}).get("num_workers", 1)
    if int(wanted) > len(collections):
        raise NoUsableData(f"tensors of {wanted} processes were announced, those of {len(collections)} are here.")


def state(trial: LocalTrial) -> dict[str, Any]:
    """Whose tensors these are, and whether the training came to its end, as trial_directory.read_state has it."""
    return trial_directory.read_state(Path(trial.path))


def names(trial: LocalTrial, *, collections: str = "", regex: str = "") -> list[str]:
    """The union of tensors in `collections` and those that match one of the patterns; both comma-separated."""
    known = trial.collections()
    wanted = {name.strip() for name in collections.split(",")} & set(known)
    found = {tensor for name in wanted for tensor in trial._tensors_in_collection(name)}
    patterns = [pattern for pattern in regex.split(",") if pattern]
    found |= {name for name in trial._tensors if any(re.match(pattern, name) for pattern in patterns)}
    return sorted(name for name in found if trial.has_tensor(name))


def steps(trial: LocalTrial, name: str, mode: Any = modes.TRAIN) -> list[int]:
    """Global steps at which a tensor was saved in `mode`, in full or as reductions."""
    return [trial.global_step(mode, step) for step in trial.tensor(name).steps(mode=mode)]


def full(trial: LocalTrial, name: str, step: int) -> np.ndarray | None:
    """The values at a global step; None where only reductions were saved."""
    try:
        return trial.tensor(name).value(step)
    except TensorUnavailableForStep:
        return None


def statistic(trial: LocalTrial, name: str, step: int, reduction: str, *, absolute: bool = False) -> float | None:
    """min, max, mean, variance or l2 of a tensor at a global step, as saved or computed; None if neither can be."""
    try:
        value = trial.tensor(name).reduction_value(step, reduction, abs=absolute)
    except TensorUnavailableForStep:
        return None
    return None if value is None else float(value)


def reductions(trial: LocalTrial, name: str, step: int) -> dict[str, float]:
    """The reductions that were saved of a tensor at a global step, by name."""
    found = trial.tensor(name).reduction_values(step)
    return {f"abs_{name}" if absolute else name: float(value) for (name, absolute), value in found.items()}


def loss_phases(trial: LocalTrial) -> dict[str, list[Phase]]:
    """By loss tensor, its phases in order. Raises NoUsableData when no loss was saved."""
    found = names(trial, collections="losses")
    if not found:
        raise NoUsableData("no losses were saved: add the collection `losses` to DebugHookConfig.")
    return {name: list(_phases(trial, name)) for name in found}


def _phases(trial: LocalTrial, name: str) -> Iterator[Phase]:
    tensor = trial.tensor(name)
    current: list[int] = []
    for step in tensor.steps():
        if current and trial.mode(step) != trial.mode(current[-1]):
            yield _phase(trial, name, current)
            current = []
        current.append(step)
    if current:
        yield _phase(trial, name, current)


def _phase(trial: LocalTrial, name: str, own: list[int]) -> Phase:
    return Phase(
        tensor=name,
        training=trial.mode(own[0]) != modes.EVAL,
        first_step=own[0],
        last_step=own[-1],
        losses=tuple(float(np.mean(trial.tensor(name).value(step))) for step in own),
    )


def gradient_names(trial: LocalTrial) -> list[str]:
    """Names of the gradients saved in training. Raises NoUsableData when there are none."""
    found = [name for name in names(trial, regex="gradient/") if steps(trial, name)]
    if not found:
        raise NoUsableData("no gradients were saved: add the collection `gradients` to DebugHookConfig.")
    return found


def evaluations(trial: LocalTrial) -> list[Evaluation]:
    """Each evaluation's outcome. Raises NoUsableData when none was saved."""
    if not trial.has_tensor("validation_predictions"):
        raise NoUsableData("no validation labels and predictions were saved: add `outcomes` to DebugHookConfig.")
    return [_evaluation(trial, step) for step in steps(trial, "validation_predictions", modes.EVAL)]


def _evaluation(trial: LocalTrial, step: int) -> Evaluation:
    def value(name: str) -> np.ndarray | None:
        return full(trial, name, step) if trial.has_tensor(name) else None

    seen = value("validation_inputs_seen")
    return Evaluation(
        step=step,
        labels=trial.tensor("validation_labels").value(step),
        predictions=trial.tensor("validation_predictions").value(step),
        num_classes=int(trial.tensor("validation_num_classes").value(step)),
        seen=None if seen is None else float(seen),
    )


def num_classes(trial: LocalTrial) -> int | None:
    """As the logits had; None where no evaluation was saved."""
    try:
        found = evaluations(trial)
    except NoUsableData:
        return None
    return found[0].num_classes if found else None
