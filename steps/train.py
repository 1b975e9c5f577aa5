"""Train: the best hyperparameters once more, with the Debugger hook; writes the archive that will be served."""

from typing import Any

from sagemaker.mlops.workflow.steps import StepTypeEnum

from steps.base import RequestStep, Site, as_text, channel, script_mode, stopping_condition
from steps.tune import METRICS

# What the Debugger rules need, and no more: losses at every step; gradients and ReLU inputs in the first ten steps,
# which tell how the weights were initialised, then rarely. ReLU inputs in training only.
SPARSE = {"train.save_interval": "50", "train.save_steps": "0,1,2,3,4,5,6,7,8,9"}
COLLECTIONS = [
    {"CollectionName": "losses", "CollectionParameters": {"train.save_interval": "1", "eval.save_interval": "1"}},
    {"CollectionName": "gradients", "CollectionParameters": SPARSE},
    {
        "CollectionName": "relu_input",
        "CollectionParameters": {**SPARSE, "include_regex": ".*relu_input", "eval.start_step": "1000000000"},
    },
]


def step(site: Site, *, features: Any, prepared: Any, best: dict[str, Any]) -> RequestStep:
    request = {
        "HyperParameters": {
            **script_mode(site, "train.py"),
            "sagemaker_torch_distributed_enabled": "true",
            "sagemaker_instance_type": site["TrainingInstanceType"],
            "epochs": as_text(site["Epochs"]),
            "seed": as_text(site["Seed"]),
            "backbone": site["Backbone"],
            "trainable-stages": as_text(site["TrainableStages"]),
            **best,
        },
        "AlgorithmSpecification": {
            "TrainingImage": site.settings.training_image,
            "TrainingInputMode": "File",
            "MetricDefinitions": METRICS,
        },
        "RoleArn": site.settings.role("job"),
        "InputDataConfig": [
            channel("features", features),
            channel("prepared", prepared),
            channel("weights", site["PretrainedWeightsUri"]),
        ],
        "OutputDataConfig": {"S3OutputPath": f"{site.settings.root}/models"},
        "ResourceConfig": {
            "InstanceType": site["TrainingInstanceType"],
            "InstanceCount": site["TrainingInstanceCount"],
            "VolumeSizeInGB": 100,
        },
        **stopping_condition(site, 24 * 3600),
        # The path is a cache key: it must not name the execution. SageMaker adds the job's name to it.
        "DebugHookConfig": {
            "S3OutputPath": f"{site.settings.root}/tensors",
            "CollectionConfigurations": COLLECTIONS,
        },
    }
    return RequestStep(
        "Train",
        StepTypeEnum.TRAINING,
        request,
        title="Train the model",
        description="Trains with the best hyperparameters; saves Debugger tensors and a complete model archive.",
        answers=["DescribeTrainingJobResponse"],
        cache=True,
    )
