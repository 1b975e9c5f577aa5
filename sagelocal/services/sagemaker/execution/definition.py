"""A pipeline definition, read: its parameters and steps as the runner works with them."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sagelocal.core.errors import ValidationException
from sagelocal.services.sagemaker.execution import conditions, references
from sagelocal.services.sagemaker.execution.cache import CacheConfig
from sagelocal.services.sagemaker.execution.parameters import TYPES, Parameter
from sagelocal.services.sagemaker.execution.retry import RetryPolicy

MAX_BYTES = 1024 * 1024
STEP_TYPES = ("Condition", "Fail", "Lambda", "Model", "Processing", "RegisterModel", "Training", "Tuning")


@dataclass(frozen=True)
class PropertyFile:
    """A JSON file that a processing step leaves in one of its outputs for Std:JsonGet."""

    name: str
    output_name: str
    file_path: str


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step. `arguments` holds no nested steps; `branch` is (condition, outcome) for a step inside a Condition."""

    name: str
    type: str
    arguments: dict[str, Any]
    depends_on: tuple[str, ...] = ()
    display_name: str | None = None
    description: str | None = None
    cache: CacheConfig | None = None
    retry: tuple[RetryPolicy, ...] = ()
    property_files: Mapping[str, PropertyFile] = field(default_factory=dict)
    function_arn: Any = None
    output_parameters: tuple[Mapping[str, str], ...] = ()
    branch: tuple[str, str] | None = None

    def references(self) -> Iterator[str]:
        """The expression of every Get in this step's own members."""
        yield from references.find(self.arguments)
        yield from references.find(self.function_arn)


@dataclass(frozen=True)
class Definition:
    """A whole definition; steps are in document order, nested ones after their condition."""

    parameters: Mapping[str, Parameter]
    steps: Mapping[str, Step]
    experiment: dict[str, Any] | None


def parse(text: str) -> Definition:
    """Read a definition, step by step. Raises ValidationException that names the step and what is wrong with it."""
    if len(text.encode()) > MAX_BYTES:
        raise ValidationException(
            f"The pipeline definition is {len(text.encode())} bytes; at most {MAX_BYTES} are allowed."
        )
    try:
        document = json.loads(text)
    except ValueError as problem:
        raise ValidationException(f"The pipeline definition is not valid JSON: {problem}.") from None
    if not isinstance(document, dict) or not isinstance(document.get("Steps"), list) or not document["Steps"]:
        raise ValidationException(
            "The pipeline definition has no Steps. It must be a JSON object with a list of Steps."
        )
    parameters: dict[str, Parameter] = {}
    for entry in _objects(document, "Parameters", "The definition"):
        parameter = Parameter.parse(entry)
        if parameter.name in parameters:
            raise ValidationException(f"Parameter {parameter.name} is defined more than once.")
        parameters[parameter.name] = parameter
    steps: dict[str, Step] = {}
    for step in _steps(document["Steps"], None):
        if step.name in steps:
            raise ValidationException(
                f"Step {step.name} is defined more than once. Step names are unique in a pipeline."
            )
        steps[step.name] = step
    experiment = document.get("PipelineExperimentConfig")
    if not isinstance(experiment, dict | None):
        raise ValidationException("PipelineExperimentConfig must be an object.")
    return Definition(parameters, steps, experiment)


def _steps(entries: list[Any], branch: tuple[str, str] | None) -> Iterator[Step]:
    """Steps of a list, each followed by those nested in it."""
    for entry in entries:
        step = _step(entry, branch)
        yield step
        if step.type == "Condition":
            yield from _steps(_list(entry["Arguments"], "IfSteps", step.name), (step.name, "True"))
            yield from _steps(_list(entry["Arguments"], "ElseSteps", step.name), (step.name, "False"))


def _step(entry: Any, branch: tuple[str, str] | None) -> Step:
    name = entry.get("Name") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9\-_]{1,64}", name):
        raise ValidationException(f"Step name {name!r} is not valid: 1 to 64 letters, digits, hyphens, underscores.")
    kind = entry.get("Type")
    if kind not in STEP_TYPES:
        raise ValidationException(
            f"Step {name}: the embedded SageMaker does not run steps of type {kind!r}. It runs {', '.join(STEP_TYPES)}."
        )
    arguments = entry.get("Arguments", {})
    if not isinstance(arguments, dict):
        raise ValidationException(f"Step {name}: Arguments must be an object.")
    try:
        cache = CacheConfig.parse(entry["CacheConfig"]) if entry.get("CacheConfig") is not None else None
        retry = tuple(RetryPolicy.parse(policy) for policy in _objects(entry, "RetryPolicies", f"Step {name}"))
    except ValueError as problem:
        raise ValidationException(f"Step {name}: {problem}") from None
    _check_by_type(name, kind, entry, arguments)
    return Step(
        name=name,
        type=kind,
        arguments={key: value for key, value in arguments.items() if key not in ("IfSteps", "ElseSteps")}
        if kind == "Condition"
        else arguments,
        depends_on=tuple(_depends_on(name, entry)),
        display_name=entry.get("DisplayName"),
        description=entry.get("Description"),
        cache=cache,
        retry=retry,
        property_files=_property_files(name, entry),
        function_arn=entry.get("FunctionArn"),
        output_parameters=tuple(_objects(entry, "OutputParameters", f"Step {name}")) if kind == "Lambda" else (),
        branch=branch,
    )


def _check_by_type(name: str, kind: str, entry: dict[str, Any], arguments: dict[str, Any]) -> None:
    if kind == "Condition":
        for condition in _list(arguments, "Conditions", name):
            for problem in conditions.problems(condition):
                raise ValidationException(f"Step {name}: {problem}.")
    if kind == "Fail" and not isinstance(arguments.get("ErrorMessage"), str | dict):
        raise ValidationException(f"Step {name}: a Fail step needs an ErrorMessage.")
    if kind == "Lambda":
        if not entry.get("FunctionArn"):
            raise ValidationException(f"Step {name}: a Lambda step needs a FunctionArn.")
        for output in _objects(entry, "OutputParameters", f"Step {name}"):
            if output.get("OutputType") not in TYPES or not isinstance(output.get("OutputName"), str):
                raise ValidationException(
                    f"Step {name}: output parameter {output} needs an OutputName and an OutputType."
                )


def _depends_on(name: str, entry: dict[str, Any]) -> Iterator[str]:
    for other in _list(entry, "DependsOn", name):
        if not isinstance(other, str):
            raise ValidationException(
                f"Step {name}: DependsOn with a Trigger ({json.dumps(other)}) is not run by the embedded SageMaker. "
                "Name the step alone to run after it has succeeded."
            )
        yield other


def _property_files(name: str, entry: dict[str, Any]) -> dict[str, PropertyFile]:
    files = {}
    for file in _objects(entry, "PropertyFiles", f"Step {name}"):
        members = [file.get(member) for member in ("PropertyFileName", "OutputName", "FilePath")]
        if not all(isinstance(member, str) for member in members):
            raise ValidationException(
                f"Step {name}: a property file needs PropertyFileName, OutputName and FilePath, not {json.dumps(file)}."
            )
        files[str(members[0])] = PropertyFile(*map(str, members))
    return files


def _objects(entry: dict[str, Any], member: str, where: str) -> list[dict[str, Any]]:
    value = entry.get(member) or []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValidationException(f"{where}: {member} must be a list of objects.")
    return value


def _list(arguments: dict[str, Any], member: str, step: str) -> list[Any]:
    value = arguments.get(member) or []
    if not isinstance(value, list):
        raise ValidationException(f"Step {step}: {member} must be a list.")
    return value
