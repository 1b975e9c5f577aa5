"""Training: a training job; its properties are DescribeTrainingJob."""

from embedded.context import Context
from embedded.engine.steps.base import JobHandler


class TrainingStep(JobHandler):
    job = "TrainingJob"
    kind = "training-job"
    metadata_name = "TrainingJob"
    cache_keys = (
        "AlgorithmSpecification",
        "CheckpointConfig",
        "DebugHookConfig",
        "DebugRuleConfigurations",
        "Environment",
        "HyperParameters",
        "InputDataConfig",
    )

    def outputs(self, context: Context, properties: dict) -> list[str]:
        archive = properties.get("ModelArtifacts", {}).get("S3ModelArtifacts")
        return [archive] if archive else []
