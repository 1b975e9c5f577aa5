"""Rules on the losses: Overfit, Overtraining, LossNotDecreasing."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from breeds.debugger.rules.base import Finding, TensorRule
from breeds.debugger.rules.saved import NoUsableData, Phase, loss_phases

NOISE = 3.0  # standard errors


class Overfit(TensorRule):
    """(mean validation loss - mean training loss) / mean training loss > ratio_threshold, `patience` times in a row.

    Compared once per evaluation, with the training since the one before: single batches jump too much to compare.
    Semantics: SageMaker Debugger built-in rule Overfit.
    """

    advice = "Stop earlier, or raise dropout, weight-decay, label-smoothing or augmented views; more images help most."

    def find(self) -> Iterator[Finding]:
        compared, threshold = False, self.parameters["ratio_threshold"]
        for phases in loss_phases(self.base_trial).values():
            streak = 0
            for training, validation in _pairs(phases):
                compared, step, mean = True, validation.last_step, validation.mean_loss
                if step < self.parameters["start_step"]:
                    continue
                ratio = (mean - training.mean_loss) / max(training.mean_loss, 1e-12)
                # Written so that a loss that is not a number counts against the model.
                streak = 0 if ratio <= threshold else streak + 1
                if streak >= max(1, self.parameters["patience"]):
                    than = f"{1 + ratio:.2f}x training loss {training.mean_loss:.3g}"
                    text = f"validation loss {mean:.3g} is {than} at step {step}"
                    yield self.finding(validation.tensor, step, ratio, threshold, text)
        if not compared:
            raise NoUsableData(
                "no evaluation follows a training in the saved losses: save them with eval.save_interval."
            )


def _pairs(phases: list[Phase]) -> Iterator[tuple[Phase, Phase]]:
    for before, after in zip(phases, phases[1:], strict=False):
        if before.training and not after.training:
            yield before, after


class Overtraining(TensorRule):
    """The mean loss has not fallen by `delta` for patience_train (training) or patience_validation epochs.

    Counted in epochs: per batch, noise alone exceeds the patience on healthy runs. Semantics: SageMaker Debugger
    built-in rule Overtraining.
    """

    advice = "Lower epochs or patience: the epochs after the best one cost time and can only overfit."

    def find(self) -> Iterator[Finding]:
        phases = [phase for tensor in loss_phases(self.base_trial).values() for phase in tensor]
        training = [phase for phase in phases if phase.training]
        if not training:
            raise NoUsableData("no training losses were saved: save them with train.save_interval.")
        yield from self._stalled(training, "training", self.parameters["patience_train"])
        validation = [phase for phase in phases if not phase.training]
        yield from self._stalled(validation, "validation", self.parameters["patience_validation"])

    def _stalled(self, phases: list[Phase], kind: str, patience: int) -> Iterator[Finding]:
        best, since, delta = float("inf"), 0, self.parameters["delta"]
        for phase in phases:
            mean, step = phase.mean_loss, phase.last_step
            if mean < best - delta:
                best, since = mean, 0
                continue
            since += 1
            if since >= max(1, patience):
                what = f"has not improved on {best:.3g} by {delta:g} for {since} epochs"
                yield self.finding(
                    phase.tensor, step, mean, best - delta, f"{kind} loss {mean:.3g} {what} at step {step}"
                )


@dataclass(frozen=True)
class Window:
    """Losses of some steps in a row; `error` is the standard error of their mean."""

    last_step: int
    mean: float
    error: float

    @classmethod
    def of(cls, last_step: int, losses: Sequence[float]) -> "Window":
        return cls(last_step, float(np.mean(losses)), float(np.std(losses)) / math.sqrt(len(losses)))


class LossNotDecreasing(TensorRule):
    """Over windows of at least `num_steps` steps and an epoch, the mean loss is not `diff_percent` below that of the
    first window, or it has risen above the lowest by more than `increase_threshold_percent` of the first.

    Semantics: SageMaker Debugger built-in rule LossNotDecreasing. Chosen here: AWS compares single steps, whose
    difference is mostly that of their batches, and calls each plateau after the first descent not decreasing, as every
    finished training has one (Overtraining speaks of those). A rise must also be larger than 3 standard errors of the
    difference: mixup's losses differ by more than the threshold from window to window. `mode`: TRAIN or GLOBAL for
    training losses, EVAL for validation losses. A training too short for two windows has two halves. Needs `losses` at
    every step, two at least.
    """

    advice = "Lower the learning rate if the loss rises; raise it, or check that the optimizer has the weights, if not."
    live_from = 2

    def find(self) -> Iterator[Finding]:
        compared = False
        for name, windows in self._windows().items():
            if not windows:
                continue
            first = lowest = windows[0]
            for window in windows[1:]:
                compared = True
                needed = first.mean * (1 - self.parameters["diff_percent"] / 100)
                rise = first.mean * self.parameters["increase_threshold_percent"] / 100
                allowed = lowest.mean + max(rise, NOISE * math.hypot(lowest.error, window.error))
                if not window.mean <= needed:
                    yield self._about(name, window, needed, f"has not fallen from {first.mean:.3g} at the start")
                elif not window.mean <= allowed:
                    yield self._about(name, window, allowed, f"has risen from {lowest.mean:.3g}")
                lowest = min(lowest, window, key=lambda each: each.mean)
        if not compared:
            raise NoUsableData("fewer than two losses were saved: save them with train.save_interval.")

    def _windows(self) -> dict[str, list[Window]]:
        """By loss."""
        training = self.parameters["mode"] != "EVAL"
        found: dict[str, list[Window]] = {}
        for name, phases in loss_phases(self.base_trial).items():
            windows: list[Window] = []
            waiting: list[float] = []
            for phase in (phase for phase in phases if phase.training == training):
                waiting += phase.losses
                if len(waiting) >= self.parameters["num_steps"] or not training:
                    windows.append(Window.of(phase.last_step, waiting))
                    waiting = []
            found[name] = windows if len(windows) > 1 else self._halves(phases, training)
        return found

    def _halves(self, phases: list[Phase], training: bool) -> list[Window]:
        """Of a training that is too short for two windows; the steps in between belong to the window's phase."""
        own = [(phase.last_step, loss) for phase in phases if phase.training == training for loss in phase.losses]
        if len(own) < 2:
            return []
        halves = own[: len(own) // 2], own[len(own) // 2 :]
        return [Window.of(half[-1][0], [loss for _, loss in half]) for half in halves]

    def _about(self, tensor: str, window: Window, threshold: float, what: str) -> Finding:
        text = f"mean loss {window.mean:.3g} {what} at step {window.last_step}"
        return self.finding(tensor, window.last_step, window.mean, threshold, text)
