"""Condition: its conditions together decide which branch runs; its property is Outcome, "True" or "False"."""

from sagelocal.core.json import Json
from sagelocal.definition import conditions
from sagelocal.definition.conditions import CannotCompare
from sagelocal.services.sagemaker.execution.steps.base import Handler, Result, StepFailed, Task


class ConditionStep(Handler):
    def run(self, task: Task, arguments: Json) -> Result:
        given = arguments.get("Conditions", [])
        try:
            holds = all(conditions.holds(condition) for condition in given)
        except CannotCompare as problem:
            raise StepFailed(f"ClientError: {problem}") from None
        outcome = {"Outcome": str(holds)}
        said = " and ".join(conditions.describe(condition) for condition in given)
        return Result(outcome, {"Condition": outcome}, detail=f"{outcome['Outcome']}: {said}")
