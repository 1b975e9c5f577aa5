"""The order in which steps may run.

A step waits for what it names in DependsOn, for every step that its expressions mention, and, inside a Condition, for
that condition.
"""

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

from sagelocal.core.errors import ValidationException
from sagelocal.services.sagemaker.execution import references
from sagelocal.services.sagemaker.execution.definition import Definition, Step


def dependencies(definition: Definition) -> dict[str, frozenset[str]]:
    """The steps that each step waits for, by name, in document order."""
    return {name: frozenset(_waits_for(step)) for name, step in definition.steps.items()}


def _waits_for(step: Step) -> set[str]:
    mentioned = (references.parse(expression) for expression in step.references())
    named = {reference.name for reference in mentioned if reference.root == "Steps"}
    return named | set(step.depends_on) | ({step.branch[0]} if step.branch else set())


def sorter(waits_for: Mapping[str, frozenset[str]]) -> TopologicalSorter:
    """A prepared sorter that hands out ready steps. Raises ValidationException that shows a cycle."""
    prepared: TopologicalSorter = TopologicalSorter(waits_for)
    try:
        prepared.prepare()
    except CycleError as cycle:
        path = " -> ".join(reversed(cycle.args[1]))
        raise ValidationException(f"The steps wait for each other in a cycle: {path}.") from None
    return prepared
