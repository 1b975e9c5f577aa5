"""What a service does with a role that was passed to it: reads and writes objects, writes logs, pulls images.

The service does it inside this server, without a request; the role is asked all the same.
"""

import re
from collections.abc import Callable

from sagelocal.core.context import Context
from sagelocal.services.iam import enforcement
from sagelocal.services.iam.policy import Call, keys_of
from sagelocal.services.logs import streams
from sagelocal.services.s3 import objects, permissions

REGISTRY = re.compile(r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com/(?P<repository>[^:@]+)")
PULL = ("BatchCheckLayerAvailability", "GetDownloadUrlForLayer", "BatchGetImage")


def check_read(context: Context, uri: str) -> None:
    """Raise AccessDenied unless the caller may read the object."""
    _check(context, "s3:GetObject", uri)


def check_write(context: Context, uri: str) -> None:
    """Raise AccessDenied unless the caller may write the object."""
    _check(context, "s3:PutObject", uri)


def check_list(context: Context, uri: str) -> None:
    """Raise AccessDenied unless the caller may list what begins with the URI."""
    if context.caller:
        enforcement.authorize(context, "s3", [permissions.listing(*objects.parse_uri(uri))])


def check_pull(context: Context, image: str) -> None:
    """Raise AccessDenied unless the caller may pull the image; one that is in no ECR repository needs nothing."""
    found = REGISTRY.match(image)
    if found and enforcement.enforced(context):
        arn = f"arn:aws:ecr:{found['region']}:{found['account']}:repository/{found['repository']}"
        pulls = [Call(f"ecr:{action}", arn) for action in PULL]
        enforcement.authorize(context, "ecr", [Call("ecr:GetAuthorizationToken"), *pulls])


def log_writer(context: Context, group: str, stream: str, namespace: str = "") -> Callable[[str], None]:
    """A function that writes a line to a stream; it drops them all where the caller may not write logs, as on AWS.

    It writes one at once when the caller may not publish metrics in `namespace`: AWS runs the job all the same, but
    shows none.
    """

    def write(line: str) -> None:
        if logged:
            streams.note(context, group, stream, line)

    arn = context.arn("logs", f"log-group:{group}:log-stream:")
    wanted = [Call(f"logs:{action}", arn + stream) for action in ("CreateLogStream", "PutLogEvents")]
    if enforcement.enforced(context) and group not in streams.groups(context):
        wanted.insert(0, Call("logs:CreateLogGroup", arn))
    logged = all([enforcement.may(context, call) for call in wanted])
    metrics = Call("cloudwatch:PutMetricData", "*", keys_of({"cloudwatch:namespace": namespace}))
    if namespace and not enforcement.may(context, metrics):
        write(f"[embedded] {context.caller} may not cloudwatch:PutMetricData in {namespace}: AWS shows no metrics.")
    return write


def _check(context: Context, action: str, uri: str) -> None:
    if context.caller:
        enforcement.authorize(context, "s3", [Call(action, permissions.object_arn(*objects.parse_uri(uri)))])
