"""DeadRelu: units that never fire. Semantics: SageMaker Debugger built-in rule DeadRelu."""

from collections.abc import Iterator

import numpy as np

from breeds.debugger.rules.base import Finding, NoUsableData, TensorRule
from breeds.debugger.rules.saved import full, names, statistic, steps
from breeds.debugger.rules.units import activity

ADVICE = "Lower the learning rate, check the biases before the ReLU, or standardise the inputs."


class DeadRelu(TensorRule):
    """More than `threshold_layer` % of a layer's ReLUs are active in less than `threshold_inactivity` % of a step's
    samples.

    AWS reads ReLU outputs; the inputs, which are saved here for PoorWeightInitialization anyway, say the same: a ReLU
    is active where its input is positive. Reductions only show that all are dead, where max <= 0.
    """

    def find(self) -> Iterator[Finding]:
        judged, found = False, []
        for name in names(self.base_trial, regex=self.parameters["tensor_regex"]):
            for step in steps(self.base_trial, name):
                dead = self._dead_percentage(name, step)
                judged |= dead is not None
                if dead is not None and not dead <= self.parameters["threshold_layer"]:
                    found.append(self._finding(name, step, dead))
        if not judged:
            raise NoUsableData("no ReLU inputs were saved in full: add `relu_input` to DebugHookConfig.")
        yield from sorted(found, key=lambda finding: finding.step)

    def _dead_percentage(self, name: str, step: int) -> float | None:
        values = full(self.base_trial, name, step)
        if values is None:
            highest = statistic(self.base_trial, name, step, "max")
            return 100.0 if highest is not None and highest <= 0 else None
        return 100.0 * float(np.mean(activity(values > 0) < self.parameters["threshold_inactivity"]))

    def _finding(self, name: str, step: int, dead: float) -> Finding:
        return Finding(
            tensor=name,
            step=step,
            value=dead,
            threshold=self.parameters["threshold_layer"],
            advice=ADVICE,
            text=f"{dead:.0f} % of the ReLUs behind {name} are dead at step {step}",
        )
