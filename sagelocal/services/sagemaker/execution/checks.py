"""What CreatePipeline refuses: a definition that reads well but could not run."""

from collections.abc import Iterator
from typing import Any

from sagelocal.core.errors import ValidationException
from sagelocal.services.sagemaker.execution import definition as definitions
from sagelocal.services.sagemaker.execution import graph, references, shapes
from sagelocal.services.sagemaker.execution.definition import Definition, Step
from sagelocal.services.sagemaker.execution.references import BadReference


def checked(text: str) -> Definition:
    """Read a definition and make sure that every reference leads somewhere and no steps wait for each other in a cycle.

    Raises ValidationException that names the step and what is wrong with it.
    """
    try:
        definition = definitions.parse(text)
        _check_references(definition)
        graph.sorter(graph.dependencies(definition))
    except RecursionError:
        raise ValidationException("The pipeline definition is nested too deeply.") from None
    return definition


def _check_references(definition: Definition) -> None:
    for step in definition.steps.values():
        for other in step.depends_on:
            if other not in definition.steps:
                raise ValidationException(f"Step {step.name} depends on step {other}, which is not in the pipeline.")
        for expression in step.references():
            problem = _problem_of(expression, step, definition)
            if problem:
                raise ValidationException(f"Step {step.name}: {problem}")
        for problem in _function_problems(step.arguments):
            raise ValidationException(f"Step {step.name}: {problem}")


def _problem_of(expression: str, step: Step, definition: Definition) -> str | None:
    try:
        reference = references.parse(expression)
    except BadReference as problem:
        return str(problem)
    if reference.root == "Parameters":
        known = reference.name in definition.parameters and not reference.path
        return None if known else f"{expression} is not a parameter of the pipeline."
    if reference.root == "Execution":
        known = reference.name in references.EXECUTION_VARIABLES and not reference.path
        return None if known else f"{expression} is unknown; there is {', '.join(references.EXECUTION_VARIABLES)}."
    if reference.name == step.name:
        return f"{expression} refers to the step itself."
    if reference.name not in definition.steps:
        return f"{expression} refers to step {reference.name}, which is not in the pipeline."
    if not reference.path:
        return f"{expression} names a step but no property of it."
    other = definition.steps[reference.name]
    if reference.path[0] == "PropertyFiles":
        known = len(reference.path) == 2 and reference.path[1] in other.property_files
        there = ", ".join(other.property_files) or "none"
        return None if known else f"{expression}: step {other.name} has no such property file; it has {there}."
    outputs = [output["OutputName"] for output in other.output_parameters]
    wrong = shapes.problem_with(other.type, reference.path, outputs)
    return f"{expression}: {wrong}." if wrong else None


def _function_problems(tree: Any) -> Iterator[str]:
    """Calls anywhere in `tree` of functions that do not exist or could not work."""
    if isinstance(tree, list):
        for item in tree:
            yield from _function_problems(item)
    if not isinstance(tree, dict):
        return
    for name, call in tree.items():
        if name == "Std:Join":
            yield from _join_problems(call)
        elif name == "Std:JsonGet":
            yield from _json_get_problems(call)
        elif name.startswith("Std:"):
            yield f"unknown function {name}; the functions are Std:Join and Std:JsonGet."
        yield from _function_problems(call)


def _join_problems(call: Any) -> Iterator[str]:
    if not isinstance(call, dict) or not isinstance(call.get("Values"), list):
        yield "Std:Join needs a list of Values."
    elif not isinstance(call.get("On", ""), str):
        yield f"Std:Join: On must be a string, not {call['On']!r}."


def _json_get_problems(call: Any) -> Iterator[str]:
    if (
        not isinstance(call, dict)
        or not isinstance(call.get("Path"), str)
        or ("PropertyFile" in call) == ("S3Uri" in call)
    ):
        yield "Std:JsonGet needs a Path and either a PropertyFile or an S3Uri."
        return
    try:
        references.parse_path(call["Path"].removeprefix("$"))
    except BadReference as problem:
        yield f"Std:JsonGet: {problem}"
    if "PropertyFile" in call:
        file = call["PropertyFile"]
        expression = file.get("Get") if isinstance(file, dict) else None
        if not isinstance(expression, str) or ".PropertyFiles." not in expression:
            yield 'Std:JsonGet: PropertyFile must be {"Get": "Steps.<step>.PropertyFiles.<name>"}.'
