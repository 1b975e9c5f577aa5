"""Tune: trials of the head on the features; the objective is the validation accuracy."""

from typing import Any

from sagemaker.mlops.workflow.steps import StepTypeEnum

from contract import metrics
from steps.base import BuildContext, RequestStep, as_text, channel, script_mode, stopping_condition

# Narrow: a few hundred validation images tell apart what is bad, not the good from the better, so no point of it may be
# bad. Two are not searched: mixup, no better, makes the training loss jump, which the Debugger's rules take for a
# failure; the optimizer, since Adam is no better and its weight decay would need another range than AdamW's.
RANGES: dict[str, list[dict[str, Any]]] = {
    "ContinuousParameterRanges": [
        {"Name": "learning-rate", "MinValue": "0.0005", "MaxValue": "0.002", "ScalingType": "Logarithmic"},
        {"Name": "weight-decay", "MinValue": "0.0001", "MaxValue": "0.1", "ScalingType": "Logarithmic"},
        {"Name": "dropout", "MinValue": "0.3", "MaxValue": "0.6", "ScalingType": "Linear"},
        {"Name": "label-smoothing", "MinValue": "0.05", "MaxValue": "0.15", "ScalingType": "Linear"},
    ],
    "CategoricalParameterRanges": [
        {"Name": "hidden-width", "Values": ["256", "512"]},
        {"Name": "batch-size", "Values": ["64", "128"]},
    ],
}

TUNED = [entry["Name"] for entries in RANGES.values() for entry in entries]


def step(build: BuildContext, *, features: Any) -> RequestStep:
    request = {
        "HyperParameterTuningJobConfig": {
            "Strategy": build["TuningStrategy"],
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": metrics.OBJECTIVE},
            "ResourceLimits": {
                "MaxNumberOfTrainingJobs": build["MaxTuningJobs"],
                "MaxParallelTrainingJobs": build["MaxParallelTuningJobs"],
            },
            "ParameterRanges": RANGES,
            "TrainingJobEarlyStoppingType": build["TuningEarlyStopping"],
            "RandomSeed": build["Seed"],
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": {
                **script_mode(build, "train.py"),
                "epochs": as_text(build["Epochs"]),
                "seed": as_text(build["Seed"]),
            },
            "AlgorithmSpecification": {
                "TrainingImage": build.settings.training_image,
                "TrainingInputMode": "File",
                "MetricDefinitions": metrics.DEFINITIONS,
            },
            "RoleArn": build.settings.role("job"),
            "InputDataConfig": [channel("features", features)],
            "OutputDataConfig": {"S3OutputPath": f"{build.settings.root}/trials"},
            "ResourceConfig": {"InstanceType": build["TrainingInstanceType"], "InstanceCount": 1, "VolumeSizeInGB": 30},
            **stopping_condition(build, 3600),
        },
    }
    return RequestStep(
        "Tune",
        StepTypeEnum.TUNING,
        request,
        title="Tune the head",
        description="Searches learning rate, regularisation, width and batch size on the cached features.",
    )


def best(tune: RequestStep) -> dict[str, Any]:
    """The best trial's value of each tuned hyperparameter (AWS gives them as text)."""
    tuned = tune.properties.BestTrainingJob.TunedHyperParameters
    return {name: tuned[name] for name in TUNED}


def best_trial(tune: RequestStep) -> Any:
    """The name of the best trial's training job."""
    return tune.properties.BestTrainingJob.TrainingJobName
