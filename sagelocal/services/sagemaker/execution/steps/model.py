"""Model: CreateModel under a name that the service makes; its properties are DescribeModel."""

from sagelocal.core.json import Json
from sagelocal.services.sagemaker.execution.steps.base import Handler, Result, Task, job_name


class ModelStep(Handler):
    def name(self, task: Task) -> str:
        return job_name(task.execution_id, task.step.name, task.step.arguments.get("ModelName"))

    def run(self, task: Task, arguments: Json) -> Result:
        arn = task.call("CreateModel", **{**arguments, "ModelName": task.name})["ModelArn"]
        return Result(task.call("DescribeModel", ModelName=task.name), {"Model": {"Arn": arn}})
