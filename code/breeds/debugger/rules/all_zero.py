"""AllZero: tensors of zeros. Semantics: SageMaker Debugger built-in rule AllZero."""

from collections.abc import Iterator

import numpy as np

from breeds.debugger.rules.base import Finding, NoUsableData, TensorRule
from breeds.debugger.rules.saved import full, names, statistic, steps

ADVICE = "Look at the layer in front: dead units, an input that is missing, or a parameter that nothing reaches."


class AllZero(TensorRule):
    """At least `threshold` % of a tensor's values are 0 at a training step.

    AWS has no default for which tensors: here gradients, weights and ReLU inputs (biases may well begin at 0).
    Reductions show it where min = max = 0.
    """

    def find(self) -> Iterator[Finding]:
        chosen = names(
            self.base_trial, collections=self.parameters["collection_names"], regex=self.parameters["tensor_regex"]
        )
        judged, found = False, []
        for name in chosen:
            for step in steps(self.base_trial, name):
                zeros = self._zero_percentage(name, step)
                judged |= zeros is not None
                if zeros is not None and zeros >= self.parameters["threshold"]:
                    text = f"{zeros:.0f} % of {name} is 0 at step {step}"
                    threshold = self.parameters["threshold"]
                    found.append(
                        Finding(tensor=name, step=step, value=zeros, threshold=threshold, advice=ADVICE, text=text)
                    )
        if not judged:
            raise NoUsableData("none of the tensors that collection_names and tensor_regex name were saved.")
        yield from sorted(found, key=lambda finding: finding.step)

    def _zero_percentage(self, name: str, step: int) -> float | None:
        values = full(self.base_trial, name, step)
        if values is not None:
            return 100.0 * float(np.mean(values == 0))
        ends = [statistic(self.base_trial, name, step, end) for end in ("min", "max")]
        return None if None in ends else 100.0 * (ends == [0.0, 0.0])
