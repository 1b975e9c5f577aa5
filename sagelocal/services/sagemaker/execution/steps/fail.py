"""Fail: ends the execution with a message."""

from typing import Any

from sagelocal.definition.parameters import as_text
from sagelocal.services.sagemaker.execution.steps.base import Handler, Result, StepFailed, Task


class FailStep(Handler):
    def run(self, task: Task, arguments: dict[str, Any]) -> Result:
        message = as_text(arguments["ErrorMessage"])
        task.on_started({"Fail": {"ErrorMessage": message}})
        raise StepFailed(message)
