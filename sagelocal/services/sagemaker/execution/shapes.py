"""Which properties a step of each type has, from AWS's own models: a misspelt one is refused before anything runs."""

from difflib import get_close_matches

from botocore.model import ListShape, MapShape, Shape, StructureShape

from sagelocal.core import service_models

DESCRIBED_BY = {
    "Model": "DescribeModel",
    "Processing": "DescribeProcessingJob",
    "RegisterModel": "DescribeModelPackage",
    "Training": "DescribeTrainingJob",
    "Tuning": "DescribeHyperParameterTuningJob",
}
TUNING_LIST = "ListTrainingJobsForHyperParameterTuningJob"


def problem_with(step_type: str, path: tuple[str | int, ...], outputs: list[str]) -> str | None:
    """What is wrong with a path into a step's properties; `outputs` are the names that a Lambda step declares."""
    if step_type == "Condition":
        return None if path == ("Outcome",) else "a Condition step has only the property Outcome"
    if step_type == "Lambda":
        known = len(path) == 2 and path[0] == "OutputParameters" and path[1] in outputs
        return (
            None if known else f"the Lambda step gives OutputParameters of these names: {', '.join(outputs) or 'none'}"
        )
    if step_type == "Fail":
        return "a Fail step has no properties"
    shape = service_models.operation_model("sagemaker", DESCRIBED_BY[step_type]).output_shape
    if step_type == "Tuning" and path[0] == "TrainingJobSummaries":
        shape = service_models.operation_model("sagemaker", TUNING_LIST).output_shape
    return _walk(shape, path)


def _walk(shape: Shape | None, path: tuple[str | int, ...]) -> str | None:
    for part in path:
        if isinstance(shape, StructureShape):
            if part not in shape.members:
                near = get_close_matches(str(part), shape.members, 1)
                return f"{shape.name} has no {part}" + (f"; did you mean {near[0]}?" if near else "")
            shape = shape.members[str(part)]
        elif isinstance(shape, ListShape):
            shape = shape.member
        elif isinstance(shape, MapShape):
            shape = shape.value
        else:
            return f"{part} would be a part of a {shape.type_name if shape else 'nothing'}"
    return None
