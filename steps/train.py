"""Train: the best hyperparameters once more, with the Debugger hook; writes the archive that will be served."""

import copy
from typing import Any

from sagemaker.core.workflow.functions import Join
from sagemaker.mlops.workflow.steps import StepTypeEnum

from pipeline.parameters import MANAGED_RULES
from pipeline.settings import MANAGED, OFF
from steps.base import RequestStep, Site, as_text, channel, script_mode, stopping_condition
from steps.tune import METRICS

# What the default Debugger rules need, and no more. Losses, labels and predictions at every step. Gradients and ReLU
# inputs in full in the first three steps, which tell how the weights were initialised (a head's gradients are
# megabytes); with the weights as reductions in the first ten, then at intervals. ReLU inputs in full again after 50,
# 100, 200, … steps: dead units show in nothing less.
NEVER_IN_EVALUATION = {"eval.start_step": "1000000000"}
REDUCTIONS = {
    "reductions": "min,max,mean,variance,l2_norm,abs_mean",
    "train.save_interval": "50",
    "train.save_steps": "0,1,2,3,4,5,6,7,8,9",
    **NEVER_IN_EVALUATION,
}
DOUBLING = "0,1,2," + ",".join(str(50 * 2**power) for power in range(15))
COLLECTIONS = [
    {"CollectionName": "losses", "CollectionParameters": {"train.save_interval": "1", "eval.save_interval": "1"}},
    {
        "CollectionName": "outcomes",
        "CollectionParameters": {"include_regex": "^(training|validation)_", "save_interval": "1"},
    },
    {"CollectionName": "weights", "CollectionParameters": REDUCTIONS},
    {"CollectionName": "gradients", "CollectionParameters": REDUCTIONS},
    {
        "CollectionName": "first_gradients",
        "CollectionParameters": {
            "include_regex": "^gradient/",
            "train.save_interval": "1",
            "train.end_step": "3",
            **NEVER_IN_EVALUATION,
        },
    },
    {"CollectionName": "relu_input", "CollectionParameters": {"include_regex": ".*relu_input", **REDUCTIONS}},
    {
        "CollectionName": "some_relu_inputs",
        "CollectionParameters": {
            "include_regex": ".*relu_input",
            "train.save_interval": "1000000000",
            "train.save_steps": DOUBLING,
            **NEVER_IN_EVALUATION,
        },
    },
]
# SageMaker's own PoorWeightInitialization looks at the first ten steps (its parameter `steps`), at the percentiles of
# gradients among them, and smdebug's evaluator passes over a step of which a rule finds reductions only.
FIRST_TEN = "0,1,2,3,4,5,6,7,8,9"
MANAGED_PARAMETERS: dict[str, dict[str, str]] = {
    "first_gradients": {"train.end_step": "10"},
    "some_relu_inputs": {"train.save_steps": FIRST_TEN + DOUBLING.removeprefix("0,1,2")},
}

DESCRIPTIONS = {
    "open": "Trains with the best hyperparameters; saves Debugger tensors and a complete model archive.",
    "managed": "Trains with the best hyperparameters under SageMaker's Debugger rules; writes a whole model archive.",
    "off": "Trains with the best hyperparameters; writes a complete model archive. No Debugger: debugger=off.",
}


CHECKPOINTS = "/opt/ml/checkpoints"


def step(site: Site, *, features: Any, prepared: Any, best: dict[str, Any], trial: Any) -> RequestStep:
    """`best`, `trial`: hyperparameters and name of the best trial."""
    request = {
        "HyperParameters": {
            **script_mode(site, "train.py"),
            "sagemaker_torch_distributed_enabled": "true",
            "sagemaker_instance_type": site["TrainingInstanceType"],
            "epochs": as_text(site["Epochs"]),
            "seed": as_text(site["Seed"]),
            "backbone": site["Backbone"],
            "trainable-stages": as_text(site["TrainableStages"]),
            "optimize": site["FasterServing"],
            "checkpoints": CHECKPOINTS,
            **_live_rules(site),
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
            channel("prepared", prepared, mode="FastFile"),
            channel("weights", site["PretrainedWeightsUri"]),
        ],
        "OutputDataConfig": {"S3OutputPath": f"{site.settings.root}/models"},
        "ResourceConfig": {
            "InstanceType": site["TrainingInstanceType"],
            "InstanceCount": site["TrainingInstanceCount"],
            "VolumeSizeInGB": 100,
        },
        **stopping_condition(site, 24 * 3600),
        # For spot instances, and for a retry. A cache key, so it must not name the execution; named after the trial, it
        # is found again by the execution that retries or reuses that tuning, and by no other.
        "CheckpointConfig": {
            "S3Uri": Join(on="/", values=[f"{site.settings.root}/checkpoints", trial]),
            "LocalPath": CHECKPOINTS,
        },
        **_debugger(site),
    }
    return RequestStep(
        "Train",
        StepTypeEnum.TRAINING,
        request,
        title="Train the model",
        description=DESCRIPTIONS[site.settings.debugger],
        answers=["DescribeTrainingJobResponse"],
        cache=True,
    )


def _live_rules(site: Site) -> dict[str, Any]:
    """The hyperparameters of the rules that watch the training."""
    if site.settings.debugger == OFF:
        return {}
    return {"stop-on-issue": site["StopOnIssue"], "rule-parameters": site["RuleParameters"]}


def _debugger(site: Site) -> dict[str, Any]:
    """The members with which training saves tensors, and SageMaker evaluates rules on them."""
    if site.settings.debugger == OFF:
        return {}
    # The path is a cache key: it must not name the execution. SageMaker adds the job's name to it.
    managed = site.settings.debugger == MANAGED
    hook = {"S3OutputPath": f"{site.settings.root}/tensors", "CollectionConfigurations": _collections(managed)}
    if not managed:
        return {"DebugHookConfig": hook}
    rules = [
        {
            "RuleConfigurationName": name,
            "RuleEvaluatorImage": site.settings.rule_image,
            "RuleParameters": {"rule_to_invoke": name},
        }
        for name in MANAGED_RULES
    ]
    return {"DebugHookConfig": hook, "DebugRuleConfigurations": rules}


def _collections(managed: bool) -> list[dict[str, Any]]:
    collections: list[dict[str, Any]] = copy.deepcopy(COLLECTIONS)
    for collection in collections if managed else []:
        collection["CollectionParameters"] |= MANAGED_PARAMETERS.get(collection["CollectionName"], {})
    return collections
