"""Training: a training job; its properties are DescribeTrainingJob."""

from sagelocal.core.context import Context
from sagelocal.core.json import Json
from sagelocal.services.sagemaker.documents import TRAINING_JOB
from sagelocal.services.sagemaker.execution.steps.base import JobHandler


class TrainingStep(JobHandler):
    job = "TrainingJob"
    kind = TRAINING_JOB
    metadata_name = "TrainingJob"
    cache_keys = (
        *("AlgorithmSpecification", "CheckpointConfig", "DebugHookConfig", "DebugRuleConfigurations"),
        *("Environment", "HyperParameters", "InputDataConfig"),
    )

    def outputs(self, context: Context, properties: Json) -> list[str]:
        archive = properties.get("ModelArtifacts", {}).get("S3ModelArtifacts")
        return [archive] if archive else []
