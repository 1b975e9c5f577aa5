"""ClassImbalance: few images of some classes. Semantics: SageMaker Debugger built-in rule ClassImbalance."""

from collections.abc import Iterator

import numpy as np

from breeds.debugger.rules.base import Finding, NoUsableData, TensorRule
from breeds.debugger.rules.saved import evaluations, full, num_classes, steps

ADVICE = "Collect more images of the rare classes, or sample or weight them up; leave out classes that have none."
MIN_IMAGES = 10  # validation images of a class, below which a share of them says nothing


class ClassImbalance(TensorRule):
    """The largest class has more than `threshold_imbalance` times the training labels of the smallest; or more than
    `threshold_misprediction` of the last evaluation's images of an underrepresented class are mispredicted.

    Chosen here: a class is underrepresented if it has less than half of the largest class's labels, and is judged from
    10 validation images on. A class without any label counts as having one. Needs `outcomes`: the labels of the first
    epoch, at least `samples` of them, and the labels and predictions of evaluations.
    """

    def find(self) -> Iterator[Finding]:
        counts, step = self._counts()
        largest, smallest = int(counts.argmax()), int(counts.argmin())
        ratio = counts[largest] / max(1, counts[smallest])
        if ratio > self.parameters["threshold_imbalance"]:
            yield self._finding(
                "training_labels",
                step,
                ratio,
                self.parameters["threshold_imbalance"],
                f"class {largest} has {counts[largest]} training labels, {ratio:.3g}x those of class {smallest}",
            )
        last = evaluations(self.base_trial)[-1]
        for each in np.flatnonzero(counts < counts.max() / 2):
            own = last.labels == each
            wrong = float(np.mean(last.predictions[own] != each)) if own.sum() >= MIN_IMAGES else 0.0
            if wrong > self.parameters["threshold_misprediction"]:
                yield self._finding(
                    "validation_predictions",
                    last.step,
                    wrong,
                    self.parameters["threshold_misprediction"],
                    f"{wrong:.0%} of the validation images of class {each}, which has {counts[each]} of "
                    f"{counts.sum()} training labels, are mispredicted at step {last.step}",
                )

    def _counts(self) -> tuple[np.ndarray, int]:
        """Training labels by class, and the step they were saved at."""
        classes = num_classes(self.base_trial)
        if classes is None or not self.base_trial.has_tensor("training_labels"):
            raise NoUsableData("no training labels were saved: add `outcomes` to DebugHookConfig.")
        step = steps(self.base_trial, "training_labels")[0]
        labels = full(self.base_trial, "training_labels", step)
        if labels is None or len(labels) < min(self.parameters["samples"], 10 * classes):
            raise NoUsableData(f"{0 if labels is None else len(labels)} training labels are too few to judge.")
        return np.bincount(labels, minlength=classes), step

    def _finding(self, tensor: str, step: int, value: float, threshold: float, text: str) -> Finding:
        return Finding(tensor=tensor, step=step, value=float(value), threshold=threshold, advice=ADVICE, text=text)
