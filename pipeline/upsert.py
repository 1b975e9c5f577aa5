"""Create or update the pipeline in an account, and say which of the two it was."""

import json

from botocore.exceptions import ClientError

from pipeline import definition, lint
from pipeline.cloud import Cloud
from pipeline.errors import UserError

DESCRIPTION = "Dog photos to a served, autoscaled, monitored breed classifier (Pawline)."


def upsert(cloud: Cloud) -> tuple[str, str]:
    """(pipeline ARN, "created" | "updated" | "unchanged"). Raises UserError for what AWS would refuse."""
    sagemaker = cloud.client("sagemaker")
    settings = cloud.settings
    document = definition.definition(settings)
    if problems := lint.errors(lint.lint(document)):
        raise UserError("AWS would refuse this definition:\n" + "\n".join(map(str, problems)), "Mend it and try again.")
    wanted = {
        "PipelineName": settings.pipeline_name,
        "PipelineDefinition": document,
        "PipelineDescription": DESCRIPTION,
        "RoleArn": settings.role("pipeline"),
    }
    try:
        known = sagemaker.describe_pipeline(PipelineName=settings.pipeline_name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFound":
            raise
        arn = sagemaker.create_pipeline(
            **wanted, PipelineDisplayName=settings.pipeline_name, ClientRequestToken=_token(document)
        )["PipelineArn"]
        return arn, "created"
    if json.loads(known["PipelineDefinition"]) == json.loads(document) and known["RoleArn"] == wanted["RoleArn"]:
        return known["PipelineArn"], "unchanged"
    return sagemaker.update_pipeline(**wanted)["PipelineArn"], "updated"


def _token(document: str) -> str:
    """The same request twice is one request: AWS wants 32 characters or more."""
    import hashlib

    return hashlib.sha256(document.encode()).hexdigest()
