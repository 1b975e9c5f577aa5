"""Train: the best hyperparameters once more, with the Debugger hook; writes the archive that will be served."""

from typing import Any

from sagemaker.core.workflow.functions import Join
from sagemaker.mlops.workflow.steps import StepTypeEnum

from contract import metrics, tensors
from contract.rules import MANAGED_RULES
from pipeline.settings import MANAGED, OFF
from steps.base import BuildContext, RequestStep, as_text, channel, script_mode, stopping_condition

DESCRIPTIONS = {
    "open": "Trains with the best hyperparameters; saves Debugger tensors and a complete model archive.",
    "managed": "Trains with the best hyperparameters under SageMaker's Debugger rules; writes a whole model archive.",
    "off": "Trains with the best hyperparameters; writes a complete model archive. No Debugger: debugger=off.",
}
CHECKPOINTS = "/opt/ml/checkpoints"


def step(build: BuildContext, *, features: Any, prepared: Any, best: dict[str, Any], trial: Any) -> RequestStep:
    """`best`, `trial`: hyperparameters and name of the best trial."""
    request = {
        "HyperParameters": {
            **script_mode(build, "train.py"),
            "sagemaker_torch_distributed_enabled": "true",
            "sagemaker_instance_type": build["TrainingInstanceType"],
            "epochs": as_text(build["Epochs"]),
            "seed": as_text(build["Seed"]),
            "backbone": build["Backbone"],
            "trainable-stages": as_text(build["TrainableStages"]),
            "optimize": build["FasterServing"],
            "checkpoints": CHECKPOINTS,
            **_live_rules(build),
            **best,
        },
        "AlgorithmSpecification": {
            "TrainingImage": build.settings.training_image,
            "TrainingInputMode": "File",
            "MetricDefinitions": metrics.DEFINITIONS,
        },
        "RoleArn": build.settings.role("train"),
        "InputDataConfig": [
            channel("features", features),
            channel("prepared", prepared, mode="FastFile"),
            channel("weights", build["PretrainedWeightsUri"]),
        ],
        "OutputDataConfig": {"S3OutputPath": f"{build.settings.root}/models"},
        "ResourceConfig": {
            "InstanceType": build["TrainingInstanceType"],
            "InstanceCount": build["TrainingInstanceCount"],
            "VolumeSizeInGB": 100,
        },
        **stopping_condition(build, 24 * 3600),
        # For spot instances, and for a retry. A cache key, so it must not name the execution; named after the trial, it
        # is found again by the execution that retries or reuses that tuning, and by no other.
        "CheckpointConfig": {
            "S3Uri": Join(on="/", values=[f"{build.settings.root}/checkpoints", trial]),
            "LocalPath": CHECKPOINTS,
        },
        **_debugger(build),
    }
    return RequestStep(
        "Train",
        StepTypeEnum.TRAINING,
        request,
        title="Train the model",
        description=DESCRIPTIONS[build.settings.debugger],
    )


def _live_rules(build: BuildContext) -> dict[str, Any]:
    """The hyperparameters of the rules that watch the training."""
    if build.settings.debugger == OFF:
        return {}
    return {"stop-on-issue": build["StopOnIssue"], "rule-parameters": build["RuleParameters"]}


def _debugger(build: BuildContext) -> dict[str, Any]:
    """The members with which training saves tensors, and SageMaker evaluates rules on them."""
    if build.settings.debugger == OFF:
        return {}
    # The path is a cache key: it must not name the execution. SageMaker adds the job's name to it.
    managed = build.settings.debugger == MANAGED
    hook = {"S3OutputPath": f"{build.settings.root}/tensors", "CollectionConfigurations": tensors.collections(managed)}
    if not managed:
        return {"DebugHookConfig": hook}
    rules = [
        {
            "RuleConfigurationName": name,
            "RuleEvaluatorImage": build.settings.rule_image,
            "RuleParameters": {"rule_to_invoke": name},
        }
        for name in MANAGED_RULES
    ]
    return {"DebugHookConfig": hook, "DebugRuleConfigurations": rules}
