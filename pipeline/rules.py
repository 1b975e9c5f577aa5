"""What this project asks of a definition beyond what AWS does: rules that `pawline lint` adds.

For a definition that is not ours they are advice: warnings.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import wraps

from sagelocal.definition import WARNING, Definition, Finding, Rule
from sagelocal.definition.graph import waits_for


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


RULES: tuple[Rule, ...] = (register_is_gated, parameter_has_a_default)


def as_advice(rule: Rule) -> Rule:
    """The rule for somebody else's definition: what it finds is a warning."""

    @wraps(rule)
    def advice(definition: Definition) -> Iterator[Finding]:
        return (replace(finding, severity=WARNING) for finding in rule(definition))

    return advice


def _ancestors(name: str, edges: dict[str, frozenset[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(edges.get(name, ()))
    while waiting:
        step = waiting.pop()
        if step not in found:
            found.add(step)
            waiting += edges.get(step, ())
    return found
