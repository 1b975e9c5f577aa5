"""AWS::SageMaker::ModelPackageGroup."""

from embedded.cloudformation.resources.base import Handler, Made, call, call_unless_gone
from embedded.context import Context


class ModelPackageGroup(Handler):
    type = "AWS::SageMaker::ModelPackageGroup"
    fixed = frozenset({"ModelPackageGroupName", "ModelPackageGroupDescription"})

    def create(self, context: Context, properties: dict, name: str) -> Made:
        arn = call(context, "sagemaker", "CreateModelPackageGroup", properties)["ModelPackageGroupArn"]
        return Made(arn, {"ModelPackageGroupArn": arn})

    def update(self, context: Context, made: Made, properties: dict, before: dict) -> Made:
        return made

    def delete(self, context: Context, made: Made, properties: dict) -> None:
        request = {"ModelPackageGroupName": properties["ModelPackageGroupName"]}
        call_unless_gone(context, "sagemaker", "DeleteModelPackageGroup", request)


HANDLERS = (ModelPackageGroup(),)
