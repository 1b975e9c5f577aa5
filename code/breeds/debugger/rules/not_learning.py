"""NotLearning: a model no better than guessing. SageMaker Debugger has no such rule."""

from collections.abc import Iterator

import numpy as np

from breeds.debugger.rules.base import Finding, NoUsableData, TensorRule
from breeds.debugger.rules.chance import at_least
from breeds.debugger.rules.saved import Evaluation, evaluations

ADVICE = "Check that labels belong to their images, that the learning rate suits, and that training changes weights."


class NotLearning(TensorRule):
    """The best evaluation's accuracy may still be that of guessing, or too little above it.

    Guessing is always naming the largest class of the validation set, or drawing one of the classes, whichever is
    right more often: g. A model has to avoid the share `margin` of guessing's errors: accuracy g + margin * (1 - g)
    (Cohen's kappa, with the majority as chance). The rule fires unless so many right answers would have a probability
    under `significance` if that were its true accuracy (one-sided binomial test). The best evaluation is the one whose
    weights training keeps or could have kept, so an unlucky last epoch is no finding. Needs `outcomes`.

    A training that still runs gets the benefit of the doubt: it is stopped if so few right answers would be as unlikely
    for a model that is that good.
    """

    live_from = 3
    live_parameters = {"significance": 0.9}

    def find(self) -> Iterator[Finding]:
        found = evaluations(self.base_trial)
        if not found:
            raise NoUsableData("no evaluation was saved.")
        best = max(found, key=lambda evaluation: evaluation.accuracy)
        guessing = _guessing(best)
        needed = guessing + self.parameters["margin"] * (1 - guessing)
        count = len(best.labels)
        right = round(best.accuracy * count)
        luck = at_least(right, count, needed)
        if luck >= self.parameters["significance"]:
            yield Finding(
                tensor="validation_predictions",
                step=best.step,
                value=best.accuracy,
                threshold=needed,
                advice=ADVICE,
                text=f"validation accuracy {best.accuracy:.1%} ({right} of {count}) is not above {needed:.1%}: "
                f"guessing gives {guessing:.1%}, and a model that is right in {needed:.1%} does so well or better "
                f"with probability {luck:.2g}",
            )


def _guessing(evaluation: Evaluation) -> float:
    majority = np.bincount(evaluation.labels).max() / len(evaluation.labels)
    return max(float(majority), 1 / evaluation.num_classes)
