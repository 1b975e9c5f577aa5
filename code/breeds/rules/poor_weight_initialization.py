"""PoorWeightInitialization: a start nothing can be learned from.

Semantics: SageMaker Debugger built-in rule PoorWeightInitialization.
"""

from collections.abc import Iterator

import numpy as np

from breeds.rules.base import Finding, TensorRule, gradient_names, loss_phases, training_steps

ADVICE = (
    "Initialise each layer for the size of its input (PyTorch's default, Kaiming or Xavier) and standardise inputs."
)

RELU_INPUT = r".*(relu|ReLU)\d*_input"


class PoorWeightInitialization(TensorRule):
    """In the first `steps` training steps, any of three:

    the variance of ReLU inputs differs between layers by a factor over `threshold`; the middle 90 % of some layer's
    gradient spans less than `distribution_range`; or the loss stays at or above the first for `patience` steps.
    """

    defaults = {"steps": 10, "threshold": 10.0, "distribution_range": 0.001, "patience": 5}

    def find(self) -> Iterator[Finding]:
        found = [*self._uneven_activations(), *self._narrow_gradients(), *self._flat_loss()]
        yield from sorted(found, key=lambda finding: finding.step)

    def _first(self, name: str) -> list[tuple[int, np.ndarray]]:
        return training_steps(self.base_trial, name)[: self.parameters["steps"]]

    def _uneven_activations(self) -> Iterator[Finding]:
        """A trial without saved ReLU inputs has nothing to compare; its gradients and losses still speak."""
        variances: dict[int, dict[str, float]] = {}
        for name in self.base_trial.tensor_names(regex=RELU_INPUT):
            for step, value in self._first(name):
                variances.setdefault(step, {})[name] = float(np.var(value))
        for step, by_layer in variances.items():
            widest, narrowest = max(by_layer, key=by_layer.__getitem__), min(by_layer, key=by_layer.__getitem__)
            ratio = by_layer[widest] / by_layer[narrowest] if by_layer[narrowest] > 0 else float("inf")
            if len(by_layer) > 1 and not ratio <= self.parameters["threshold"]:
                yield self._finding(
                    widest,
                    step,
                    ratio,
                    self.parameters["threshold"],
                    f"variance of {widest} is {ratio:.3g}x that of {narrowest} at step {step}",
                )

    def _narrow_gradients(self) -> Iterator[Finding]:
        for name in gradient_names(self.base_trial):
            for step, gradient in self._first(name):
                low, high = np.percentile(gradient, (5, 95))
                if not high - low >= self.parameters["distribution_range"]:
                    yield self._finding(
                        name,
                        step,
                        float(high - low),
                        self.parameters["distribution_range"],
                        f"90 % of {name} lies within {high - low:.2g} at step {step}",
                    )

    def _flat_loss(self) -> Iterator[Finding]:
        """Against the first loss, not the best so far: a fast start that bounces is no matter of initial weights."""
        for name in loss_phases(self.base_trial):
            losses = [(step, float(np.mean(value))) for step, value in self._first(name)]
            first, since = losses[0][1] if losses else 0.0, 0
            for step, loss in losses[1:]:
                since = 0 if loss < first else since + 1
                if since >= max(1, self.parameters["patience"]):
                    text = f"loss {loss:.3g} at step {step} stays at or above the first, {first:.3g}, for {since} steps"
                    yield self._finding(name, step, loss, first, text)

    def _finding(self, tensor: str, step: int, value: float, threshold: float, text: str) -> Finding:
        return Finding(tensor=tensor, step=step, value=value, threshold=threshold, advice=ADVICE, text=text)
