"""LabelLeak: validation that measures nothing. SageMaker Debugger has no such rule."""

from collections.abc import Iterator

from breeds.debugger.rules.base import Finding, NoUsableData, TensorRule
from breeds.debugger.rules.saved import evaluations

SEEN_ADVICE = "Remove the images that are in both splits: validation must be of images that training never saw."
PERFECT_ADVICE = "Look for the label in the inputs (names, borders, stamps) and for near copies of training images."


class LabelLeak(TensorRule):
    """More than `max_seen` of the validation inputs were trained on, bit by bit; or the first evaluation is already
    implausibly perfect: an accuracy of `perfect` or more on at least `min_images` images of `min_classes` classes.

    Needs `outcomes`. The inputs are compared where training sees them unaltered: cached features, but neither crops nor
    mixup. Under DDP the first process knows its own share of them only.
    """

    def find(self) -> Iterator[Finding]:
        found = evaluations(self.base_trial)
        if not found:
            raise NoUsableData("no evaluation was saved.")
        worst = max(found, key=lambda evaluation: evaluation.seen or 0.0)
        if worst.seen and worst.seen > self.parameters["max_seen"]:
            yield Finding(
                tensor="validation_inputs_seen",
                step=worst.step,
                value=worst.seen,
                threshold=self.parameters["max_seen"],
                advice=SEEN_ADVICE,
                text=f"{worst.seen:.1%} of the validation inputs were trained on by step {worst.step}",
            )
        first = found[0]
        enough = len(first.labels) >= self.parameters["min_images"]
        if (
            enough
            and first.num_classes >= self.parameters["min_classes"]
            and first.accuracy >= self.parameters["perfect"]
        ):
            yield Finding(
                tensor="validation_predictions",
                step=first.step,
                value=first.accuracy,
                threshold=self.parameters["perfect"],
                advice=PERFECT_ADVICE,
                text=f"validation accuracy is {first.accuracy:.1%} of {len(first.labels)} images in "
                f"{first.num_classes} classes at the first evaluation, step {first.step}",
            )
