"""Rules on expressions: every Get, Join and JsonGet gives something, and every condition compares comparable things."""

from collections.abc import Iterator
from typing import Any

from sagelocal.definition import references
from sagelocal.definition.conditions import LISTS, MEMBERS
from sagelocal.definition.document import Definition, Step, as_list, as_object
from sagelocal.definition.findings import WARNING, Finding, article, shown, suggestion
from sagelocal.definition.types import ANY, Unresolvable, Value, fits, step_named, value_of


def expressions_resolve(definition: Definition) -> Iterator[Finding]:
    """Every reference names a parameter, a variable or a property that exists, and every function can be evaluated."""
    for step in definition.steps:
        inside_loop = any(branch == "ForEachBody" for _, branch in step.inside)
        for found in references.of_step(step):
            text = found.expression.get("Get", "")
            try:
                if found.file or ".PropertyFiles." in text:
                    _check_property_file(definition, found)
                elif text.startswith("ForEach.") and not inside_loop:
                    raise Unresolvable(f"{text} stands outside of a ForEach.", "Use it in steps of a ForEachBody only.")
                else:
                    value_of(definition, _alone(definition, found.expression))
            except Unresolvable as problem:
                yield Finding(step=step.name, field=found.field, message=problem.message, fix=problem.fix)


def functions_exist(definition: Definition) -> Iterator[Finding]:
    """What is written like an expression is one: a single Get with a text, Std:Join or Std:JsonGet."""
    for step in definition.steps:
        for field, function in _look_alikes(step.own, ""):
            fix = f"There are: Get, {', '.join(references.FUNCTIONS)}, each alone in its object."
            yield Finding(step=step.name, field=field, message=f"{function} is no function here.", fix=fix)


def _look_alikes(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _look_alikes(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            looks = key.startswith("Std:") or (key == "Get" and len(value) == 1)
            if looks and not references.kind(value):
                yield path, key
            yield from _look_alikes(item, f"{path}.{key}".removeprefix("."))


def conditions_compare_what_can_be_compared(definition: Definition) -> Iterator[Finding]:
    for step in definition.steps:
        if step.type != "Condition":
            continue
        for name in set(step.arguments) - {"Conditions"}:
            fix = suggestion(name, ("Conditions", "IfSteps", "ElseSteps"), "Just remove it.")
            yield Finding(step=step.name, field=f"Arguments.{name}", message="A Condition has no such member.", fix=fix)
        if not as_list(step.arguments.get("Conditions")):
            fix = "List at least one; all of them must hold."
            yield Finding(step=step.name, field="Arguments.Conditions", message="is empty.", fix=fix)
        for index, condition in enumerate(as_list(step.arguments.get("Conditions"))):
            yield from _condition(definition, step, condition, f"Arguments.Conditions[{index}]")


def _alone(definition: Definition, expression: dict[str, Any]) -> dict[str, Any]:
    """A Join without those of its parts that give nothing: each of them is reported where it stands."""
    join = expression.get("Std:Join")
    if not isinstance(join, dict) or not isinstance(join.get("Values"), list):
        return expression
    values = [value for value in join["Values"] if _resolves(definition, value)]
    return {"Std:Join": {**join, "Values": values}}


def _resolves(definition: Definition, value: Any) -> bool:
    try:
        value_of(definition, value)
    except Unresolvable:
        return not references.kind(value)
    return True


def _check_property_file(definition: Definition, found: references.Found) -> None:
    text = found.expression.get("Get", "")
    try:
        reference = references.parse(text)
    except references.BadReference as problem:
        raise Unresolvable(str(problem), "Write Steps.<step>.PropertyFiles.<name>.") from None
    if reference.root != "Steps" or len(reference.keys) != 2 or reference.keys[0] != "PropertyFiles":
        raise Unresolvable(f"{shown(text)} is no property file.", "Write Steps.<step>.PropertyFiles.<name>.")
    if not found.file:
        raise Unresolvable(f"{text} is a file, not a value.", 'Read it with {"Std:JsonGet": {"PropertyFile": …}}.')
    files = step_named(definition, reference.name, text).property_files
    name = reference.keys[1]
    if name not in files:
        way_out = suggestion(name, files, f"Add it to the PropertyFiles of {reference.name}.")
        raise Unresolvable(f"{text}: {reference.name} has no property file {name}.", way_out)


def _condition(definition: Definition, step: Step, condition: Any, where: str) -> Iterator[Finding]:
    kind = as_object(condition).get("Type")
    if not isinstance(kind, str) or kind not in MEMBERS:
        fix = suggestion(kind, MEMBERS, f"There are: {', '.join(MEMBERS)}.")
        yield Finding(step=step.name, field=f"{where}.Type", message=f"{shown(kind)} is no condition.", fix=fix)
        return
    for member in MEMBERS[kind]:
        field = f"{where}.{member}"
        if member not in condition:
            yield Finding(step=step.name, field=field, message=f"{kind} lacks it.", fix="Add it.")
        elif member in LISTS and not (isinstance(condition[member], list) and condition[member]):
            fix = "List at least one."
            yield Finding(step=step.name, field=field, message=f"is {shown(condition[member])}.", fix=fix)
    for member in set(condition) - {"Type", *MEMBERS[kind]}:
        fix = suggestion(member, MEMBERS[kind], "Just remove it.")
        yield Finding(step=step.name, field=f"{where}.{member}", message=f"{kind} has no such member.", fix=fix)
    if kind == "Not":
        yield from _condition(definition, step, condition.get("Condition"), f"{where}.Condition")
    elif kind == "Or":
        for index, part in enumerate(as_list(condition.get("Conditions"))):
            yield from _condition(definition, step, part, f"{where}.Conditions[{index}]")
    elif kind == "In":
        for index, value in enumerate(as_list(condition.get("Values"))):
            query, field = condition.get("QueryValue"), f"{where}.Values[{index}]"
            yield from _comparison(definition, step, kind, query, value, field)
    elif set(MEMBERS[kind]) <= set(condition):
        yield from _comparison(definition, step, kind, condition["LeftValue"], condition["RightValue"], where)


def _comparison(definition: Definition, step: Step, kind: str, left: Any, right: Any, where: str) -> Iterator[Finding]:
    try:
        one, other = _operand(definition, left), _operand(definition, right)
    except Unresolvable:
        return  # expressions_resolve says so
    for value, type_ in ((left, one.type), (right, other.type)):
        if type_ in ("structure", "list", "map", "null"):
            message = f"{kind} cannot compare {shown(value)}: it is {article(type_)}."
            yield Finding(step=step.name, field=where, message=message, fix="Compare texts, numbers or booleans.")
            return
    if not fits(one.type, other.type) and not fits(other.type, one.type):
        message = f"{kind} compares {article(one.type)} ({shown(left)}) with {article(other.type)} ({shown(right)})."
        fix = "Give both sides the same type."
        yield Finding(step=step.name, field=where, message=message, fix=fix, severity=WARNING)
    elif "boolean" in (one.type, other.type) and kind not in ("Equals", "In"):
        message = f"{kind} orders booleans ({shown(left)}, {shown(right)})."
        yield Finding(step=step.name, field=where, message=message, fix="Use Equals.")


def _operand(definition: Definition, value: Any) -> Value:
    function = references.kind(value)
    return Value(ANY) if function == "Std:JsonGet" else value_of(definition, value)
