"""AWS::SageMaker::ModelPackageGroup."""

from typing import Any

from sagelocal.core.context import Context
from sagelocal.services.cloudformation.resource import Handler, PhysicalResource, call, call_unless_gone, register


class ModelPackageGroup(Handler):
    type = "AWS::SageMaker::ModelPackageGroup"
    fixed = frozenset({"ModelPackageGroupName", "ModelPackageGroupDescription"})

    def create(self, context: Context, properties: dict[str, Any], name: str) -> PhysicalResource:
        arn = call(context, "sagemaker", "CreateModelPackageGroup", properties)["ModelPackageGroupArn"]
        return PhysicalResource(arn, {"ModelPackageGroupArn": arn})

    def update(
        self, context: Context, made: PhysicalResource, properties: dict[str, Any], before: dict[str, Any]
    ) -> PhysicalResource:
        return made

    def delete(self, context: Context, made: PhysicalResource, properties: dict[str, Any]) -> None:
        request = {"ModelPackageGroupName": properties["ModelPackageGroupName"]}
        call_unless_gone(context, "sagemaker", "DeleteModelPackageGroup", request)


register(ModelPackageGroup())
