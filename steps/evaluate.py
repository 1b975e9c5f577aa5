"""Evaluate: the model archive, as it will be served, and the champion's, once over the test photos."""

from typing import Any

from sagemaker.core.workflow.properties import PropertyFile

from steps.base import BuildContext, RequestStep, processing
from steps.prepare import manifest, shards

REPORT = PropertyFile(name="evaluation", output_name="evaluation", path="evaluation.json")


def step(build: BuildContext, *, train: RequestStep, champion: Any, prepared: Any) -> RequestStep:
    return processing(
        build,
        "Evaluate",
        title="Evaluate the model",
        description="Accuracy, confusion, calibration, robustness and latency on the test split; against the champion.",
        script="evaluate.py",
        role="evaluate",
        inputs={
            "model": train.properties.ModelArtifacts.S3ModelArtifacts,
            "champion": champion,
            "manifest": manifest(prepared),
            "test": shards(prepared, "test"),
        },
        output="evaluation",
        arguments={},
        property_files=[REPORT],
        volume_gb=30,
    )
