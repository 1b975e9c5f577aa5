"""UnchangedTensor: what training does not move. Semantics: SageMaker Debugger built-in rule UnchangedTensor."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from breeds.debugger.rules.base import Finding, NoUsableData, TensorRule
from breeds.debugger.rules.saved import full, names, reductions, steps

ADVICE = "Check that the optimizer was given these parameters and that the learning rate is not 0."


class UnchangedTensor(TensorRule):
    """A tensor stays the same (numpy.allclose) over the last `num_steps` saved training steps.

    AWS has no default for which: here the `weights`, as losses and gradients of different batches always differ.
    Reductions must all be equal to the last bit: a close norm does not mean close values.
    """

    def find(self) -> Iterator[Finding]:
        chosen = names(
            self.base_trial, collections=self.parameters["collection_names"], regex=self.parameters["tensor_regex"]
        )
        judged, found = False, []
        for name in chosen:
            own = steps(self.base_trial, name)
            count = max(2, self.parameters["num_steps"])
            same = [self._same(name, before, after) for before, after in pairwise(own)]
            judged |= len(own) >= count
            for last in range(count - 1, len(own)):
                if all(same[last - count + 1 : last]):
                    found.append(self._finding(name, own[last], own[last - count + 1]))
        if not judged:
            raise NoUsableData(f"no tensor was saved at {self.parameters['num_steps']} steps: add `weights`.")
        yield from sorted(found, key=lambda finding: finding.step)

    def _same(self, name: str, before: int, after: int) -> bool:
        old, new = full(self.base_trial, name, before), full(self.base_trial, name, after)
        if old is None or new is None:
            known = reductions(self.base_trial, name, before), reductions(self.base_trial, name, after)
            return bool(known[0]) and known[0] == known[1]
        tolerances = {key: self.parameters[key] for key in ("rtol", "atol", "equal_nan")}
        return bool(np.allclose(old, new, **tolerances))

    def _finding(self, name: str, step: int, since: int) -> Finding:
        return Finding(
            tensor=name,
            step=step,
            value=0.0,
            threshold=self.parameters["rtol"],
            advice=ADVICE,
            text=f"{name} has not changed from step {since} to step {step}",
        )
