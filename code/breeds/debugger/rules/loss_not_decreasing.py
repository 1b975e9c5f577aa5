"""LossNotDecreasing: training that stands still or rises. Semantics: SageMaker Debugger rule LossNotDecreasing."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from breeds.debugger.rules.base import Finding, NoUsableData, TensorRule
from breeds.debugger.rules.saved import Phase, loss_phases

ADVICE = "Lower the learning rate if the loss rises; raise it, or check that the optimizer has the weights, if not."
NOISE = 3.0  # standard errors


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

    Chosen here: AWS compares single steps, whose difference is mostly that of their batches, and calls each plateau
    after the first descent not decreasing, as every finished training has one (Overtraining speaks of those). A rise
    must also be larger than 3 standard errors of the difference: mixup's losses differ by more than the threshold from
    window to window. `mode`: TRAIN or GLOBAL for training losses, EVAL for validation losses. A training too short for
    two windows has two halves. Needs `losses` at every step, two at least.
    """

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
                    yield self._finding(name, window, needed, f"has not fallen from {first.mean:.3g} at the start")
                elif not window.mean <= allowed:
                    yield self._finding(name, window, allowed, f"has risen from {lowest.mean:.3g}")
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

    def _finding(self, tensor: str, window: Window, threshold: float, what: str) -> Finding:
        step, value = window.last_step, window.mean
        text = f"mean loss {value:.3g} {what} at step {step}"
        return Finding(tensor=tensor, step=step, value=value, threshold=threshold, advice=ADVICE, text=text)
