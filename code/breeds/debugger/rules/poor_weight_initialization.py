"""PoorWeightInitialization: a start nothing can be learned from.

Semantics: SageMaker Debugger built-in rule PoorWeightInitialization.
"""

import math
from collections.abc import Iterator

import numpy as np

from breeds.debugger.rules.base import Finding, TensorRule
from breeds.debugger.rules.saved import full, gradient_names, loss_phases, names, num_classes, statistic, steps

KNOWING = 0.9  # of the loss of guessing: with less at the start, the weights are not initial but learned


class PoorWeightInitialization(TensorRule):
    """In the first `steps` training steps, any of three:

    the variance of ReLU inputs differs between layers by a factor over `threshold`; the middle 90 % of some layer's
    gradient spans less than `distribution_range`; or the loss does not improve: its mean over the second `patience`
    steps is not below that over the first, or it starts at more than `threshold` times the loss of guessing.

    Chosen here, as AWS does not say: means of steps, because batches differ by more than a step gains; and a training
    whose first losses are already well below guessing, ln(classes), goes on from learned weights and is not judged.
    Needs `losses` and `gradients`, in full for the percentiles: where there are only reductions a range (max - min)
    below `distribution_range` still proves them narrow. `relu_input` may be reductions; without it that part is left
    out.
    """

    advice = (
        "Initialise each layer for the size of its input (PyTorch's default, Kaiming or Xavier) and standardise "
        "inputs; if it is the loss, lower the learning rate and shuffle the training data."
    )

    def find(self) -> Iterator[Finding]:
        gradients = gradient_names(self.base_trial)
        losses = self._losses()
        classes = num_classes(self.base_trial)
        guessing = math.log(classes) if classes and classes > 1 else None
        if guessing and all(np.mean(values) < KNOWING * guessing for _, _, values in losses):
            return
        found = [*self._uneven_activations(), *self._narrow_gradients(gradients), *self._flat_loss(losses, guessing)]
        yield from sorted(found, key=lambda finding: finding.step)

    def _first(self, name: str) -> list[int]:
        return steps(self.base_trial, name)[: self.parameters["steps"]]

    def _losses(self) -> list[tuple[str, list[int], list[float]]]:
        """By loss, the first training steps and their losses."""
        found = []
        for name in loss_phases(self.base_trial):
            own = self._first(name)
            if own:
                tensor = self.base_trial.tensor(name)
                found.append((name, own, [float(np.mean(tensor.value(step))) for step in own]))
        return found

    def _uneven_activations(self) -> Iterator[Finding]:
        variances: dict[int, dict[str, float]] = {}
        for name in names(self.base_trial, regex=self.parameters["activation_inputs_regex"]):
            for step in self._first(name):
                variance = statistic(self.base_trial, name, step, "variance")
                if variance is not None:
                    variances.setdefault(step, {})[name] = variance
        for step, by_layer in variances.items():
            widest, narrowest = max(by_layer, key=by_layer.__getitem__), min(by_layer, key=by_layer.__getitem__)
            ratio = by_layer[widest] / by_layer[narrowest] if by_layer[narrowest] > 0 else math.inf
            if len(by_layer) > 1 and not ratio <= self.parameters["threshold"]:
                text = f"variance of {widest} is {ratio:.3g}x that of {narrowest} at step {step}"
                yield self.finding(widest, step, ratio, self.parameters["threshold"], text)

    def _narrow_gradients(self, gradients: list[str]) -> Iterator[Finding]:
        limit = self.parameters["distribution_range"]
        for name in gradients:
            for step in self._first(name):
                span = self._span(name, step)
                if span is not None and not span >= limit:
                    text = f"90 % of {name} lies within {span:.2g} at step {step}"
                    yield self.finding(name, step, span, limit, text)

    def _span(self, name: str, step: int) -> float | None:
        """p95 - p5; of reductions the range, if that is too narrow already; None where neither tells."""
        gradient = full(self.base_trial, name, step)
        if gradient is not None:
            low, high = np.percentile(gradient, (5, 95))
            return float(high - low)
        ends = [statistic(self.base_trial, name, step, end) for end in ("min", "max")]
        if ends[0] is None or ends[1] is None:
            return None
        span = ends[1] - ends[0]
        return None if span >= self.parameters["distribution_range"] else span

    def _flat_loss(self, losses: list[tuple[str, list[int], list[float]]], guessing: float | None) -> Iterator[Finding]:
        patience = max(1, self.parameters["patience"])
        for name, own, values in losses:
            if guessing and not values[0] <= self.parameters["threshold"] * guessing:
                text = f"loss {values[0]:.3g} at step {own[0]} is {values[0] / guessing:.3g}x that of guessing"
                yield self.finding(name, own[0], values[0], self.parameters["threshold"] * guessing, text)
            before, after = values[:patience], values[patience : 2 * patience]
            if len(after) >= patience and not np.mean(after) < np.mean(before):
                step = own[min(2 * patience, len(own)) - 1]
                text = (
                    f"mean loss {np.mean(after):.3g} of {patience} steps until step {step} is not below the first "
                    f"{patience} steps' {np.mean(before):.3g}"
                )
                yield self.finding(name, step, float(np.mean(after)), float(np.mean(before)), text)
