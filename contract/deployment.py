"""The event that deploys a model: its members with types, defaults and bounds.

Bounds are AWS's where it has any. SageMaker's service model: serverless, capture and waits. Its API reference: a canary
is at most half of the capacity (TrafficRoutingConfig). Application Auto Scaling bounds neither capacities nor cooldowns
in its service model, and target values only to 2^360 in its API reference: the bounds here are wide, and catch slips.
"""

from dataclasses import dataclass

from contract.s3 import BUCKET
from contract.settings import setting

SERVERLESS = "serverless"

# In the Environment of a model package's container: the SHA-256 of the archive that was evaluated. In that of the model
# that serves it: the package.
MODEL_SHA256 = "MODEL_SHA256"
MODEL_PACKAGE_ARN = "MODEL_PACKAGE_ARN"

_PACKAGE_ARN = r"arn:aws[a-z-]*:sagemaker:[a-z0-9-]{9,16}:\d{12}:model-package/(\S+)"
_ROLE_ARN = r"arn:aws[a-z-]*:iam::\d{12}:role/?[\w+=,.@/-]+"
# Shorter than SageMaker's limit, since models, configurations and alarms carry the whole name in theirs.
_ENDPOINT_NAME = r"(?=.{1,48}$)[a-zA-Z0-9](-?[a-zA-Z0-9])*"


@dataclass(frozen=True, kw_only=True)
class DeployEvent:
    """One wanted state of one endpoint.

    `target_invocations_per_instance`: requests per MINUTE (SageMakerVariantInvocationsPerInstance counts per minute).
    `scale_in_cooldown`, `scale_out_cooldown`, `wait_seconds`: seconds; without `wait_seconds` the function's own
    time limit decides. `instance_type`: `ml.*`, or `serverless`, which scales by itself and ignores the counts.
    `serving_image`: an image other than the one in the model package.

    `canary_percent`: share of the requests that an update sends to the new fleet first, 0 for all at once;
    `canary_wait_seconds`: how long that lasts, and how long the old fleet is kept after it. An alarm in that time (5xx,
    model errors, latency over `max_latency_milliseconds`) brings the old fleet back.

    `data_capture_percent`: share of the requests whose input and output are kept under `data_capture_s3_uri`.
    """

    model_package_arn: str = setting(
        pattern=_PACKAGE_ARN, example="arn:aws:sagemaker:<region>:<account>:model-package/<group>/<version>"
    )
    endpoint_name: str = setting(
        pattern=_ENDPOINT_NAME, example="pawline-dogs: letters, digits and single hyphens, at most 48"
    )
    model_role_arn: str = setting(pattern=_ROLE_ARN, example="arn:aws:iam::<account>:role/<name>")
    instance_type: str = setting(
        pattern=rf"ml\.[a-z0-9-]+\.[a-z0-9-]+|{SERVERLESS}", example="ml.m5.large, or the word serverless"
    )
    min_instances: int = setting(low=1, high=1000)
    max_instances: int = setting(low=1, high=1000)
    target_invocations_per_instance: float = setting(low=0.1, high=1e9)
    scale_in_cooldown: int = setting(low=0, high=86_400)
    scale_out_cooldown: int = setting(low=0, high=86_400)
    serving_image: str = setting("", pattern=r"\S{1,255}", example="<registry>/<repository>:<tag>")
    canary_percent: int = setting(0, low=0, high=50)
    canary_wait_seconds: int = setting(300, low=0, high=3600)
    max_latency_milliseconds: int = setting(2000, low=1, high=60_000)
    data_capture_s3_uri: str = setting("", pattern=rf"s3://{BUCKET}(/\S*)?", example="s3://bucket/prefix")
    data_capture_percent: int = setting(100, low=0, high=100)
    serverless_memory_mb: int = setting(4096, low=1024, high=6144, multiple_of=1024)
    serverless_max_concurrency: int = setting(10, low=1, high=200)
    wait_seconds: float | None = setting(None, low=0, high=900)  # 900: the longest that a Lambda function runs
    tags: tuple[tuple[str, str], ...] = ()


def alarm_names(endpoint_name: str) -> list[str]:
    """Of the alarms that the deploy function sets on an endpoint: 5xx answers, errors of the model, latency."""
    return [f"{endpoint_name}-{what}" for what in ("5xx", "model-errors", "latency")]
