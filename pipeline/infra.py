"""What an account needs before the pipeline can run: infra/template.yaml, deployed. AWS's and the embedded one alike.

A new account takes two change sets: the functions' code must be in the bucket before they can be made, and the bucket
is the template's own. So the first leaves the functions out, which the template does while it is given no code.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from pipeline import changeset, functions, hints
from pipeline.changeset import ChangeSet
from pipeline.cloud import Cloud
from pipeline.errors import UserError
from pipeline.settings import Settings

TEMPLATE = Path(__file__).parent.parent / "infra" / "template.yaml"
CODE = dict.fromkeys(
    [f"{name.capitalize()}CodeKey" for name in functions.NAMES]
    + [f"{name.capitalize()}CodeSha256" for name in functions.VERSIONED],
    "",
)
OURS = ("CreateBucket", "Release", *CODE)  # decided here, never given
FOLLOW_TEMPLATE = ("PowertoolsLayer",)  # a newer default is taken even where an older one is deployed
RELEASED = (
    *("Project", "BucketName", *CODE, "PowertoolsLayer", "SubnetIds", "SecurityGroupIds"),
    *("TrainingRepositoryArn", "ServingRepositoryArn"),
)

Confirm = Callable[[ChangeSet], bool]


def deploy(cloud: Cloud, given: Mapping[str, str], *, confirm: Confirm, watch: changeset.Watch) -> str:
    """Bring the stack to the template; "created", "updated", "unchanged" or "declined".

    `given`: template parameters by name; those left out keep their value. `confirm` is asked once, before the first
    change. Raises UserError.
    """
    refused = sorted(set(given) & {*OURS, "Project", "BucketName"})
    if refused:
        raise UserError(f"{refused[0]} is not given here.", "Names come from PAWLINE_PROJECT and PAWLINE_BUCKET.")
    present = _usable(changeset.stack(cloud, stack_name(cloud.settings)), cloud.settings)
    packed = functions.packages(cloud.settings)
    values = parameters(cloud, present, given, packed)
    created = present is None
    if created:
        bare = values | CODE | {"Release": "none"}
        first = _change(cloud, bare, creating=True)
        if first and not _agreed(cloud, first, confirm):
            return "declined"
        if first:
            changeset.execute(cloud, first, watch)
    functions.upload(cloud.client("s3"), cloud.settings, packed)
    change_set = _change(cloud, values, creating=False)
    if change_set is None:
        return "unchanged"
    if not created and not _agreed(cloud, change_set, confirm):
        return "declined"
    changeset.execute(cloud, change_set, watch)
    return "created" if created else "updated"


def ensure(cloud: Cloud) -> str:
    """Make sure that the account is set up; "current", "created", "updated" or "unchanged".

    An account on this machine is brought up to date without asking. In any other a person decides when: an older
    release is left alone ("older"), and where nothing is deployed it raises UserError.
    """
    name = stack_name(cloud.settings)
    present = changeset.stack(cloud, name)
    if present and present["StackStatus"] in ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS"):
        changeset.follow(cloud, name, set(), lambda event: None)  # another command of this moment does the same
        present = changeset.stack(cloud, name)
    if present and present["StackStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        values = parameters(cloud, present, {}, functions.packages(cloud.settings))
        if _parameters_of(present).get("Release") == values["Release"]:
            return "current"
    if not _on_this_machine():
        if present:
            return "older"
        raise UserError(
            f"Account {cloud.settings.account} has no stack {name} in {cloud.settings.region}.",
            f"Make it first: {hints.DEPLOY_INFRA}",
        )
    return deploy(cloud, {}, confirm=lambda change_set: True, watch=lambda event: None)


def stack_name(settings: Settings) -> str:
    return settings.project


def parameters(
    cloud: Cloud, present: dict[str, Any] | None, given: Mapping[str, str], packed: list[functions.Package]
) -> dict[str, str]:
    """Every parameter with a value of its own; what is not here has the template's default."""
    settings = cloud.settings
    before = _parameters_of(present)
    kept = {name: value for name, value in before.items() if name not in (*OURS, *FOLLOW_TEMPLATE)}
    values = kept | {
        "Project": settings.project,
        "BucketName": settings.bucket,
        "TrainingRepositoryArn": repository_arn(settings, settings.training_image),
        "ServingRepositoryArn": repository_arn(settings, settings.serving_image),
        **given,
    }
    values |= {f"{each.name.capitalize()}CodeKey": each.key for each in packed}
    hashes = {each.name: each.sha256 for each in packed}
    values |= {f"{name.capitalize()}CodeSha256": hashes[name] for name in functions.VERSIONED}
    values["Release"] = _release(values)
    values["CreateBucket"] = before.get("CreateBucket") or _create_bucket(cloud)
    return values


