"""AWS's own description of SageMaker, as botocore ships it, and what it no longer says."""

import re
from functools import cache
from typing import cast

import botocore.session
from botocore.model import ServiceModel, Shape, StringShape, StructureShape

# For each structure, groups of members of which at least one must stand there. AWS refuses a request without them,
# though botocore no longer marks them required since there are serverless and heterogeneous jobs. Source: the API
# reference of each structure, checked November 2026 against botocore 1.44.
ALSO_REQUIRED: dict[str, tuple[tuple[str, ...], ...]] = {
    "CreateTrainingJobRequest": (
        ("AlgorithmSpecification", "ServerlessJobConfig"),
        ("ResourceConfig", "ServerlessJobConfig"),
        ("StoppingCondition", "ServerlessJobConfig"),
    ),
    "ResourceConfig": (
        ("InstanceType", "InstanceGroups", "InstancePreferences"),
        ("InstanceCount", "InstanceGroups", "InstancePreferences"),
        ("VolumeSizeInGB",),
    ),
    "AlgorithmSpecification": (("TrainingImage", "AlgorithmName"),),
    "HyperParameterAlgorithmSpecification": (("TrainingImage", "AlgorithmName"),),
    "CreateHyperParameterTuningJobRequest": (("TrainingJobDefinition", "TrainingJobDefinitions"),),
    "HyperParameterTrainingJobDefinition": (("ResourceConfig", "HyperParameterTuningResourceConfig"),),
    "ProcessingClusterConfig": (("InstanceType", "InstancePreferences"), ("InstanceCount", "InstancePreferences")),
    "ProcessingInput": (("S3Input", "DatasetDefinition"),),
    "ProcessingOutput": (("S3Output", "FeatureStoreOutput"),),
    "CreateModelInput": (("ExecutionRoleArn",), ("PrimaryContainer", "Containers")),
    "ContainerDefinition": (("Image", "ModelPackageName"),),
    "CreateModelPackageInput": (("ModelPackageGroupName", "ModelPackageName"),),
    "ModelPackageContainerDefinition": (("Image", "BaseModel"),),
}


@cache
def model() -> ServiceModel:
    """The SageMaker service model (0.15 s to load, no network, no credentials)."""
    return botocore.session.get_session().get_service_model("sagemaker")


def request_shape(operation: str) -> StructureShape:
    """The input of an operation: CreateTrainingJob → CreateTrainingJobRequest."""
    return cast(StructureShape, model().operation_model(operation).input_shape)


def answer_shape(operation: str) -> StructureShape:
    """The output of an operation: DescribeTrainingJob → DescribeTrainingJobResponse."""
    return cast(StructureShape, model().operation_model(operation).output_shape)


@cache
def instance_types() -> frozenset[str]:
    """Every instance type that any kind of job or endpoint knows."""
    names = ("TrainingInstanceType", "ProcessingInstanceType", "TransformInstanceType", "ProductionVariantInstanceType")
    return frozenset(value for name in names for value in cast(StringShape, model().shape_for(name)).enum)


def missing_members(shape: StructureShape, present: dict, generated: str = "") -> list[tuple[str, ...]]:
    """Groups of members of which `present` has none; `generated` is the name that the pipeline service makes itself."""
    groups: list[tuple[str, ...]] = [(name,) for name in shape.required_members if name != generated]
    groups += ALSO_REQUIRED.get(shape.name, ())
    return [group for group in dict.fromkeys(groups) if not any(name in present for name in group)]


def broken_constraints(value: object, shape: Shape) -> list[str]:
    """Which of enum, pattern, length and range a scalar breaks, in words. ParamValidator checks only minima."""
    problems = []
    if isinstance(value, str):
        if isinstance(shape, StringShape) and shape.enum and value not in shape.enum:
            problems.append(f"is none of the {len(shape.enum)} values of {shape.name}")
        problems += _out_of_bounds(len(value), shape, " characters long")
        pattern = _compiled(shape.metadata.get("pattern", ""))
        if pattern and not pattern.fullmatch(value):
            problems.append(f"does not match {pattern.pattern}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        problems += _out_of_bounds(value, shape, "")
    return problems


def size_problems(length: int, shape: Shape) -> list[str]:
    """Whether a list or map is too short or too long."""
    return _out_of_bounds(length, shape, " entries long")


def _out_of_bounds(size: float, shape: Shape, unit: str) -> list[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and size < low:
        return [f"is {size}{unit}, less than {low}"]
    if high is not None and size > high:
        return [f"is {size}{unit}, more than {high}"]
    return []


@cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    """None for no pattern, and for the nine that only Java understands (\\p{L}): AWS checks those."""
    try:
        return re.compile(pattern, re.DOTALL) if pattern else None
    except re.error:
        return None
