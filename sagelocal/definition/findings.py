"""What the lint says: one Finding for each thing that is wrong, and how a list of them is printed."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

ERROR = "error"
WARNING = "warning"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong. `step` is empty where the document as a whole or a parameter is meant.

    `field` is the path inside the step (Arguments.ResourceConfig.InstanceType), `fix` says what to do, and `rule` is
    the name of the function that found it. An error would fail on AWS; a warning would not, or not yet.
    """

    step: str
    field: str
    message: str
    fix: str = ""
    severity: str = ERROR
    rule: str = ""

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.step and f"Step {self.step}", self.field) if part)
        return f"{where}: {self.message} {self.fix}".rstrip()


def errors(findings: Iterable[Finding]) -> list[Finding]:
    """The findings for which an upsert is refused."""
    return [finding for finding in findings if finding.severity == ERROR]


def render(findings: Iterable[Finding]) -> str:
    """All findings, errors first, each on lines of its own, and a count at the end."""
    ordered = sorted(findings, key=lambda finding: finding.severity)
    lines = [f"{finding.severity:7}  {finding}  [{finding.rule}]" for finding in ordered]
    bad = len(errors(ordered))
    return "\n".join([*lines, f"{counted(bad, 'error')}, {counted(len(ordered) - bad, 'warning')}."])


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def article(noun: str) -> str:
    """ "an integer", "a string"."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def suggestion(word: object, known: Iterable[str], otherwise: str = "") -> str:
    """ "Did you mean X?" where a known word is close to `word`, else `otherwise`."""
    close = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f"Did you mean {close[0]}?" if close else otherwise


def shown(value: object) -> str:
    """A value as a message quotes it: short, on one line."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
