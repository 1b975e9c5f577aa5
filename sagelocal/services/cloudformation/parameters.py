"""A template's parameters: given values, defaults and earlier values, checked against their declarations."""

from sagelocal.core.json import Json
from sagelocal.core.patterns import Expression, InvalidExpression, TooSlow, Worker
from sagelocal.services.cloudformation.template import TemplateError, as_text

LISTS = ("CommaDelimitedList", "List<")


def values(declared: dict[str, Json], given: list[Json], before: dict[str, str], worker: Worker) -> dict[str, str]:
    """Name → text for every declared parameter. `given`: the request's Parameters; `before`: the present values;
    `worker`: for an AllowedPattern that may be slow.

    Raises TemplateError, in CloudFormation's words, for unknown, missing and refused ones.
    """
    asked = {entry["ParameterKey"]: entry for entry in given}
    unknown = sorted(set(asked) - set(declared))
    if unknown:
        raise TemplateError(f"Parameters: [{', '.join(unknown)}] do not exist in the template")
    found: dict[str, str] = {}
    for name, declaration in declared.items():
        entry = asked.get(name, {})
        if entry.get("UsePreviousValue"):
            if name not in before:
                raise TemplateError(f"Invalid input for parameter key {name}. Cannot specify usePreviousValue as true.")
            found[name] = before[name]
        elif "ParameterValue" in entry:
            found[name] = entry["ParameterValue"]
        elif "Default" in declaration:
            found[name] = as_text(declaration["Default"])
    missing = [name for name in declared if name not in found]
    if missing:
        raise TemplateError(f"Parameters: [{', '.join(missing)}] must have values")
    for name, text in found.items():
        _check(name, text, declared[name], worker)
    return found


def resolved(declared: dict[str, Json], texts: dict[str, str]) -> Json:
    """What Ref gives: text, or a list of text for list types."""
    return {
        name: [item.strip() for item in text.split(",")] if _is_list(declared[name]) else text
        for name, text in texts.items()
    }


def _is_list(declaration: Json) -> bool:
    kind: str = declaration.get("Type", "String")
    return kind.startswith(LISTS)


def _check(name: str, text: str, declaration: Json, worker: Worker) -> None:
    if declaration.get("Type") == "Number":
        try:
            number = float(text)
        except ValueError:
            raise TemplateError(f"Parameter '{name}' must be a number, not {text!r}.") from None
        if number < float(declaration.get("MinValue", number)) or number > float(declaration.get("MaxValue", number)):
            low, high = declaration.get("MinValue", "any"), declaration.get("MaxValue", "any")
            raise TemplateError(f"Parameter '{name}' is {text}, which is not within {low} and {high}.")
    allowed = [as_text(value) for value in declaration.get("AllowedValues", [])]
    if allowed and text not in allowed:
        raise TemplateError(f"Parameter '{name}' must be one of AllowedValues: {', '.join(allowed)}, not {text!r}.")
    pattern = declaration.get("AllowedPattern")
    if pattern and not _matches(name, pattern, text, worker):
        said = declaration.get("ConstraintDescription", f"must match pattern {pattern}")
        raise TemplateError(f"Parameter '{name}' failed to satisfy constraint: {said} (it is {text!r})")


def _matches(name: str, pattern: str, text: str, worker: Worker) -> bool:
    try:
        return Expression(pattern, whole=True).search(text, worker) is not None
    except (InvalidExpression, TooSlow) as problem:
        raise TemplateError(f"Parameter '{name}': AllowedPattern {pattern!r} cannot be used: {problem}.") from None
