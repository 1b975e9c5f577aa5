"""What the rules share: findings, parameters, the life of a rule."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from smdebug.rules import Rule
from smdebug.trials import LocalTrial

from breeds.base.container import InputError
from breeds.debugger.rules.saved import NoUsableData, names
from contract.rules import PARAMETERS, checked


@dataclass(frozen=True)
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

    Subclasses give `find` and `advice`, which says what helps; contract/rules.py has their parameters. The rule is an
    ordinary smdebug Rule too: `invoke_at_step` is true at the steps it has findings for. While a training still runs it
    is asked from the `live_from`th evaluation on, with `live_parameters`.
    """

    advice: ClassVar[str]
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

    def finding(self, tensor: str, step: int, value: float, threshold: float, text: str, advice: str = "") -> Finding:
        """A finding with the rule's advice, unless it has its own."""
        return Finding(tensor, step, float(value), threshold, advice or self.advice, text)

    def chosen(self) -> list[str]:
        """The tensors that the parameters collection_names and tensor_regex name."""
        collections, regex = (self.parameters.get(name, "") for name in ("collection_names", "tensor_regex"))
        return names(self.base_trial, collections=collections, regex=regex)


class EachTensorRule(TensorRule):
    """A rule that judges each chosen tensor by itself. `nothing` says what is missing where none could be
    judged, with parameters in braces."""

    nothing: ClassVar[str] = "none of the tensors that collection_names and tensor_regex name were saved."

    @abstractmethod
    def judge(self, name: str) -> Iterator[Finding | None]:
        """Yield what is wrong with a tensor at each step where that can be told, None where nothing is."""

    def find(self) -> Iterator[Finding]:
        judged = [each for name in self.chosen() for each in self.judge(name)]
        if not judged:
            raise NoUsableData(self.nothing.format(**self.parameters))
        yield from sorted(filter(None, judged), key=lambda finding: finding.step)
