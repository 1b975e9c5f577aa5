"""What the server on this machine does not run, so that it is refused by name when a pipeline or a job is created.

The same table serves the rules below, on a definition, and the Create operations, on a request whose values are known.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from sagelocal.core.errors import ValidationException
from sagelocal.definition import references
from sagelocal.definition.document import Definition, as_list
from sagelocal.definition.findings import Finding, shown
from sagelocal.definition.steptypes import STEP_TYPES
from sagelocal.definition.types import Unresolvable, value_of

RUN_STEP_TYPES = ("Condition", "Fail", "Lambda", "Model", "Processing", "RegisterModel", "Training", "Tuning")

FindImage = Callable[[str, str], object]  # (URI, use) → how it is run; raises ValidationException

Problem = tuple[str, str, str]  # field, message, fix


@dataclass(frozen=True)
class Limit:
    """A member of a request (`[]` stands for every entry of a list), the values that are refused, and what to do."""

    path: str
    refused: Callable[[Any], bool]
    fix: str


def _given(value: Any) -> bool:
    return bool(value)


def _not_in(*allowed: str) -> Callable[[Any], bool]:
    return lambda value: value not in allowed


def _outside(value: Any) -> bool:
    """Whether a path leads out of what a job shares with the server."""
    path = PurePosixPath(str(value))
    return not path.is_relative_to("/opt/ml") or ".." in path.parts


_CHANNELS = "InputDataConfig[]"
_IN_OPT_ML = "Use a path below /opt/ml."
_TRAINING_LIMITS = (
    Limit("AlgorithmSpecification.AlgorithmName", _given, "Give a TrainingImage."),
    Limit("AlgorithmSpecification.TrainingInputMode", _not_in("File", "FastFile"), "Use File or FastFile."),
    Limit("ResourceConfig.InstanceGroups", _given, "Use InstanceType and InstanceCount."),
    Limit("ResourceConfig.InstancePreferences", _given, "Use InstanceType and InstanceCount."),
    Limit("ServerlessJobConfig", _given, "Give a TrainingImage and a ResourceConfig."),
    Limit(f"{_CHANNELS}.DataSource.FileSystemDataSource", _given, "Use an S3DataSource."),
    Limit(f"{_CHANNELS}.DataSource.DatasetSource", _given, "Use an S3DataSource."),
    Limit(f"{_CHANNELS}.DataSource.S3DataSource.S3DataType", _not_in("S3Prefix", "ManifestFile"), "Use S3Prefix."),
    Limit(f"{_CHANNELS}.InputMode", _not_in("File", "FastFile"), "Use File or FastFile."),
    Limit("CheckpointConfig.LocalPath", _outside, _IN_OPT_ML),
    Limit("DebugHookConfig.LocalPath", _outside, _IN_OPT_ML),
    Limit("DebugRuleConfigurations[].LocalPath", _outside, _IN_OPT_ML),
)
LIMITS: dict[str, tuple[Limit, ...]] = {
    "CreateProcessingJob": (
        Limit("ProcessingInputs[].DatasetDefinition", _given, "Use an S3Input."),
        Limit("ProcessingInputs[].S3Input.S3InputMode", _not_in("File"), "Use File."),
        Limit("ProcessingOutputConfig.Outputs[].FeatureStoreOutput", _given, "Use an S3Output."),
        Limit("ProcessingResources.ClusterConfig.InstancePreferences", _given, "Use InstanceType and InstanceCount."),
    ),
    "CreateTrainingJob": _TRAINING_LIMITS,
    "CreateHyperParameterTuningJob": (
        Limit("TrainingJobDefinitions", _given, "Give one TrainingJobDefinition."),
        Limit("WarmStartConfig", _given, "Leave it out."),
        Limit("Autotune.Mode", _not_in("Disabled"), "Declare the ranges."),
        Limit("HyperParameterTuningJobConfig.ParameterRanges.AutoParameters", _given, "Declare the ranges."),
        Limit("TrainingJobDefinition.HyperParameterTuningResourceConfig", _given, "Use ResourceConfig."),
        *(Limit(f"TrainingJobDefinition.{limit.path}", limit.refused, limit.fix) for limit in _TRAINING_LIMITS),
    ),
    "CreateModel": (
        Limit("Containers", lambda containers: len(containers) > 1, "Give one container: PrimaryContainer."),
    ),
    "CreateEndpointConfig": tuple(
        Limit(member, _given, "Leave it out.")
        for member in ("ShadowProductionVariants", "AsyncInferenceConfig", "ExplainerConfig")
    ),
}
# Where a request names the image that it runs, and what the image is used for.
IMAGES = {
    "CreateProcessingJob": (("AppSpecification.ImageUri", "processing"),),
    "CreateTrainingJob": (("AlgorithmSpecification.TrainingImage", "training"),),
    "CreateHyperParameterTuningJob": (("TrainingJobDefinition.AlgorithmSpecification.TrainingImage", "training"),),
}


def refuse(operation: str, request: dict[str, Any]) -> None:
    """Raise ValidationException for the first member of a request that is not run here."""
    for field, message, fix in not_run(operation, request):
        raise ValidationException(f"{field}: {message} {fix}")


def not_run(operation: str, request: dict[str, Any]) -> Iterator[Problem]:
    """(field, message, fix) of each member that is not run here. A value that is an expression is passed over."""
    for limit in LIMITS.get(operation, ()):
        for field, value in _at(request, limit.path.split("."), ""):
            if not references.kind(value) and limit.refused(value):
                what = f"{value} " if isinstance(value, str) else ""
                yield field, f"{what}is not run by the embedded SageMaker.", limit.fix


def step_types_run_here(definition: Definition) -> Iterator[Finding]:
    for step in definition.steps:
        if step.type in STEP_TYPES and step.type not in RUN_STEP_TYPES:
            message = f"The embedded SageMaker does not run steps of type {shown(step.type)}."
            yield Finding(step=step.name, field="Type", message=message, fix=f"It runs {', '.join(RUN_STEP_TYPES)}.")


def triggers_run_here(definition: Definition) -> Iterator[Finding]:
    for step in definition.steps:
        for index, entry in enumerate(as_list(step.own.get("DependsOn"))):
            if isinstance(entry, dict) and entry.get("Trigger") != "Completed":
                message = "DependsOn with a Trigger is not run by the embedded SageMaker."
                fix = "Name the step alone to run after it has succeeded."
                yield Finding(step=step.name, field=f"DependsOn[{index}].Trigger", message=message, fix=fix)


def members_run_here(definition: Definition) -> Iterator[Finding]:
    for step in definition.steps:
        if step.type in RUN_STEP_TYPES:
            for field, message, fix in not_run(STEP_TYPES[step.type].create, step.arguments):
                yield Finding(step=step.name, field=f"Arguments.{field}", message=message, fix=fix)


def images_run_here(definition: Definition, find_image: FindImage) -> Iterator[Finding]:
    """Every image that a step is sure to run has an entry in the images files."""
    for step in definition.steps:
        for path, use in IMAGES.get(STEP_TYPES[step.type].create, ()) if step.type in RUN_STEP_TYPES else ():
            for field, value in _at(step.arguments, path.split("."), ""):
                for uri in _certain(definition, value):
                    try:
                        find_image(uri, use)
                    except ValidationException as problem:
                        yield Finding(step=step.name, field=f"Arguments.{field}", message=problem.message)


def _certain(definition: Definition, value: Any) -> list[str]:
    """The image of a field whose value no start of the pipeline can change."""
    try:
        found = value_of(definition, value)
    except Unresolvable:
        return []
    fixed = not found.origin.startswith("Parameters.")
    return [uri for uri in found.known if isinstance(uri, str)] if fixed else []


def _at(value: Any, path: list[str], so_far: str) -> Iterator[tuple[str, Any]]:
    """(field, value) of every place that a path of member names leads to."""
    if not path:
        yield so_far, value
        return
    name, rest = path[0].removesuffix("[]"), path[1:]
    inner = value.get(name) if isinstance(value, dict) else None
    here = f"{so_far}.{name}".removeprefix(".")
    if path[0].endswith("[]"):
        for index, item in enumerate(as_list(inner)):
            yield from _at(item, rest, f"{here}[{index}]")
    elif inner is not None:
        yield from _at(inner, rest, here)
