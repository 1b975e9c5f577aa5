"""What processing, training and tuning jobs have in common, beyond what all resources have."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from sagelocal.core import supervisor
from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError, ResourceInUse, ValidationException
from sagelocal.core.json import Json
from sagelocal.core.patience import patiently, refused
from sagelocal.core.registry import operation
from sagelocal.core.store import Document
from sagelocal.core.supervisor import Watch
from sagelocal.runtime import cluster, process
from sagelocal.runtime.cluster import Control, JobFailed
from sagelocal.services.sagemaker.resources import Resource

RUNNING = ("InProgress", "Stopping")
CUT_OFF = "The embedded SageMaker stopped while the job ran."
LOST = "InternalServerError: The embedded SageMaker lost the job: nothing ran it any more."
UPLOAD_SECONDS = 120.0  # how long the results of a job wait for room on the disk
# Of a job that failed by no fault of its own, but by the server's end or the disk's: who wants its result tries again.
NOT_ITS_FAULT: Final = {"_CutOff": True}
CUT_OFF_PAUSES = (1.0, 4.0, 16.0)  # seconds until that is done again by itself

Ended = TypeVar("Ended")


def start(context: Context, kind: str, name: str, run: Callable[[Context, str, Control], object]) -> None:
    """Have `run` run a job in the background. One for which there is no thread is nobody's: the supervisor ends it."""
    control = cluster.register(context, kind, name)
    try:
        context.spawn(f"{kind} {name}", run, context, name, control)
    except BaseException:
        cluster.running(context).pop((kind, name), None)
        raise


def run_to_end(
    context: Context, work: Callable[[], Json], failed: Callable[[str], Json], finish: Callable[[Json], Ended]
) -> Ended:
    """Run a job and write its result with `finish`, whose answer it gives; what the job did wrong is its result.

    A result that the disk refuses is kept here until it can be written.
    """

    def write(result: Json) -> Ended:
        return patiently(context, "the end of a job", lambda: finish(result))

    try:
        result = work()
    except JobFailed as problem:
        result = failed(str(problem))
    except AwsError as problem:
        result = failed(f"ClientError: {problem.message}")
    except Exception as problem:
        result = failed(f"InternalServerError: {type(problem).__name__}: {problem}")
        if not refused(problem):
            write(result)
            raise
        result |= NOT_ITS_FAULT
    return write(result)


@dataclass(frozen=True)
class Job(Resource[Document]):
    """A kind of job. Its record can be deleted when it has ended; what it wrote to S3 stays."""

    def stop(self, context: Context, name: str, note: Callable[[Document], object]) -> Control:
        """Let `note` write into a job's document that it is being stopped; the handle by which it is.

        Raises ValidationException for a job that does not run.
        """
        self.find(context, name)
        control = cluster.running(context).get((self.kind, name))

        def edit(body: Document) -> None:
            status = body[f"{self.word}Status"]
            if status not in RUNNING or control is None:
                raise ValidationException(f"The request was rejected because the job {name} is {status}.")
            note(body)

        context.store.change(self.kind, name, edit)
        assert control is not None
        return control

    def watched(self, end: Callable[[Context, str, Json], object]) -> Watch:
        """Have the supervisor `end` (with the members that tell why) a job that says it runs but is nobody's."""
        return supervisor.watch(
            Watch(
                self.kind,
                RUNNING,
                name_of=lambda body: str(body[f"{self.word}Name"]),
                is_alive=lambda context, name: (self.kind, name) in cluster.running(context),
                end=lambda context, name, left: end(
                    context, name, {"FailureReason": CUT_OFF, **NOT_ITS_FAULT} if left else {"FailureReason": LOST}
                ),
            )
        )

    def take_up(self, context: Context, watched: Watch) -> None:
        """End what an earlier server left running, and the processes of it."""
        process.end_orphans(context)
        supervisor.take_up(context, watched)

    def answers_delete(self, name: str) -> None:
        @operation("sagemaker", name)
        def delete(context: Context, request: Json) -> None:
            job = request[f"{self.word}Name"]
            with context.store.transaction():
                status = self.find(context, job)[f"{self.word}Status"]
                if status in RUNNING:
                    raise ResourceInUse(f"{self.word} {job} is {status}. Only one that has ended can be deleted.")
                context.store.delete(self.kind, job)
