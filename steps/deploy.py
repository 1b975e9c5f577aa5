"""Deploy: the deploy Lambda brings the endpoint and its autoscaling to what the parameters say."""

from sagemaker.mlops.workflow.steps import StepTypeEnum

from steps.base import RequestStep, Site

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
    }
    return RequestStep(
        "Deploy",
        StepTypeEnum.LAMBDA,
        event,
        title="Deploy and scale",
        description="Creates or updates the endpoint and its target-tracking autoscaling; does nothing when all is so.",
        envelope={
            "FunctionArn": site.settings.function("deploy"),
            "OutputParameters": [{"OutputName": name, "OutputType": "String"} for name in OUTPUTS],
        },
    )
