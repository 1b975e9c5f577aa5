"""Rules on the pipeline's parameters."""

import re
from collections.abc import Iterator
from typing import Any

from sagelocal.definition import references, shapes
from sagelocal.definition.document import Definition, as_list
from sagelocal.definition.findings import WARNING, Finding, article, shown, suggestion
from sagelocal.definition.parameters import PRIMITIVES
from sagelocal.definition.types import fits, json_type

NAME = r"[A-Za-z0-9\-_]{1,256}"
MEMBERS = ("Name", "Type", "Description", "DefaultValue", "EnumValues")


def parameter_members(definition: Definition) -> Iterator[Finding]:
    """Unique, well-formed names; a known type; nothing unknown."""
    seen: set[str] = set()
    for entry in definition.parameters:
        name = entry["Name"]
        if not re.fullmatch(NAME, name):
            fix = "Use letters, digits, hyphens and underscores."
            yield _finding(name, "Name", f"{shown(name)} is no parameter name.", fix)
        if name in seen:
            yield _finding(name, "Name", "Two parameters have this name.", "Remove one of them.")
        if str(entry.get("Type", "String")) not in PRIMITIVES:
            fix = suggestion(entry.get("Type"), PRIMITIVES, f"Write one of {', '.join(PRIMITIVES)}.")
            yield _finding(name, "Type", f"{shown(entry.get('Type', 'String'))} is no parameter type.", fix)
        for member in entry:
            if member not in MEMBERS:
                yield _finding(name, member, "is no member of a parameter.", "Just remove it.")
        seen.add(name)


def parameter_default_obeys_type_and_enum(definition: Definition) -> Iterator[Finding]:
    for entry in definition.parameters:
        name, kind = entry["Name"], str(entry.get("Type", "String"))
        default, choices = entry.get("DefaultValue"), entry.get("EnumValues")
        if default is not None and not _is_of_type(default, kind):
            message = f"{shown(default)} is {article(json_type(default))}, and the parameter's type is {kind}."
            yield _finding(name, "DefaultValue", message, f"Write a JSON {kind.lower()}.")
        if choices is None:
            continue
        wrong = [choice for choice in as_list(choices) if not _is_of_type(choice, kind)]
        if not as_list(choices) or wrong:
            message = f"{shown(wrong[0] if wrong else choices)} is no list of values of type {kind}."
            yield _finding(name, "EnumValues", message, "List the allowed values, or remove EnumValues.")
        elif default is not None and default not in choices:
            fix = suggestion(default, map(str, choices), f"Choose one of {', '.join(map(str, choices))}.")
            yield _finding(name, "DefaultValue", f"{shown(default)} is not among the EnumValues.", fix)


def parameter_is_used(definition: Definition) -> Iterator[Finding]:
    used = {
        found.expression["Get"]
        for found in references.walk(definition.root.get("Steps"), "")
        if references.kind(found.expression) == "Get"
    }
    experiment = references.walk(definition.root.get("PipelineExperimentConfig"), "")
    used |= {found.expression.get("Get", "") for found in experiment}
    for entry in definition.parameters:
        if f"Parameters.{entry['Name']}" not in used:
            yield _finding(entry["Name"], "Name", "No step uses it.", "Just remove it.", severity=WARNING)


def parameter_names_an_instance_type_that_exists(definition: Definition) -> Iterator[Finding]:
    """Also where the value goes to a Lambda function, which no request shape describes."""
    for entry in definition.parameters:
        for member in ("DefaultValue", "EnumValues"):
            values = entry.get(member)
            for value in values if isinstance(values, list) else [values]:
                if isinstance(value, str) and value.startswith("ml.") and value not in shapes.instance_types():
                    fix = suggestion(value, shapes.instance_types(), "Choose one that SageMaker has.")
                    yield _finding(entry["Name"], member, f"{shown(value)} is no instance type.", fix)


def _is_of_type(value: Any, name: Any) -> bool:
    return str(name) not in PRIMITIVES or fits(json_type(value), PRIMITIVES[str(name)])


def _finding(parameter: str, field: str, message: str, fix: str, **more: str) -> Finding:
    return Finding(step="", field=f"Parameters.{parameter}.{field}", message=message, fix=fix, **more)
