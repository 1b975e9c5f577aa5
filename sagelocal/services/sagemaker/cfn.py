"""AWS::SageMaker::ModelPackageGroup."""

from sagelocal.core.context import Context
from sagelocal.core.json import Json
from sagelocal.services.cloudformation.resource import Handler, PhysicalResource, call, call_unless_gone, register


class ModelPackageGroup(Handler):
    type = "AWS::SageMaker::ModelPackageGroup"
    fixed = frozenset({"ModelPackageGroupName", "ModelPackageGroupDescription"})

    def create(self, context: Context, properties: Json, name: str) -> PhysicalResource:
        arn = call(context, "sagemaker", "CreateModelPackageGroup", properties)["ModelPackageGroupArn"]
        return PhysicalResource(arn, {"ModelPackageGroupArn": arn})

    def update(self, context: Context, made: PhysicalResource, properties: Json, before: Json) -> PhysicalResource:
        return made

    def delete(self, context: Context, made: PhysicalResource, properties: Json) -> None:
        request = {"ModelPackageGroupName": properties["ModelPackageGroupName"]}
        call_unless_gone(context, "sagemaker", "DeleteModelPackageGroup", request)


register(ModelPackageGroup())
