"""Model: CreateModel under a name that the service makes; its properties are DescribeModel."""

from sagelocal.core.json import Json
from sagelocal.services.sagemaker.documents import MODEL
from sagelocal.services.sagemaker.execution.steps.base import Handler, Result, Task, job_name


class ModelStep(Handler):
    def name(self, task: Task) -> str:
        return job_name(task, task.step.arguments.get("ModelName"))

    def run(self, task: Task, arguments: Json) -> Result:
        if task.context.store.get(MODEL, task.name) is None:  # else a server that has ended since created it
            task.call("CreateModel", **{**arguments, "ModelName": task.name})
        properties = task.call("DescribeModel", ModelName=task.name)
        return Result(properties, {"Model": {"Arn": properties["ModelArn"]}})
