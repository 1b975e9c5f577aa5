"""Fail: ends the execution with a message."""

from embedded.engine.parameters import as_text
from embedded.engine.steps.base import Handler, Result, StepFailed, Task


class FailStep(Handler):
    def run(self, task: Task, arguments: dict) -> Result:
        message = as_text(arguments["ErrorMessage"])
        task.on_started({"Fail": {"ErrorMessage": message}})
        raise StepFailed(message)
