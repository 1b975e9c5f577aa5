"""TensorVariance: very high or low variances. Semantics: SageMaker Debugger built-in rule TensorVariance."""

from collections.abc import Iterator

from breeds.debugger.rules.base import Finding, NoUsableData, TensorRule
from breeds.debugger.rules.saved import names, statistic, steps

ADVICE = "Initialise with Kaiming or Xavier weights, standardise inputs, or add weight-decay if variances grow."


class TensorVariance(TensorRule):
    """A tensor's variance is over `max_threshold` or under `min_threshold` at a training step.

    AWS has no default for either; without one there is nothing to judge, so it is not applied by default. The tensors
    are by default the `weights`, in full or as the reduction variance.
    """

    def find(self) -> Iterator[Finding]:
        highest, lowest = self.parameters["max_threshold"], self.parameters["min_threshold"]
        if highest is None and lowest is None:
            raise NoUsableData("no threshold was given: set max_threshold or min_threshold.")
        chosen = names(
            self.base_trial, collections=self.parameters["collection_names"], regex=self.parameters["tensor_regex"]
        )
        judged, found = False, []
        for name in chosen:
            for step in steps(self.base_trial, name):
                variance = statistic(self.base_trial, name, step, "variance")
                if variance is None:
                    continue
                judged = True
                for threshold, is_bad in (
                    (highest, highest is not None and not variance <= highest),
                    (lowest, lowest is not None and not variance >= lowest),
                ):
                    if is_bad:
                        text = f"variance of {name} is {variance:.3g} at step {step}"
                        found.append(
                            Finding(
                                tensor=name, step=step, value=variance, threshold=threshold, advice=ADVICE, text=text
                            )
                        )
        if not judged:
            raise NoUsableData("none of the tensors that collection_names and tensor_regex name were saved.")
        yield from sorted(found, key=lambda finding: finding.step)
