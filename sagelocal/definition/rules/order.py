"""Rules on the order of the steps: DependsOn united with the references, and what nesting adds to it."""

from collections.abc import Iterator

from sagelocal.definition import graph
from sagelocal.definition.document import NESTED, Definition, Step, as_list, depended_on
from sagelocal.definition.findings import WARNING, Finding, shown, suggestion

TRIGGERS = ("Completed", "Failed", "Stopped", "Any")


def depends_on(definition: Definition) -> Iterator[Finding]:
    """Each entry of DependsOn is a step's name, or {Step, Trigger}."""
    for step in definition.steps:
        entries = step.own.get("DependsOn")
        if entries is not None and not isinstance(entries, list):
            yield Finding(step=step.name, field="DependsOn", message="is no list.", fix="List names of steps.")
        for index, entry in enumerate(as_list(entries)):
            where, target = f"DependsOn[{index}]", depended_on(entry)
            if target not in definition.by_name:
                fix = suggestion(target, definition.by_name, "Name a step of this pipeline.")
                yield Finding(step=step.name, field=where, message=f"There is no step {shown(target)}.", fix=fix)
            elif target == step.name:
                yield Finding(step=step.name, field=where, message="A step cannot wait for itself.", fix="Remove it.")
            elif definition.by_name[target].type == "Fail":
                message = f"{target} is a Fail step: nothing runs after it."
                yield Finding(step=step.name, field=where, message=message, fix="Remove it.")
            if isinstance(entry, dict) and entry.get("Trigger") not in TRIGGERS:
                message = f"Trigger {shown(entry.get('Trigger'))} is none."
                yield Finding(step=step.name, field=where, message=message, fix=f"Write one of {', '.join(TRIGGERS)}.")


def no_cycle(definition: Definition) -> Iterator[Finding]:
    """No step waits, through others, for itself. One that names itself in DependsOn is told by depends_on."""
    edges = {
        step.name: frozenset(name for field, name in _before(step) if not (name == step.name and "DependsOn" in field))
        for step in definition.steps
    }
    try:
        graph.sorter(edges)
    except graph.Cycle as cycle:
        # A DependsOn is what its author can take out most easily: name the step that has one.
        at = next((name for name in cycle.path if _depends_on_any(definition, name, cycle.path)), "")
        yield Finding(
            step=at or cycle.path[0],
            field="DependsOn" if at else "Arguments",
            message=f"The steps wait for each other in a cycle: {cycle}.",
            fix="Take out one of these references or DependsOn entries.",
        )


def references_stay_in_their_branch(definition: Definition) -> Iterator[Finding]:
    """What the other branch of a condition gives never exists; what a branch gives may not exist outside of it."""
    for step in definition.steps:
        here = dict(step.inside)
        for field, name in graph.named_by(step):
            for condition, branch in definition.by_name[name].inside if name in definition.by_name else ():
                if step.name == condition or branch not in NESTED["Condition"]:
                    continue
                if condition not in here:
                    fix = f"Move {step.name} into the branch, or do not rely on {name}."
                    message = (
                        f"{name} runs only in {branch} of {condition}; in the other case there is nothing to read."
                    )
                    yield Finding(step=step.name, field=field, message=message, fix=fix, severity=WARNING)
                elif here[condition] != branch:
                    fix = "Only one of the branches runs: move the step or drop the reference."
                    message = f"{name} is in the other branch ({branch}) of {condition}."
                    yield Finding(step=step.name, field=field, message=message, fix=fix)


def _before(step: Step) -> Iterator[tuple[str, str]]:
    yield from graph.named_by(step)
    yield from (("", holder) for holder, _ in step.inside)


def _depends_on_any(definition: Definition, name: str, others: list[str]) -> bool:
    return name in definition.by_name and any(other in others for other in definition.by_name[name].depends_on)
