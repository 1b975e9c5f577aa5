"""AWS::SageMaker::ModelPackageGroup."""

from typing import Any

from sagelocal.core.context import Context
from sagelocal.services.cloudformation.resource import Handler, Made, call, call_unless_gone, register


class ModelPackageGroup(Handler):
    type = "AWS::SageMaker::ModelPackageGroup"
    fixed = frozenset({"ModelPackageGroupName", "ModelPackageGroupDescription"})

    def create(self, context: Context, properties: dict[str, Any], name: str) -> Made:
        arn = call(context, "sagemaker", "CreateModelPackageGroup", properties)["ModelPackageGroupArn"]
        return Made(arn, {"ModelPackageGroupArn": arn})

    def update(self, context: Context, made: Made, properties: dict[str, Any], before: dict[str, Any]) -> Made:
        return made

    def delete(self, context: Context, made: Made, properties: dict[str, Any]) -> None:
        request = {"ModelPackageGroupName": properties["ModelPackageGroupName"]}
        call_unless_gone(context, "sagemaker", "DeleteModelPackageGroup", request)


register(ModelPackageGroup())
