"""Rules on the values of single tensors: VanishingGradient, ExplodingTensor, AllZero, TensorVariance."""

import math
from collections.abc import Iterator

import numpy as np

from breeds.debugger.rules.base import EachTensorRule, Finding
from breeds.debugger.rules.saved import NoUsableData, full, gradient_names, names, reductions, statistic, steps


class VanishingGradient(EachTensorRule):
    """mean |gradient| < threshold for any trained parameter at any saved training step. Semantics: SageMaker Debugger
    built-in rule VanishingGradient.

    Needs `gradients`, in full or as the reduction abs_mean. Frozen parameters have no gradient and are not saved. A
    bias directly before batch norm has a gradient of 0 by construction; the backbones here have none.
    """

    advice = (
        "Raise the learning rate, check the initial weights, or look for units that are dead (always 0 after ReLU)."
    )

    def chosen(self) -> list[str]:
        return gradient_names(self.base_trial)

    def judge(self, name: str) -> Iterator[Finding | None]:
        limit = self.parameters["threshold"]
        for step in steps(self.base_trial, name):
            mean = statistic(self.base_trial, name, step, "mean", absolute=True)
            if mean is None or mean >= limit:
                yield None
            else:
                yield self.finding(name, step, mean, limit, f"mean |gradient| of {name} is {mean:.2g} at step {step}")


class ExplodingTensor(EachTensorRule):
    """A value that is NaN or, unless `only_nan`, infinite, in any saved tensor of any mode. Semantics: SageMaker
    Debugger built-in rule ExplodingTensor.

    Needs any tensors, in full or as reductions (each of which a single such value spoils).
    """

    advice = "Lower the learning rate, clip gradients, or look for broken values in the inputs of that step."
    nothing = "no tensors were saved that collection_names or tensor_regex name."

    def chosen(self) -> list[str]:
        named = self.parameters["collection_names"] or self.parameters["tensor_regex"]
        return super().chosen() if named else names(self.base_trial, regex=".*")

    def judge(self, name: str) -> Iterator[Finding | None]:
        for mode in self.base_trial.modes():
            for step in steps(self.base_trial, name, mode):
                bad = self._bad_value(name, step)
                if bad is None:
                    yield None
                else:
                    text = f"{name} holds {'NaN' if math.isnan(bad) else 'infinity'} at step {step}"
                    yield self.finding(name, step, bad, math.inf, text)

    def _bad_value(self, name: str, step: int) -> float | None:
        value = full(self.base_trial, name, step)
        values = np.array(list(reductions(self.base_trial, name, step).values())) if value is None else value
        broken = values[np.isnan(values) if self.parameters["only_nan"] else ~np.isfinite(values)]
        return float(broken.flat[0]) if broken.size else None


class AllZero(EachTensorRule):
    """At least `threshold` % of a tensor's values are 0 at a training step. Semantics: SageMaker Debugger built-in rule
    AllZero.

    AWS has no default for which tensors: here gradients, weights and ReLU inputs (biases may well begin at 0).
    Reductions show it where min = max = 0.
    """

    advice = "Look at the layer in front: dead units, an input that is missing, or a parameter that nothing reaches."

    def judge(self, name: str) -> Iterator[Finding | None]:
        limit = self.parameters["threshold"]
        for step in steps(self.base_trial, name):
            zeros = self._zero_percentage(name, step)
            if zeros is not None:
                text = f"{zeros:.0f} % of {name} is 0 at step {step}"
                yield self.finding(name, step, zeros, limit, text) if zeros >= limit else None

    def _zero_percentage(self, name: str, step: int) -> float | None:
        values = full(self.base_trial, name, step)
        if values is not None:
            return 100.0 * float(np.mean(values == 0))
        ends = [statistic(self.base_trial, name, step, end) for end in ("min", "max")]
        return None if None in ends else 100.0 * (ends == [0.0, 0.0])


class TensorVariance(EachTensorRule):
    """A tensor's variance is over `max_threshold` or under `min_threshold` at a training step. Semantics: SageMaker
    Debugger built-in rule TensorVariance.

    AWS has no default for either; without one there is nothing to judge, so it is not applied by default. The tensors
    are by default the `weights`, in full or as the reduction variance.
    """

    advice = "Initialise with Kaiming or Xavier weights, standardise inputs, or add weight-decay if variances grow."

    def find(self) -> Iterator[Finding]:
        if self.parameters["max_threshold"] is None and self.parameters["min_threshold"] is None:
            raise NoUsableData("no threshold was given: set max_threshold or min_threshold.")
        yield from super().find()

    def judge(self, name: str) -> Iterator[Finding | None]:
        highest, lowest = self.parameters["max_threshold"], self.parameters["min_threshold"]
        for step in steps(self.base_trial, name):
            variance = statistic(self.base_trial, name, step, "variance")
            if variance is not None:
                text = f"variance of {name} is {variance:.3g} at step {step}"
                high, low = (None if limit is None else (variance, limit, text) for limit in (highest, lowest))
                yield self.finding(name, step, *high) if high and not variance <= highest else None
                yield self.finding(name, step, *low) if low and not variance >= lowest else None
