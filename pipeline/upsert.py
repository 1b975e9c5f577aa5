"""Create or update the pipeline in an account, and say which of the two it was."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from pipeline import definition, rules
from pipeline.bundle import Bundle
from pipeline.cloud import Cloud
from pipeline.errors import UserError
from sagelocal.definition import errors, lint

DESCRIPTION = "Dog photos to a served, autoscaled, monitored breed classifier (Pawline)."


@dataclass(frozen=True)
class Upserted:
    """What became of the pipeline: created, updated or unchanged, and the lines of the document that changed."""

    arn: str
    change: str
    diff: list[str]


def upsert(cloud: Cloud, code: Bundle | None = None) -> Upserted:
    """Send the definition (of `code`, else of code/ as it is) where it is missing or differs.

    Raises UserError for what AWS would refuse.
    """
    sagemaker = cloud.client("sagemaker")
    settings = cloud.settings
    document = definition.definition(settings, code)
    if problems := errors(lint(document, extra=rules.RULES)):
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
        # The same request twice is one request: AWS wants 32 characters or more.
        token = hashlib.sha256(document.encode()).hexdigest()
        made = sagemaker.create_pipeline(**wanted, PipelineDisplayName=settings.pipeline_name, ClientRequestToken=token)
        return Upserted(made["PipelineArn"], "created", [])
    diff = changes(known["PipelineDefinition"], document)
    if not diff and known["RoleArn"] == wanted["RoleArn"]:
        return Upserted(known["PipelineArn"], "unchanged", [])
    return Upserted(sagemaker.update_pipeline(**wanted)["PipelineArn"], "updated", diff)


def changes(old: str, new: str) -> list[str]:
    """The lines that differ between two definitions, each with the step that it belongs to."""
    before, after = _leaves(json.loads(old)), _leaves(json.loads(new))
    lines = []
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            lines += [f"- {path}: {before[path]}"] if path in before else []
            lines += [f"+ {path}: {after[path]}"] if path in after else []
    return lines


def _leaves(value: Any, path: str = "") -> dict[str, str]:
    """Every leaf of a document by its path; items of lists by their Name where they have one."""
    if isinstance(value, dict) and value:
        parts = [(f"{path}.{key}" if path else key, item) for key, item in value.items()]
    elif isinstance(value, list) and value:
        names = [item.get("Name", index) if isinstance(item, dict) else index for index, item in enumerate(value)]
        parts = [(f"{path}[{name}]", item) for name, item in zip(names, value, strict=True)]
    else:
        return {path: json.dumps(value)}
    return {leaf: text for where, item in parts for leaf, text in _leaves(item, where).items()}
