"""Deploy: the deploy Lambda brings the endpoint and its autoscaling to what the parameters say.

An update needs neither a canary nor waits by default: they take minutes, and the smoke test is made in any case. For a
model that people rely on, CanaryPercent=10.
"""

from pipeline.parameters import PARAMETERS
from steps.base import BuildContext, RequestStep, call_function

OUTPUTS = ("status", "endpoint_name", "model_name", "message")


def step(build: BuildContext, *, register: RequestStep) -> RequestStep:
    event = {
        "model_package_arn": register.properties.ModelPackageArn,
        "endpoint_name": build.settings.endpoint_name,
        "model_role_arn": build.settings.role("model"),
        **{each.event_member: build[each.name] for each in PARAMETERS if each.event_member},
        "data_capture_s3_uri": f"{build.settings.root}/captured",
    }
    return call_function(
        build,
        "Deploy",
        event,
        outputs=OUTPUTS,
        title="Deploy and scale",
        description="Creates or updates the endpoint, tests it with a photo, and sets up its autoscaling.",
    )
