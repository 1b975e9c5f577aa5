"""WeightUpdateRatio: steps too large or too small. Semantics: SageMaker Debugger built-in rule WeightUpdateRatio."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from breeds.debugger.rules.base import Finding, NoUsableData, TensorRule
from breeds.debugger.rules.saved import full, names, steps

ADVICE = "Lower the learning rate if updates are too large, raise it if they are too small."


class WeightUpdateRatio(TensorRule):
    """mean |w - w'| / (mean |w'| + epsilon) between two saved steps is over `large_threshold` or under
    `small_threshold`. `num_steps`: how far apart the two may be at most.

    The formula is chosen here, as AWS does not say. Not applied by default: it needs `weights` in full at two or more
    steps, which for a head are megabytes each.
    """

    def find(self) -> Iterator[Finding]:
        judged = False
        found: list[Finding] = []
        for name in names(self.base_trial, collections="weights"):
            for before, after in pairwise(steps(self.base_trial, name)):
                old, new = full(self.base_trial, name, before), full(self.base_trial, name, after)
                limit = self.parameters["num_steps"]
                if old is None or new is None or (limit is not None and after - before > limit):
                    continue
                judged = True
                ratio = float(np.abs(new - old).mean() / (np.abs(old).mean() + self.parameters["epsilon"]))
                found += self._judge(name, after, ratio)
        if not judged:
            raise NoUsableData("no weights were saved in full at two steps: add `weights` to DebugHookConfig.")
        yield from sorted(found, key=lambda finding: finding.step)

    def _judge(self, name: str, step: int, ratio: float) -> Iterator[Finding]:
        small, large = self.parameters["small_threshold"], self.parameters["large_threshold"]
        if not small <= ratio <= large:
            yield Finding(
                tensor=name,
                step=step,
                value=ratio,
                threshold=small if ratio < small else large,
                advice=ADVICE,
                text=f"{name} changed by {ratio:.2g} of its size until step {step}",
            )
