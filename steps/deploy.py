"""Deploy: the deploy Lambda brings the endpoint and its autoscaling to what the parameters say.

An update needs neither a canary nor waits by default: they take minutes, and the smoke test is made in any case. For a
model that people rely on, CanaryPercent=10.
"""

from steps.base import RequestStep, Site, call_function

OUTPUTS = ("status", "endpoint_name", "model_name", "message")


def step(site: Site, *, register: RequestStep) -> RequestStep:
    event = {
        "model_package_arn": register.properties.ModelPackageArn,
        "endpoint_name": site.settings.endpoint_name,
        "model_role_arn": site.settings.role("model"),
        "instance_type": site["EndpointInstanceType"],
        "min_instances": site["EndpointMinInstances"],
        "max_instances": site["EndpointMaxInstances"],
        "target_invocations_per_instance": site["TargetInvocationsPerInstance"],
        "scale_in_cooldown": site["ScaleInCooldown"],
        "scale_out_cooldown": site["ScaleOutCooldown"],
        "serverless_memory_mb": site["ServerlessMemoryMB"],
        "serverless_max_concurrency": site["ServerlessMaxConcurrency"],
        "canary_percent": site["CanaryPercent"],
        "canary_wait_seconds": site["CanaryWaitSeconds"],
        "max_latency_milliseconds": site["MaxLatencyMilliseconds"],
        "data_capture_percent": site["DataCapturePercent"],
        "data_capture_s3_uri": f"{site.settings.root}/captured",
    }
    return call_function(
        site,
        "Deploy",
        event,
        function="deploy",
        outputs=OUTPUTS,
        title="Deploy and scale",
        description="Creates or updates the endpoint, tests it with a photo, and sets up its autoscaling.",
    )
