"""Rules on the inputs of activation functions: DeadRelu, SaturatedActivation."""

from collections.abc import Iterator

import numpy as np

from breeds.debugger.rules.base import EachTensorRule, Finding
from breeds.debugger.rules.saved import full, statistic, steps


class DeadRelu(EachTensorRule):
    """More than `threshold_layer` % of a layer's ReLUs are active in less than `threshold_inactivity` % of a step's
    samples. Semantics: SageMaker Debugger built-in rule DeadRelu.

    AWS reads ReLU outputs; the inputs, which are saved here for PoorWeightInitialization anyway, say the same: a ReLU
    is active where its input is positive. Reductions only show that all are dead, where max <= 0.
    """

    advice = "Lower the learning rate, check the biases before the ReLU, or standardise the inputs."
    nothing = "no ReLU inputs were saved in full: add `relu_input` to DebugHookConfig."

    def judge(self, name: str) -> Iterator[Finding | None]:
        limit = self.parameters["threshold_layer"]
        for step in steps(self.base_trial, name):
            dead = self._dead_percentage(name, step)
            if dead is not None:
                text = f"{dead:.0f} % of the ReLUs behind {name} are dead at step {step}"
                yield self.finding(name, step, dead, limit, text) if not dead <= limit else None

    def _dead_percentage(self, name: str, step: int) -> float | None:
        values = full(self.base_trial, name, step)
        if values is None:
            highest = statistic(self.base_trial, name, step, "max")
            return 100.0 if highest is not None and highest <= 0 else None
        return 100.0 * float(np.mean(activity(values > 0) < self.parameters["threshold_inactivity"]))


class SaturatedActivation(EachTensorRule):
    """More than `threshold_layer` % of a layer's tanh or sigmoid units have an input between their thresholds, where
    the function still has a slope, in less than `threshold_inactivity` % of a step's samples. Semantics: SageMaker
    Debugger built-in rule SaturatedActivation.

    Not applied by default: the networks here have neither. Needs their inputs in full: a collection with include_regex
    `.*tanh_input|.*sigmoid_input`; the modules must be called so.
    """

    advice = "Initialise with smaller weights, standardise the inputs, or use ReLU."
    nothing = "no inputs of tanh or sigmoid were saved in full."

    def judge(self, name: str) -> Iterator[Finding | None]:
        kind = "tanh" if "tanh" in name.lower() else "sigmoid"
        low, high = (self.parameters[f"threshold_{kind}_{end}"] for end in ("min", "max"))
        limit = self.parameters["threshold_layer"]
        for step in steps(self.base_trial, name):
            values = full(self.base_trial, name, step)
            if values is not None:
                share = activity((values > low) & (values < high)) < self.parameters["threshold_inactivity"]
                saturated = 100.0 * float(np.mean(share))
                text = f"{saturated:.0f} % of the {kind} units behind {name} are saturated at step {step}"
                yield self.finding(name, step, saturated, limit, text) if saturated > limit else None


def activity(active: np.ndarray) -> np.ndarray:
    """Percentage of the samples (and positions, of a feature map) in which each unit is active.

    active: bool [n, units] or [n, channels, height, width]; returns float [units].
    """
    if active.ndim < 2:
        return np.atleast_1d(100.0 * active)
    others = tuple(axis for axis in range(active.ndim) if axis != 1)
    return 100.0 * active.mean(axis=others)
