"""Going on with an execution: after RetryPipelineExecution, and by itself after its server has ended.

Steps that have succeeded keep their results; the others are run anew, and find what they had made (see identity.py).
"""

import logging
import os

from sagelocal.core import supervisor
from sagelocal.core.context import Context
from sagelocal.core.supervisor import Watch
from sagelocal.definition import document
from sagelocal.services.sagemaker.documents import DEFINITION, EXECUTION, Execution
from sagelocal.services.sagemaker.execution import events, records, runner
from sagelocal.services.sagemaker.resources import now_after

VARIABLE = "SAGELOCAL_RESUME"  # 0: what a server leaves when it ends is Failed at the next start, and waits for a retry
MOST = 3  # resumes without a step that succeeds in between
INTERRUPTED = "The embedded SageMaker stopped while the execution ran. RetryPipelineExecution continues it."
GIVEN_UP = (
    f"The embedded SageMaker ended {MOST + 1} times while the execution ran, and no step succeeded in between. "
    "RetryPipelineExecution continues it."
)

logger = logging.getLogger(__name__)


def run(context: Context, execution: Execution) -> None:
    """Run what has not succeeded. The execution's document says Executing already."""
    arn = execution["PipelineExecutionArn"]
    parsed = document.read(context.store.expect(DEFINITION, arn)["PipelineDefinition"])
    runner.Run(context, execution, parsed).start()


def go_on(context: Context, arn: str) -> None:
    """Bring an execution that nobody runs back to life, or to its end."""
    execution = context.store.expect(EXECUTION, arn)
    resumes = execution.get("_Resumes", 0)
    if execution["PipelineExecutionStatus"] == "Stopping":
        records.end_execution(context.store, arn, "Stopped", None)
    elif any(step["StepStatus"] == "Failed" for step in records.steps(context.store, arn)):
        records.end_execution(context.store, arn, "Failed", runner.STEP_FAILURE)
    elif os.environ.get(VARIABLE) == "0":
        records.end_execution(context.store, arn, "Failed", INTERRUPTED)
    elif resumes >= MOST:
        records.end_execution(context.store, arn, "Failed", GIVEN_UP)
    else:
        _resume(context, arn, resumes + 1)


def _resume(context: Context, arn: str, count: int) -> None:
    def edit(body: Execution) -> None:
        body.update({"_Resumes": count, "LastModifiedTime": now_after(body["CreationTime"])})

    with context.store.transaction():
        execution = context.store.change(EXECUTION, arn, edit)
        records.drop_unfinished(context.store, arn)
    said = f"its server ended; going on by itself, time {count} of {MOST} without a step that succeeds in between"
    logger.info("%s: %s (%s=0 switches that off)", arn, said, VARIABLE)
    events.emit(context, arn, "", "resumed", said)
    run(context, execution)


WATCHED = supervisor.watch(
    Watch(
        EXECUTION,
        records.RUNNING,
        name_of=lambda execution: str(execution["PipelineExecutionArn"]),
        is_alive=lambda context, arn: arn in runner.running(context),
        end=lambda context, arn, _: go_on(context, arn),
    )
)
