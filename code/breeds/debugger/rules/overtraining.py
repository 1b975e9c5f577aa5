"""Overtraining: training goes on though no loss improves. Semantics: SageMaker Debugger built-in rule Overtraining."""

from collections.abc import Iterator

from breeds.debugger.rules.base import Finding, NoUsableData, TensorRule
from breeds.debugger.rules.saved import Phase, loss_phases

ADVICE = "Lower epochs or patience: the epochs after the best one cost time and can only overfit."


class Overtraining(TensorRule):
    """The mean loss has not fallen by `delta` for patience_train (training) or patience_validation epochs.

    Counted in epochs: per batch, noise alone exceeds the patience on healthy runs.
    """

    def find(self) -> Iterator[Finding]:
        phases = [phase for tensor in loss_phases(self.base_trial).values() for phase in tensor]
        training = [phase for phase in phases if phase.training]
        if not training:
            raise NoUsableData("no training losses were saved: save them with train.save_interval.")
        yield from self._stalled(training, "training", self.parameters["patience_train"])
        validation = [phase for phase in phases if not phase.training]
        yield from self._stalled(validation, "validation", self.parameters["patience_validation"])

    def _stalled(self, phases: list[Phase], kind: str, patience: int) -> Iterator[Finding]:
        best, since = float("inf"), 0
        for phase in phases:
            if phase.mean_loss < best - self.parameters["delta"]:
                best, since = phase.mean_loss, 0
                continue
            since += 1
            if since >= max(1, patience):
                yield Finding(
                    tensor=phase.tensor,
                    step=phase.last_step,
                    value=phase.mean_loss,
                    threshold=best - self.parameters["delta"],
                    advice=ADVICE,
                    text=f"{kind} loss {phase.mean_loss:.3g} has not improved on {best:.3g} by "
                    f"{self.parameters['delta']:g} for {since} epochs at step {phase.last_step}",
                )
