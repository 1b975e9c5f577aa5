"""Names, bucket, roles and images: what an account gives the pipeline, from the environment and defaults.

Nothing here asks AWS: `pawline definition` needs neither credentials nor a network.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pipeline.errors import UserError

PLACEHOLDER_ACCOUNT = "123456789012"  # also the account of the embedded SageMaker

# AWS's Deep Learning Containers; the account that owns them is the same in all commercial regions that we name here.
# Source: sagemaker.core.image_uris (pytorch-amzn2023, version 2.13, training), checked by a test.
IMAGE_ACCOUNT = "763104351884"

# The accounts of SageMaker Debugger's rule evaluator, by region. Source: sagemaker.core.image_uris (debugger), checked
# by a test.
RULE_ACCOUNTS = {
    "af-south-1": "314341159256", "ap-east-1": "199566480951", "ap-northeast-1": "430734990657",
    "ap-northeast-2": "578805364391", "ap-northeast-3": "479947661362", "ap-south-1": "904829902805",
    "ap-southeast-1": "972752614525", "ap-southeast-2": "184798709955", "ca-central-1": "519511493484",
    "eu-central-1": "482524230118", "eu-north-1": "314864569078", "eu-south-1": "563282790590",
    "eu-west-1": "929884845733", "eu-west-2": "250201462417", "eu-west-3": "447278800020",
    "me-south-1": "986000313247", "sa-east-1": "818342061345", "us-east-1": "503895931360",
    "us-east-2": "915447279597", "us-west-1": "685455198987", "us-west-2": "895741380848",
}  # fmt: skip

OPEN, MANAGED, OFF = DEBUGGER_CHOICES = ("open", "managed", "off")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the pipeline lives. Every URI that it writes starts with `root`."""

    project: str = "pawline"
    region: str = "us-east-1"
    account: str = PLACEHOLDER_ACCOUNT
    bucket: str = ""
    training_image: str = ""
    serving_image: str = ""
    input_data_uri: str = ""
    weights_uri: str = ""
    # Not a pipeline parameter: AWS wants MaxWaitTimeInSeconds with spot and refuses it without, and a parameter cannot
    # take a member out of a request.
    use_spot_instances: bool = False
    # Not a pipeline parameter: it decides which steps there are and which members their requests have.
    debugger: str = OPEN
    rule_image: str = ""

    @property
    def root(self) -> str:
        return f"s3://{self.bucket}/{self.project}"

    @property
    def prepare_cache_uri(self) -> str:
        """The prefix that keeps what Prepare found out about images (docs/formats.md, cache)."""
        return f"{self.root}/cache/prepare/"

    @property
    def pipeline_name(self) -> str:
        return self.project

    @property
    def pipeline_arn(self) -> str:
        return f"arn:aws:sagemaker:{self.region}:{self.account}:pipeline/{self.pipeline_name}"

    @property
    def endpoint_name(self) -> str:
        return self.project

    @property
    def model_package_group(self) -> str:
        return self.project

    def role(self, name: str) -> str:
        """ARN of one of the project's roles: pipeline, job, train, evaluate, model, deploy, predict, scheduler, ec2,
        retrain."""
        return f"arn:aws:iam::{self.account}:role/{self.project}-{name}"

    def function(self, name: str) -> str:
        """ARN of one of the project's Lambda functions: deploy, predict, retrain."""
        return f"arn:aws:lambda:{self.region}:{self.account}:function:{self.project}-{name}"

    def alias(self, name: str) -> str:
        """ARN of the released version of a Lambda function, which is what callers use: deploy, predict."""
        return f"{self.function(name)}:live"


def from_environment(environment: Mapping[str, str] | None = None, *, account: str = "") -> Settings:
    """Settings from PAWLINE_* and AWS_REGION, with the project's own defaults for the rest."""
    env = os.environ if environment is None else environment
    region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or "us-east-1"
    account = account or env.get("PAWLINE_ACCOUNT", PLACEHOLDER_ACCOUNT)
    project = env.get("PAWLINE_PROJECT", "pawline")
    debugger = _debugger(env)
    registry = f"{IMAGE_ACCOUNT}.dkr.ecr.{region}.amazonaws.com"
    settings = Settings(
        project=project,
        region=region,
        account=account,
        bucket=env.get("PAWLINE_BUCKET") or f"{project}-{account}-{region}",
        training_image=env.get("PAWLINE_TRAINING_IMAGE") or f"{registry}/pytorch:2.13-cpu-amzn2023-sagemaker",
        use_spot_instances=env.get("PAWLINE_USE_SPOT_INSTANCES", "").lower() in ("1", "true", "yes"),
        serving_image=env.get("PAWLINE_SERVING_IMAGE") or f"{registry}/ray:serve-ml-sagemaker-cpu-v1.4",
        debugger=debugger,
        rule_image=env.get("PAWLINE_RULE_IMAGE") or (_rule_image(region) if debugger == MANAGED else ""),
    )
    return replace(
        settings,
        input_data_uri=env.get("PAWLINE_INPUT_DATA_URI") or f"{settings.root}/raw/dogImages/",
        weights_uri=env.get("PAWLINE_WEIGHTS_URI") or f"{settings.root}/weights/imagenet/",
    )


def _debugger(env: Mapping[str, str]) -> str:
    chosen = env.get("PAWLINE_DEBUGGER") or OPEN
    if chosen not in DEBUGGER_CHOICES:
        raise UserError(f"PAWLINE_DEBUGGER cannot be {chosen!r}.", f"Choose {', '.join(DEBUGGER_CHOICES)}.")
    return chosen


def _rule_image(region: str) -> str:
    if region not in RULE_ACCOUNTS:
        way_out = "Set PAWLINE_DEBUGGER=open: the same rules in our own step. Or give PAWLINE_RULE_IMAGE."
        raise UserError(f"SageMaker Debugger has no rule evaluator in {region}.", way_out)
    return f"{RULE_ACCOUNTS[region]}.dkr.ecr.{region}.amazonaws.com/sagemaker-debugger-rules:latest"
