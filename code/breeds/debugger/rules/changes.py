"""Rules on how a tensor changes from one saved step to the next: UnchangedTensor, WeightUpdateRatio."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from breeds.debugger.rules.base import EachTensorRule, Finding
from breeds.debugger.rules.saved import full, names, reductions, steps


class UnchangedTensor(EachTensorRule):
    """A tensor stays the same (numpy.allclose) over the last `num_steps` saved training steps. Semantics: SageMaker
    Debugger built-in rule UnchangedTensor.

    AWS has no default for which: here the `weights`, as losses and gradients of different batches always differ.
    Reductions must all be equal to the last bit: a close norm does not mean close values.
    """

    advice = "Check that the optimizer was given these parameters and that the learning rate is not 0."
    nothing = "no tensor was saved at {num_steps} steps: add `weights`."

    def judge(self, name: str) -> Iterator[Finding | None]:
        own = steps(self.base_trial, name)
        gaps = max(2, self.parameters["num_steps"]) - 1
        same = [self._same(name, before, after) for before, after in pairwise(own)]
        for last in range(gaps, len(own)):
            text = f"{name} has not changed from step {own[last - gaps]} to step {own[last]}"
            unchanged = all(same[last - gaps : last])
            yield self.finding(name, own[last], 0.0, self.parameters["rtol"], text) if unchanged else None

    def _same(self, name: str, before: int, after: int) -> bool:
        old, new = full(self.base_trial, name, before), full(self.base_trial, name, after)
        if old is None or new is None:
            known = reductions(self.base_trial, name, before), reductions(self.base_trial, name, after)
            return bool(known[0]) and known[0] == known[1]
        tolerances = {key: self.parameters[key] for key in ("rtol", "atol", "equal_nan")}
        return bool(np.allclose(old, new, **tolerances))


class WeightUpdateRatio(EachTensorRule):
    """mean |w - w'| / (mean |w'| + epsilon) between two saved steps is over `large_threshold` or under
    `small_threshold`. `num_steps`: how far apart the two may be at most. Semantics: SageMaker Debugger built-in rule
    WeightUpdateRatio.

    The formula is chosen here, as AWS does not say. Not applied by default: it needs `weights` in full at two or more
    steps, which for a head are megabytes each.
    """

    advice = "Lower the learning rate if updates are too large, raise it if they are too small."
    nothing = "no weights were saved in full at two steps: add `weights` to DebugHookConfig."

    def chosen(self) -> list[str]:
        return names(self.base_trial, collections="weights")

    def judge(self, name: str) -> Iterator[Finding | None]:
        small, large, limit = (self.parameters[p] for p in ("small_threshold", "large_threshold", "num_steps"))
        for before, after in pairwise(steps(self.base_trial, name)):
            old, new = full(self.base_trial, name, before), full(self.base_trial, name, after)
            if old is None or new is None or (limit is not None and after - before > limit):
                continue
            ratio = float(np.abs(new - old).mean() / (np.abs(old).mean() + self.parameters["epsilon"]))
            text = f"{name} changed by {ratio:.2g} of its size until step {after}"
            crossed = small if ratio < small else large
            yield self.finding(name, after, ratio, crossed, text) if not small <= ratio <= large else None
