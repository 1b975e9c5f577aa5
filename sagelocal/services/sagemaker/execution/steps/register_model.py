"""RegisterModel: CreateModelPackage, in a group that is made if need be; its properties are DescribeModelPackage."""

from sagelocal.core.json import Json
from sagelocal.services.sagemaker.documents import GROUP, PACKAGE
from sagelocal.services.sagemaker.execution import identity
from sagelocal.services.sagemaker.execution.steps.base import Handler, Result, StepFailed, Task


class RegisterModelStep(Handler):
    def run(self, task: Task, arguments: Json) -> Result:
        group = arguments.get("ModelPackageGroupName")
        if group:
            self._ensure_group(task, group)
        once = {"ClientToken": identity.token(task.execution_id, task.step.name)}
        arn = task.call("CreateModelPackage", **(once | arguments))["ModelPackageArn"]
        metadata = {"RegisterModel": {"Arn": arn}}
        task.on_started(metadata)
        properties = task.call("DescribeModelPackage", ModelPackageName=arn)
        if properties["ModelPackageStatus"] in ("Pending", "InProgress"):
            task.context.store.wait(PACKAGE, arn, lambda p: p["ModelPackageStatus"] in ("Completed", "Failed"))
            properties = task.call("DescribeModelPackage", ModelPackageName=arn)
        if properties["ModelPackageStatus"] != "Completed":
            raise StepFailed(f"ClientError: Model package {arn} ended as {properties['ModelPackageStatus']}.")
        return Result(properties, metadata)

    def _ensure_group(self, task: Task, group: str) -> None:
        name = group.rpartition("/")[2]
        if task.context.store.get(GROUP, name) is not None:
            return
        try:
            task.call("CreateModelPackageGroup", ModelPackageGroupName=name)
        except StepFailed as refused:
            # Two register steps of one group may run at the same time.
            if "already exists" not in refused.reason:
                raise
