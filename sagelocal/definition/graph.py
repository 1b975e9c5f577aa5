"""The order in which steps may run.

A step waits for the steps that it names in DependsOn, that its expressions mention, and that hold it.
"""

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from sagelocal.definition import references
from sagelocal.definition.document import Definition, Step, as_list, depended_on


class Cycle(Exception):
    """Steps wait for each other; `path` shows it, in running order, the first step once more at its end."""

    def __init__(self, path: list[str]):
        super().__init__(" → ".join(path))
        self.path = path


def waits_for(definition: Definition) -> dict[str, frozenset[str]]:
    """The steps that each step waits for, by name, in document order."""
    return {
        step.name: frozenset([name for _, name in named_by(step)] + [holder for holder, _ in step.inside])
        for step in definition.steps
    }


def named_by(step: Step) -> Iterator[tuple[str, str]]:
    """(field, step) of each entry of DependsOn and of each reference."""
    for index, entry in enumerate(as_list(step.own.get("DependsOn"))):
        yield f"DependsOn[{index}]", depended_on(entry)
    yield from references.steps_named_by(step)


def read_from(step: Step) -> frozenset[str]:
    """The steps whose properties a step reads."""
    return frozenset(name for _, name in references.steps_named_by(step))


def sorter(edges: Mapping[str, frozenset[str]]) -> TopologicalSorter[str]:
    """A prepared sorter that hands out ready steps. Raises Cycle."""
    prepared: TopologicalSorter[str] = TopologicalSorter(edges)
    try:
        prepared.prepare()
    except CycleError as cycle:
        raise Cycle(cycle.args[1]) from None
    return prepared
