"""Rules on expressions: every Get, Join and JsonGet gives something, and every condition compares comparable things."""

from collections.abc import Iterator
from typing import Any

from pipeline.lint import expressions
from pipeline.lint.document import Definition, Step, as_list, as_object, objects
from pipeline.lint.findings import Finding, article, shown, suggestion
from pipeline.lint.resolve import ANY, Unresolvable, Value, fits, value_of

COMPARISONS = ("Equals", "GreaterThan", "GreaterThanOrEqualTo", "LessThan", "LessThanOrEqualTo")
CONDITIONS = (*COMPARISONS, "In", "Not", "Or")


def expressions_resolve(definition: Definition) -> Iterator[Finding]:
    """Every reference names a parameter, a variable or a property that exists, and every function can be evaluated."""
    for step in definition.steps:
        inside_loop = any(branch == "ForEachBody" for _, branch in step.inside)
        for found in expressions.of_step(step):
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


def conditions_compare_what_can_be_compared(definition: Definition) -> Iterator[Finding]:
    for step in definition.steps:
        if step.type != "Condition":
            continue
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
        return not expressions.kind(value)
    return True


def _check_property_file(definition: Definition, found: expressions.Found) -> None:
    text = found.expression.get("Get", "")
    name, path = expressions.step_path(text)
    tokens = expressions.tokens(path) or []
    if not name or len(tokens) != 2 or tokens[0][1] != "PropertyFiles":
        raise Unresolvable(f"{shown(text)} is no property file.", "Write Steps.<step>.PropertyFiles.<name>.")
    if not found.file:
        raise Unresolvable(f"{text} is a file, not a value.", 'Read it with {"Std:JsonGet": {"PropertyFile": …}}.')
    step = definition.step(name)
    if step is None:
        known = [step.name for step in definition.steps]
        raise Unresolvable(f"{text} names a step that does not exist.", suggestion(name, known, "Correct the name."))
    files = [str(entry.get("PropertyFileName")) for _, entry in objects(step.own.get("PropertyFiles"))]
    if tokens[1][1] not in files:
        way_out = suggestion(tokens[1][1], files, f"Add it to the PropertyFiles of {name}.")
        raise Unresolvable(f"{text}: {name} has no property file {tokens[1][1]}.", way_out)


def _condition(definition: Definition, step: Step, condition: Any, where: str) -> Iterator[Finding]:
    kind = as_object(condition).get("Type")
    if kind not in CONDITIONS:
        fix = suggestion(kind, CONDITIONS, f"There are: {', '.join(CONDITIONS)}.")
        yield Finding(step=step.name, field=f"{where}.Type", message=f"{shown(kind)} is no condition.", fix=fix)
    elif kind == "Not":
        yield from _condition(definition, step, condition.get("Condition"), f"{where}.Condition")
    elif kind == "Or":
        for index, part in enumerate(as_list(condition.get("Conditions"))):
            yield from _condition(definition, step, part, f"{where}.Conditions[{index}]")
    elif kind == "In":
        for index, value in enumerate(as_list(condition.get("Values"))):
            yield from _comparison(
                definition, step, kind, condition.get("QueryValue"), value, f"{where}.Values[{index}]"
            )
    else:
        left, right = condition.get("LeftValue"), condition.get("RightValue")
        yield from _comparison(definition, step, kind, left, right, where)


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
        yield Finding(step=step.name, field=where, message=message, fix="Give both sides the same type.")
    elif "boolean" in (one.type, other.type) and kind not in ("Equals", "In"):
        message = f"{kind} orders booleans ({shown(left)}, {shown(right)})."
        yield Finding(step=step.name, field=where, message=message, fix="Use Equals.")


def _operand(definition: Definition, value: Any) -> Value:
    function = expressions.kind(value)
    return Value(ANY) if function == "Std:JsonGet" else value_of(definition, value)
