"""What the rules share: findings, parameters, the life of a rule."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from smdebug.rules import Rule
from smdebug.trials import LocalTrial

from breeds.base.container import InputError
from contract.rules import PARAMETERS, checked


class NoUsableData(Exception):
    """The tensors a rule needs were not saved; the text says which. Its status is Error, never NoIssuesFound."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One place where a rule's condition holds. `step` is global: training and evaluation steps counted together."""

    tensor: str
    step: int
    value: float
    threshold: float
    advice: str
    text: str = ""


class TensorRule(Rule):
    """A Debugger rule on the tensors of a training.

    Subclasses give `find`; contract/rules.py has their parameters. The rule is an ordinary smdebug Rule too:
    `invoke_at_step` is true at the steps it has findings for. While a training still runs it is asked from the
    `live_from`th evaluation on, with `live_parameters`.
    """

    live_from: ClassVar[int] = 1
    live_parameters: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, base_trial: LocalTrial, **parameters: Any):
        super().__init__(base_trial, action_str="")
        name = type(self).__name__
        self.parameters: dict[str, Any] = PARAMETERS[name] | checked({name: parameters}, InputError)[name]
        self._findings: list[Finding] | None = None

    @abstractmethod
    def find(self) -> Iterator[Finding]:
        """Yield what is wrong, in order of steps. Raises NoUsableData."""

    def findings(self) -> list[Finding]:
        """All findings, evaluated once. Raises NoUsableData."""
        if self._findings is None:
            self._findings = list(self.find())
        return self._findings

    def invoke_at_step(self, step: int) -> bool:
        return any(finding.step == step for finding in self.findings())
