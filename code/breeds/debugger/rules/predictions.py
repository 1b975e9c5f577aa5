"""Rules on labels and predictions, which `outcomes` saves: NotLearning, LabelLeak, ClassImbalance."""

from collections.abc import Iterator

import numpy as np

from breeds.debugger.rules.base import Finding, TensorRule
from breeds.debugger.rules.chance import at_least
from breeds.debugger.rules.saved import Evaluation, NoUsableData, evaluations, full, num_classes, steps

MIN_IMAGES = 10  # validation images of a class, below which a share of them says nothing


class NotLearning(TensorRule):
    """The best evaluation's accuracy may still be that of guessing, or too little above it. SageMaker Debugger has no
    such rule.

    Guessing is always naming the largest class of the validation set, or drawing one of the classes, whichever is
    right more often: g. A model has to avoid the share `margin` of guessing's errors: accuracy g + margin * (1 - g)
    (Cohen's kappa, with the majority as chance). The rule fires unless so many right answers would have a probability
    under `significance` if that were its true accuracy (one-sided binomial test). The best evaluation is the one whose
    weights training keeps or could have kept, so an unlucky last epoch is no finding. Needs `outcomes`.

    A training that still runs gets the benefit of the doubt: it is stopped if so few right answers would be as unlikely
    for a model that is that good.
    """

    advice = (
        "Check that labels belong to their images, that the learning rate suits, and that training changes weights."
    )
    live_from = 3
    live_parameters = {"significance": 0.9}

    def find(self) -> Iterator[Finding]:
        best = max(_saved(self), key=lambda evaluation: evaluation.accuracy)
        accuracy, count = best.accuracy, len(best.labels)
        guessing = max(float(np.bincount(best.labels).max() / count), 1 / best.num_classes)
        needed = guessing + self.parameters["margin"] * (1 - guessing)
        right = round(accuracy * count)
        luck = at_least(right, count, needed)
        if luck >= self.parameters["significance"]:
            text = (
                f"validation accuracy {accuracy:.1%} ({right} of {count}) is not above {needed:.1%}: guessing gives "
                f"{guessing:.1%}, and a model that is right in {needed:.1%} does so well or better with probability "
                f"{luck:.2g}"
            )
            yield self.finding("validation_predictions", best.step, accuracy, needed, text)


class LabelLeak(TensorRule):
    """More than `max_seen` of the validation inputs were trained on, bit by bit; or the first evaluation is already
    implausibly perfect: an accuracy of `perfect` or more on at least `min_images` images of `min_classes` classes.
    SageMaker Debugger has no such rule.

    Needs `outcomes`. The inputs are compared where training sees them unaltered: cached features, but neither crops nor
    mixup. Under DDP the first process knows its own share of them only.
    """

    advice = "Look for the label in the inputs (names, borders, stamps) and for near copies of training images."
    of_seen = "Remove the images that are in both splits: validation must be of images that training never saw."

    def find(self) -> Iterator[Finding]:
        found, limits = _saved(self), self.parameters
        worst = max(found, key=lambda evaluation: evaluation.seen or 0.0)
        if worst.seen and worst.seen > limits["max_seen"]:
            text = f"{worst.seen:.1%} of the validation inputs were trained on by step {worst.step}"
            seen, limit = worst.seen, limits["max_seen"]
            yield self.finding("validation_inputs_seen", worst.step, seen, limit, text, self.of_seen)
        first, images, classes = found[0], len(found[0].labels), found[0].num_classes
        enough = images >= limits["min_images"] and classes >= limits["min_classes"]
        if enough and first.accuracy >= limits["perfect"]:
            text = (
                f"validation accuracy is {first.accuracy:.1%} of {images} images in {classes} classes at the first "
                f"evaluation, step {first.step}"
            )
            yield self.finding("validation_predictions", first.step, first.accuracy, limits["perfect"], text)


def _saved(rule: TensorRule) -> list[Evaluation]:
    found = evaluations(rule.base_trial)
    if not found:
        raise NoUsableData("no evaluation was saved.")
    return found


class ClassImbalance(TensorRule):
    """The largest class has more than `threshold_imbalance` times the training labels of the smallest; or more than
    `threshold_misprediction` of the last evaluation's images of an underrepresented class are mispredicted.

    Semantics: SageMaker Debugger built-in rule ClassImbalance. Chosen here: a class is underrepresented if it has less
    than half of the largest class's labels, and is judged from 10 validation images on. A class without any label
    counts as having one. Needs `outcomes`: the labels of the first epoch, at least `samples` of them, and the labels
    and predictions of evaluations.
    """

    advice = "Collect more images of the rare classes, or sample or weight them up; leave out classes that have none."

    def find(self) -> Iterator[Finding]:
        counts, step = self._counts()
        largest, smallest = int(counts.argmax()), int(counts.argmin())
        ratio, limit = counts[largest] / max(1, counts[smallest]), self.parameters["threshold_imbalance"]
        if ratio > limit:
            text = f"class {largest} has {counts[largest]} training labels, {ratio:.3g}x those of class {smallest}"
            yield self.finding("training_labels", step, ratio, limit, text)
        last, limit = evaluations(self.base_trial)[-1], self.parameters["threshold_misprediction"]
        for each in np.flatnonzero(counts < counts.max() / 2):
            own = last.labels == each
            wrong = float(np.mean(last.predictions[own] != each)) if own.sum() >= MIN_IMAGES else 0.0
            if wrong > limit:
                text = (
                    f"{wrong:.0%} of the validation images of class {each}, which has {counts[each]} of {counts.sum()} "
                    f"training labels, are mispredicted at step {last.step}"
                )
                yield self.finding("validation_predictions", last.step, wrong, limit, text)

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
