"""Gate: a model goes on when it is accurate enough, not worse than the champion, and no blocking Debugger rule fired;
else Fail, saying why."""

from collections.abc import Sequence
from typing import Any

from sagemaker.core.workflow.conditions import ConditionGreaterThanOrEqualTo, ConditionLessThanOrEqualTo
from sagemaker.core.workflow.functions import Join, JsonGet
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.fail_step import FailStep

from steps import debug, evaluate
from steps.base import BuildContext, RequestStep

ACCURACY = "multiclass_classification_metrics.accuracy.value"
WORSE = "pawline.champion.worse"


def step(
    build: BuildContext, *, debug_step: RequestStep | None, evaluate_step: RequestStep, then: Sequence[RequestStep]
) -> ConditionStep:
    """`debug_step`: None where the Debugger is off; the verdict is then no condition."""

    def measured(path: str) -> JsonGet:
        return JsonGet(step_name=evaluate_step.name, property_file=evaluate.REPORT, json_path=path)

    def judged(step: RequestStep, path: str) -> JsonGet:
        return JsonGet(step_name=step.name, property_file=debug.REPORT, json_path=path)

    verdict: list[Any] = []
    clean = []
    if debug_step:
        verdict = ["; Debugger verdict ", judged(debug_step, "verdict"), " with ", judged(debug_step, "blocking")]
        verdict += [" blocking rule(s): ", judged(debug_step, "summary")]
        # A blocking rule counts unless it is NoIssuesFound: Error, Stopped and missing ones are no pass.
        clean = [ConditionLessThanOrEqualTo(left=judged(debug_step, "blocking"), right=0)]
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
                build["AccuracyThreshold"],
                " is asked); ",
                measured("pawline.champion.summary"),
                *verdict,
            ],
        ),
    )
    return ConditionStep(
        "Gate",
        display_name="Good enough?",
        description="Test top-1 at least AccuracyThreshold, not worse than the champion, "
        + ("every blocking rule clean." if debug_step else "no Debugger rules: debugger=off."),
        conditions=[
            ConditionGreaterThanOrEqualTo(left=measured(ACCURACY), right=build["AccuracyThreshold"]),
            ConditionLessThanOrEqualTo(left=measured(WORSE), right=0),
            *clean,
        ],
        if_steps=list(then),
        else_steps=[refuse],
    )
