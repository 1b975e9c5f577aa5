"""What the rules share: findings, parameters, the life of a rule."""

import math
import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from smdebug.rules import Rule
from smdebug.trials import LocalTrial

from breeds.base.container import InputError


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

    Subclasses give `defaults`, AWS's own parameter values (None: no value), `choices` where only some texts will do,
    and `find`. The rule is an ordinary smdebug Rule too: `invoke_at_step` is true at the steps it has findings for.
    While a training still runs it is asked from the `live_from`th evaluation on, with `live_parameters`.
    """

    defaults: ClassVar[Mapping[str, Any]] = {}
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    live_from: ClassVar[int] = 1
    live_parameters: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, base_trial: LocalTrial, **parameters: Any):
        super().__init__(base_trial, action_str="")
        self.parameters = {**self.defaults, **checked_parameters(type(self), parameters)}
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


def checked_parameters(rule: type[TensorRule], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters in their defaults' types. Raises InputError for an unknown name or a value out of place."""
    checked = {}
    for name, value in parameters.items():
        if name not in rule.defaults:
            raise InputError(f"Rule {rule.__name__} has no parameter {name!r}.", f"It has {', '.join(rule.defaults)}.")
        checked[name] = _converted(f"{rule.__name__}.{name}", rule.defaults[name], value, rule.choices.get(name, ()))
    return checked


def _converted(name: str, default: Any, value: Any, choices: Sequence[str]) -> Any:
    if isinstance(default, bool):
        if str(value).lower() not in ("true", "false"):
            raise InputError(f"{name}={value!r} is neither True nor False.", "Give one of them.")
        return str(value).lower() == "true"
    if isinstance(default, str):
        return _text(name, str(value), choices)
    lowest = -math.inf if default is not None and default < 0 else 0
    try:
        number = float(value)
        if not math.isfinite(number) or number < lowest:
            raise ValueError
    except (TypeError, ValueError):
        wanted = "a number" if lowest else "a number >= 0"
        raise InputError(f"{name}={value!r} is not {wanted}.", "Give a number.") from None
    if isinstance(default, int) and not number.is_integer():
        raise InputError(f"{name}={value!r} is not a whole number.", "Give one.")
    return int(number) if isinstance(default, int) else number


def _text(name: str, value: str, choices: Sequence[str]) -> str:
    if choices and value.upper() not in choices:
        raise InputError(f"{name}={value!r} is not one of {', '.join(choices)}.", "Give one of them.")
    if name.endswith("_regex"):
        try:
            re.compile(value)
        except re.error as error:
            raise InputError(f"{name}={value!r} is no regular expression: {error}.", "Correct it.") from None
    return value
