"""VanishingGradient: gradients next to nothing. Semantics: SageMaker Debugger built-in rule VanishingGradient."""

from collections.abc import Iterator

from breeds.debugger.rules.base import Finding, TensorRule
from breeds.debugger.rules.saved import gradient_names, statistic, steps

ADVICE = "Raise the learning rate, check the initial weights, or look for units that are dead (always 0 after ReLU)."


class VanishingGradient(TensorRule):
    """mean |gradient| < threshold for any trained parameter at any saved training step.

    Needs `gradients`, in full or as the reduction abs_mean. Frozen parameters have no gradient and are not saved. A
    bias directly before batch norm has a gradient of 0 by construction; the backbones here have none.
    """

    def find(self) -> Iterator[Finding]:
        names = gradient_names(self.base_trial)
        found = [finding for name in names for finding in self._vanished(name)]
        yield from sorted(found, key=lambda finding: finding.step)

    def _vanished(self, name: str) -> Iterator[Finding]:
        for step in steps(self.base_trial, name):
            mean = statistic(self.base_trial, name, step, "mean", absolute=True)
            if mean is not None and not mean >= self.parameters["threshold"]:
                yield Finding(
                    tensor=name,
                    step=step,
                    value=mean,
                    threshold=self.parameters["threshold"],
                    advice=ADVICE,
                    text=f"mean |gradient| of {name} is {mean:.2g} at step {step}",
                )
