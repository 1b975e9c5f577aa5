"""The metrics of a training: how the script prints one, and the expression with which SageMaker finds it."""

NAMES = ("train:loss", "train:accuracy", "validation:loss", "validation:accuracy")
OBJECTIVE = "validation:accuracy"

_PRINTED = "{name}={value}"


def printed(name: str, value: float) -> str:
    return _PRINTED.format(name=name, value=f"{value:.4f}")


def regex(name: str) -> str:
    return _PRINTED.format(name=name, value="([0-9.eE+-]+)")


# MetricDefinitions of CreateTrainingJob: AWS keeps the last match of a training.
DEFINITIONS = [{"Name": name, "Regex": regex(name)} for name in NAMES]
