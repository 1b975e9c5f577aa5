"""ExplodingTensor: NaN or infinity. Semantics: SageMaker Debugger built-in rule ExplodingTensor."""

import math
from collections.abc import Iterator

import numpy as np

from breeds.debugger.rules.base import Finding, NoUsableData, TensorRule
from breeds.debugger.rules.saved import full, names, reductions, steps

ADVICE = "Lower the learning rate, clip gradients, or look for broken values in the inputs of that step."


class ExplodingTensor(TensorRule):
    """A value that is NaN or, unless `only_nan`, infinite, in any saved tensor of any mode.

    Needs any tensors, in full or as reductions (each of which a single such value spoils).
    """

    def find(self) -> Iterator[Finding]:
        collections, regex = self.parameters["collection_names"], self.parameters["tensor_regex"]
        chosen = names(self.base_trial, collections=collections, regex=regex if collections or regex else ".*")
        if not chosen:
            raise NoUsableData("no tensors were saved that collection_names or tensor_regex name.")
        found = [finding for name in chosen for finding in self._exploded(name)]
        yield from sorted(found, key=lambda finding: finding.step)

    def _exploded(self, name: str) -> Iterator[Finding]:
        for mode in self.base_trial.modes():
            for step in steps(self.base_trial, name, mode):
                bad = self._bad_value(name, step)
                if bad is not None:
                    text = f"{name} holds {'NaN' if math.isnan(bad) else 'infinity'} at step {step}"
                    yield Finding(tensor=name, step=step, value=bad, threshold=math.inf, advice=ADVICE, text=text)

    def _bad_value(self, name: str, step: int) -> float | None:
        value = full(self.base_trial, name, step)
        values = np.array(list(reductions(self.base_trial, name, step).values())) if value is None else value
        broken = values[np.isnan(values) if self.parameters["only_nan"] else ~np.isfinite(values)]
        return float(broken.flat[0]) if broken.size else None
