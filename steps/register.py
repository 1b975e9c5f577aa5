"""Register: a version in the model package group, with its metrics attached."""

from typing import Any

from sagemaker.core.workflow.functions import Join
from sagemaker.mlops.workflow.steps import StepTypeEnum

from steps.base import BuildContext, RequestStep

# For the adapter of AWS's Ray Serve image: by this path its /ping asks the loaded model, not Ray's proxy.
RAYSERVE_BACKEND_URL = "http://127.0.0.1:8000/replica"


def step(build: BuildContext, *, train: RequestStep, evaluation: Any) -> RequestStep:
    request = {
        "ModelPackageGroupName": build.settings.model_package_group,
        "ModelPackageDescription": "Dog breed classifier, trained and evaluated by the Pawline pipeline.",
        "ModelApprovalStatus": build["ModelApprovalStatus"],
        "InferenceSpecification": {
            "Containers": [
                {
                    "Image": build.settings.serving_image,
                    "ModelDataUrl": train.properties.ModelArtifacts.S3ModelArtifacts,
                    "Environment": {"RAYSERVE_BACKEND_URL": RAYSERVE_BACKEND_URL},
                }
            ],
            "SupportedContentTypes": ["image/jpeg", "image/png", "application/x-image"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        "ModelMetrics": {
            "ModelQuality": {
                "Statistics": {
                    "ContentType": "application/json",
                    "S3Uri": Join(on="/", values=[evaluation, "evaluation.json"]),
                }
            }
        },
    }
    return RequestStep(
        "Register",
        StepTypeEnum.REGISTER_MODEL,
        request,
        title="Register the model",
        description="Adds a version to the model package group with the evaluation attached.",
    )
