"""What this project asks of a definition beyond what AWS does: rules that `pawline lint` adds.

For a definition that is not ours some of them are advice: warnings.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import wraps

from contract import metrics
from sagelocal.definition import WARNING, Definition, Finding, Rule
from sagelocal.definition.graph import waits_for
from sagelocal.definition.rules import training


def register_is_gated(definition: Definition) -> Iterator[Finding]:
    """A model is registered inside a Condition or behind one, or for a person to approve."""
    edges = waits_for(definition)
    for step in definition.steps:
        if step.type != "RegisterModel" or step.arguments.get("ModelApprovalStatus") == "PendingManualApproval":
            continue
        before = _ancestors(step.name, edges)
        if not any(definition.by_name[name].type == "Condition" for name in before if name in definition.by_name):
            yield Finding(
                step=step.name,
                field="Arguments.ModelApprovalStatus",
                message="The model is registered whatever its evaluation says.",
                fix="Put the step into IfSteps of a Condition on a metric, or write PendingManualApproval.",
            )


def parameter_has_a_default(definition: Definition) -> Iterator[Finding]:
    """A schedule starts the pipeline with no value for it."""
    for entry in definition.parameters:
        if entry.get("DefaultValue") is None:
            where, fix = f"Parameters.{entry['Name']}.DefaultValue", "Add one: a schedule gives no values."
            yield Finding(step="", field=where, message="is missing.", fix=fix)


def metrics_are_printed(definition: Definition) -> Iterator[Finding]:
    """Each metric definition finds the value in the line that code/ prints."""
    value = 0.9375
    for job in training.jobs(definition):
        for where, metric in job.metrics:
            name, regex = str(metric.get("Name")), str(metric.get("Regex"))
            field = where.removeprefix(f"{job.path}.")
            if name not in metrics.NAMES:
                fix = f"There are: {', '.join(metrics.NAMES)}."
                yield job.finding(f"{field}.Name", f"The scripts print no metric {name}.", fix)
            elif not _finds(regex, metrics.printed(name, value), value):
                message = f"{regex!r} does not find the value in {metrics.printed(name, value)!r}."
                yield job.finding(f"{field}.Regex", message, f"Write {metrics.regex(name)!r}.")


ADVICE: tuple[Rule, ...] = (register_is_gated, parameter_has_a_default)
RULES: tuple[Rule, ...] = (*ADVICE, metrics_are_printed)


def as_advice(rule: Rule) -> Rule:
    """A rule for somebody else's definition: what it finds is a warning."""

    @wraps(rule)
    def advice(definition: Definition) -> Iterator[Finding]:
        return (replace(finding, severity=WARNING) for finding in rule(definition))

    return advice


def _finds(regex: str, line: str, value: float) -> bool:
    try:
        found = re.search(regex, line)
        return found is not None and float(found[1]) == value
    except (re.error, IndexError, ValueError):
        return False


def _ancestors(name: str, edges: dict[str, frozenset[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(edges.get(name, ()))
    while waiting:
        step = waiting.pop()
        if step not in found:
            found.add(step)
            waiting += edges.get(step, ())
    return found
