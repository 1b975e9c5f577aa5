"""Evaluate: the model archive, as it will be served, once over the test photos."""

from typing import Any

from sagemaker.core.workflow.properties import PropertyFile

from steps.base import RequestStep, Site, processing

REPORT = PropertyFile(name="evaluation", output_name="evaluation", path="evaluation.json")


def step(site: Site, *, train: RequestStep, prepared: Any) -> RequestStep:
    return processing(
        site,
        "Evaluate",
        title="Evaluate the model",
        description="Top-1, top-5, per class, confusion, calibration and latency on the test split.",
        script="evaluate.py",
        inputs={"model": train.properties.ModelArtifacts.S3ModelArtifacts, "prepared": prepared},
        output="evaluation",
        arguments={},
        property_files=[REPORT],
        volume_gb=30,
    )
