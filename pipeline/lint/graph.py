"""Rules on the order of the steps: DependsOn united with the references, and what nesting adds to it."""

from collections.abc import Iterator

from pipeline.lint import expressions
from pipeline.lint.document import Definition, Step, as_list, as_object
from pipeline.lint.findings import WARNING, Finding, shown, suggestion

TRIGGERS = ("Failed", "Stopped", "Any")


def depends_on(definition: Definition) -> Iterator[Finding]:
    """Each entry of DependsOn is a step's name, or {Step, Trigger}."""
    names = {step.name for step in definition.steps}
    for step in definition.steps:
        entries = step.own.get("DependsOn")
        if entries is not None and not isinstance(entries, list):
            yield Finding(step=step.name, field="DependsOn", message="is no list.", fix="List names of steps.")
            continue
        for index, entry in enumerate(entries or []):
            where = f"DependsOn[{index}]"
            target = _target(entry)
            if target not in names:
                fix = suggestion(target, names, "Name a step of this pipeline.")
                yield Finding(step=step.name, field=where, message=f"There is no step {shown(target)}.", fix=fix)
            elif target == step.name:
                yield Finding(step=step.name, field=where, message="A step cannot wait for itself.", fix="Remove it.")
            if isinstance(entry, dict) and entry.get("Trigger") not in TRIGGERS:
                message = f"Trigger {shown(entry.get('Trigger'))} is none."
                yield Finding(step=step.name, field=where, message=message, fix=f"Write one of {', '.join(TRIGGERS)}.")


def no_cycle(definition: Definition) -> Iterator[Finding]:
    """No step waits, through others, for itself."""
    edges = predecessors(definition)
    done: set[str] = set()
    for step in definition.steps:
        cycle = _cycle_from(step.name, edges, done)
        if cycle:
            # A DependsOn is what its author can take out most easily: name the step that has one.
            at = next((name for name in cycle if _depends_on_any(definition, name, cycle)), "")
            message = f"The steps wait for each other: {' → '.join(cycle)}."
            fix = "Take out one of these references or DependsOn entries."
            yield Finding(step=at or cycle[0], field="DependsOn" if at else "Arguments", message=message, fix=fix)
            return


def references_stay_in_their_branch(definition: Definition) -> Iterator[Finding]:
    """What the other branch of a condition gives never exists; what a branch gives may not exist outside of it."""
    by_name = {step.name: step for step in definition.steps}
    for step in definition.steps:
        here = dict(step.inside)
        for field, name in _references(step):
            for condition, branch in by_name[name].inside if name in by_name else ():
                if step.name == condition or by_name[condition].type != "Condition":
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


def register_is_gated(definition: Definition) -> Iterator[Finding]:
    """A model is registered inside a Condition or behind one, or for a person to approve."""
    edges = predecessors(definition)
    by_name = {step.name: step for step in definition.steps}
    for step in definition.steps:
        if step.type != "RegisterModel" or step.arguments.get("ModelApprovalStatus") == "PendingManualApproval":
            continue
        before = _ancestors(step.name, edges)
        if not any(by_name[name].type == "Condition" for name in before if name in by_name):
            yield Finding(
                step=step.name,
                field="Arguments.ModelApprovalStatus",
                message="The model is registered whatever its evaluation says.",
                fix="Put the step into IfSteps of a Condition on a metric, or write PendingManualApproval.",
            )


def predecessors(definition: Definition) -> dict[str, list[str]]:
    """Step → the steps it waits for: DependsOn, references, and the steps that hold it."""
    edges: dict[str, list[str]] = {}
    for step in definition.steps:
        before = [name for _, name in _references(step)] + [name for name, _ in step.inside]
        edges.setdefault(step.name, []).extend(dict.fromkeys(before))
    return edges


def _references(step: Step) -> Iterator[tuple[str, str]]:
    """(field, step) of DependsOn and of every reference. A step that names itself in DependsOn is told elsewhere."""
    for index, entry in enumerate(as_list(step.own.get("DependsOn"))):
        if isinstance(_target(entry), str) and _target(entry) != step.name:
            yield f"DependsOn[{index}]", _target(entry)
    yield from expressions.step_references(step)


def _depends_on_any(definition: Definition, name: str, others: list[str]) -> bool:
    step = definition.step(name)
    return step is not None and any(_target(entry) in others for entry in as_list(step.own.get("DependsOn")))


def _target(entry: object) -> str:
    target = as_object(entry).get("Step") if isinstance(entry, dict) else entry
    return target if isinstance(target, str) else str(target)


def _cycle_from(start: str, edges: dict[str, list[str]], done: set[str]) -> list[str]:
    """A cycle that can be reached from `start`, in running order, or []. `done` are steps known to lead to none."""
    path, waiting = [start], [iter(edges.get(start, []))]
    while path:
        following = next(waiting[-1], None)
        if following is None:
            done.add(path.pop())
            waiting.pop()
        elif following in path:
            return [*reversed(path[path.index(following) :]), path[-1]]
        elif following not in done:
            path.append(following)
            waiting.append(iter(edges.get(following, [])))
    return []


def _ancestors(name: str, edges: dict[str, list[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(edges.get(name, []))
    while waiting:
        step = waiting.pop()
        if step not in found:
            found.add(step)
            waiting += edges.get(step, [])
    return found
