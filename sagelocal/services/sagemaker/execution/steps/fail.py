"""Fail: ends the execution with a message."""

from sagelocal.core.json import Json
from sagelocal.definition.parameters import as_text
from sagelocal.services.sagemaker.execution.steps.base import Handler, Result, StepFailed, Task


class FailStep(Handler):
    def run(self, task: Task, arguments: Json) -> Result:
        message = as_text(arguments["ErrorMessage"])
        task.on_started({"Fail": {"ErrorMessage": message}})
        raise StepFailed(message)