def repository_arn(settings: Settings, image: str) -> str:
    """The ECR repository of an image URI; one in the account's own registry for an image without a registry."""
    match = re.match(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com/([^:@]+)", image)
    account, region, name = match.groups() if match else (settings.account, settings.region, re.split("[:@]", image)[0])
    return f"arn:aws:ecr:{region}:{account}:repository/{name}"


def _release(values: Mapping[str, str]) -> str:
    """A hash of all that can change what the functions do: Lambda runs new settings only behind a new version."""
    content = json.dumps([TEMPLATE.read_text(), [values.get(name, "") for name in RELEASED]])
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _parameters_of(present: dict[str, Any] | None) -> dict[str, str]:
    return {entry["ParameterKey"]: entry["ParameterValue"] for entry in (present or {}).get("Parameters", [])}


def _change(cloud: Cloud, values: Mapping[str, str], *, creating: bool) -> ChangeSet | None:
    name = stack_name(cloud.settings)
    return changeset.create(cloud, name, TEMPLATE.read_text(), values, creating=creating)


def _agreed(cloud: Cloud, change_set: ChangeSet, confirm: Confirm) -> bool:
    """Whether the change set may be executed; one that may not, also because nobody could be asked, is discarded."""
    agreed = False
    try:
        agreed = confirm(change_set)
    finally:
        if not agreed:
            changeset.discard(cloud, change_set)
    return agreed


def _usable(present: dict[str, Any] | None, settings: Settings) -> dict[str, Any] | None:
    """The stack, or None where one is to be created. Raises UserError for one that CloudFormation cannot update."""
    if present is None or present["StackStatus"] == "REVIEW_IN_PROGRESS":
        return None
    name, status = stack_name(settings), present["StackStatus"]
    if status in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"):
        raise UserError(
            f"Stack {name} is {status}: {present.get('StackStatusReason', 'an earlier deployment failed.')}",
            f"Such a stack can only be removed: {hints.DESTROY_BUT_DATA}, then {hints.DEPLOY_INFRA}",
        )
    if status == "UPDATE_ROLLBACK_FAILED":
        raise UserError(
            f"Stack {name} is {status}.",
            f"Let CloudFormation finish: aws cloudformation continue-update-rollback --stack-name {name}",
        )
    if status.endswith("_IN_PROGRESS"):
        raise UserError(f"Stack {name} is {status}: somebody is deploying.", "Wait until that has ended.")
    return present


def _create_bucket(cloud: Cloud) -> str:
    """Whether the stack makes the bucket. Raises UserError for a bucket that is somebody else's."""
    bucket = cloud.settings.bucket
    try:
        cloud.client("s3").head_bucket(Bucket=bucket, ExpectedBucketOwner=cloud.settings.account)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status == 404:
            return "true"
        where = "in another region" if status in (301, 400) else "owned by somebody else, or closed to you"
        raise UserError(f"The bucket {bucket} is {where}.", "Choose another name: PAWLINE_BUCKET.") from None
    return "false"


def _on_this_machine() -> bool:
    host = urlsplit(os.environ.get("AWS_ENDPOINT_URL", "")).hostname
    return host in ("127.0.0.1", "localhost", "::1")
