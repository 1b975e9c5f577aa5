"""Overfit: validation loss above training loss. Semantics: SageMaker Debugger built-in rule Overfit."""

from collections.abc import Iterator

from breeds.debugger.rules.base import Finding, NoUsableData, TensorRule
from breeds.debugger.rules.saved import Phase, loss_phases

ADVICE = "Stop earlier, or raise dropout, weight-decay, label-smoothing or augmented views; more images help most."


class Overfit(TensorRule):
    """(mean validation loss - mean training loss) / mean training loss > ratio_threshold, `patience` times in a row.

    Compared once per evaluation, with the training since the one before: single batches jump too much to compare.
    """

    def find(self) -> Iterator[Finding]:
        compared = False
        for phases in loss_phases(self.base_trial).values():
            streak = 0
            for training, validation in _pairs(phases):
                compared = True
                if validation.last_step < self.parameters["start_step"]:
                    continue
                ratio = (validation.mean_loss - training.mean_loss) / max(training.mean_loss, 1e-12)
                # Written so that a loss that is not a number counts against the model.
                streak = 0 if ratio <= self.parameters["ratio_threshold"] else streak + 1
                if streak >= max(1, self.parameters["patience"]):
                    yield Finding(
                        tensor=validation.tensor,
                        step=validation.last_step,
                        value=ratio,
                        threshold=self.parameters["ratio_threshold"],
                        advice=ADVICE,
                        text=f"validation loss {validation.mean_loss:.3g} is {1 + ratio:.2f}x training loss "
                        f"{training.mean_loss:.3g} at step {validation.last_step}",
                    )
        if not compared:
            raise NoUsableData(
                "no evaluation follows a training in the saved losses: save them with eval.save_interval."
            )


def _pairs(phases: list[Phase]) -> Iterator[tuple[Phase, Phase]]:
    for before, after in zip(phases, phases[1:], strict=False):
        if before.training and not after.training:
            yield before, after
