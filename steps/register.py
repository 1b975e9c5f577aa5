"""Register: a version in the model package group, with its metrics and the hash of what was evaluated attached."""

from sagemaker.core.workflow.functions import Join, JsonGet
from sagemaker.mlops.workflow.steps import StepTypeEnum

from contract.deployment import MODEL_SHA256
from steps import evaluate
from steps.base import BuildContext, RequestStep, output_uri

# For the adapter of AWS's Ray Serve image: by this path its /ping asks the loaded model, not Ray's proxy.
RAYSERVE_BACKEND_URL = "http://127.0.0.1:8000/replica"


def step(build: BuildContext, *, train: RequestStep, evaluate_step: RequestStep) -> RequestStep:
    evaluated = JsonGet(step_name=evaluate_step.name, property_file=evaluate.REPORT, json_path="pawline.model_sha256")
    request = {
        "ModelPackageGroupName": build.settings.model_package_group,
        "ModelPackageDescription": "Dog breed classifier, trained and evaluated by the Pawline pipeline.",
        "ModelApprovalStatus": build["ModelApprovalStatus"],
        "InferenceSpecification": {
            "Containers": [
                {
                    "Image": build.settings.serving_image,
                    "ModelDataUrl": train.properties.ModelArtifacts.S3ModelArtifacts,
                    "Environment": {"RAYSERVE_BACKEND_URL": RAYSERVE_BACKEND_URL, MODEL_SHA256: evaluated},
                }
            ],
            "SupportedContentTypes": ["image/jpeg", "image/png", "application/x-image"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        "ModelMetrics": {
            "ModelQuality": {
                "Statistics": {
                    "ContentType": "application/json",
                    "S3Uri": Join(on="/", values=[output_uri(evaluate_step, "evaluation"), "evaluation.json"]),
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
