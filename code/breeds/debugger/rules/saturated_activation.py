"""SaturatedActivation: tanh and sigmoid at their ends. Semantics: SageMaker Debugger rule SaturatedActivation."""

from collections.abc import Iterator

import numpy as np

from breeds.debugger.rules.base import Finding, NoUsableData, TensorRule
from breeds.debugger.rules.saved import full, names, steps
from breeds.debugger.rules.units import activity

ADVICE = "Initialise with smaller weights, standardise the inputs, or use ReLU."


class SaturatedActivation(TensorRule):
    """More than `threshold_layer` % of a layer's tanh or sigmoid units have an input between their thresholds, where
    the function still has a slope, in less than `threshold_inactivity` % of a step's samples.

    Not applied by default: the networks here have neither. Needs their inputs in full: a collection with include_regex
    `.*tanh_input|.*sigmoid_input`; the modules must be called so.
    """

    def find(self) -> Iterator[Finding]:
        judged, found = False, []
        for name in names(self.base_trial, regex=self.parameters["tensor_regex"]):
            kind = "tanh" if "tanh" in name.lower() else "sigmoid"
            low, high = (self.parameters[f"threshold_{kind}_{end}"] for end in ("min", "max"))
            for step in steps(self.base_trial, name):
                values = full(self.base_trial, name, step)
                if values is None:
                    continue
                judged = True
                share = activity((values > low) & (values < high)) < self.parameters["threshold_inactivity"]
                saturated = 100.0 * float(np.mean(share))
                if saturated > self.parameters["threshold_layer"]:
                    found.append(
                        Finding(
                            tensor=name,
                            step=step,
                            value=saturated,
                            threshold=self.parameters["threshold_layer"],
                            advice=ADVICE,
                            text=f"{saturated:.0f} % of the {kind} units behind {name} are saturated at step {step}",
                        )
                    )
        if not judged:
            raise NoUsableData("no inputs of tanh or sigmoid were saved in full.")
        yield from sorted(found, key=lambda finding: finding.step)
