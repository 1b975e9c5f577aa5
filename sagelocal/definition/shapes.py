"""AWS's own description of SageMaker, as botocore ships it, and what it no longer says."""

from functools import cache
from typing import Any, cast

from botocore.model import ServiceModel, Shape, StringShape, StructureShape

from sagelocal.core import service_models

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


def model() -> ServiceModel:
    """The SageMaker service model (0.15 s to load, no network, no credentials)."""
    return service_models.service_model("sagemaker")


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


def missing_members(shape: StructureShape, present: dict[str, Any], generated: str = "") -> list[tuple[str, ...]]:
    """Groups of members of which `present` has none; `generated` is the name that the pipeline service makes itself."""
    groups: list[tuple[str, ...]] = [(name,) for name in shape.required_members if name != generated]
    groups += ALSO_REQUIRED.get(shape.name, ())
    return [group for group in dict.fromkeys(groups) if not any(name in present for name in group)]


def broken_constraints(value: object, shape: Shape) -> list[str]:
    """Which of enum, pattern, length and range a value breaks, in words."""
    return [_in_words(value, shape, *broken) for broken in service_models.violations(value, shape)]


def _in_words(value: Any, shape: Shape, constraint: str, bound: Any) -> str:
    if constraint == "enum":
        return f"is none of the {len(bound)} values of {shape.name}"
    if constraint == "pattern":
        return f"does not match {bound}"
    comparison = "less" if constraint == "min" else "more"
    if isinstance(value, int | float):
        return f"is {value}, {comparison} than {bound}"
    unit = "characters" if isinstance(value, str) else "entries"
    return f"is {len(value)} {unit} long, {comparison} than {bound}"
