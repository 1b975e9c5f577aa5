"""Gate: a model goes on when it is accurate enough and no blocking Debugger rule fired; else Fail, saying why."""

from collections.abc import Sequence

from sagemaker.core.workflow.conditions import ConditionGreaterThanOrEqualTo, ConditionLessThanOrEqualTo
from sagemaker.core.workflow.functions import Join, JsonGet
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.fail_step import FailStep

from steps import debug, evaluate
from steps.base import RequestStep, Site

ACCURACY = "multiclass_classification_metrics.accuracy.value"


def step(
    site: Site, *, debug_step: RequestStep, evaluate_step: RequestStep, then: Sequence[RequestStep]
) -> ConditionStep:
    def measured(path: str) -> JsonGet:
        return JsonGet(step_name=evaluate_step.name, property_file=evaluate.REPORT, json_path=path)

    def judged(path: str) -> JsonGet:
        return JsonGet(step_name=debug_step.name, property_file=debug.REPORT, json_path=path)

    refuse = FailStep(
        "Reject",
        display_name="Reject the model",
        description="Ends the execution with the numbers that the gate saw.",
        error_message=Join(
            on="",
            values=[
                "The gate refused the model: test top-1 ",
                measured(ACCURACY),
                " (at least ",
                site["AccuracyThreshold"],
                " is asked); Debugger verdict ",
                judged("verdict"),
                " with ",
                judged("blocking"),
                " blocking rule(s): ",
                judged("summary"),
            ],
        ),
    )
    return ConditionStep(
        "Gate",
        display_name="Good enough?",
        description="Test top-1 at least AccuracyThreshold, and no blocking Debugger rule that is not clean.",
        conditions=[
            ConditionGreaterThanOrEqualTo(left=measured(ACCURACY), right=site["AccuracyThreshold"]),
            ConditionLessThanOrEqualTo(left=judged("blocking"), right=0),
        ],
        if_steps=list(then),
        else_steps=[refuse],
    )
