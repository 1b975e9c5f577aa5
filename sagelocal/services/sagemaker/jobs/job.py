"""What processing, training and tuning jobs have in common, beyond what all resources have."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError, ResourceInUse, ValidationException
from sagelocal.core.json import Json
from sagelocal.core.registry import operation
from sagelocal.core.store import Document
from sagelocal.runtime import cluster, process
from sagelocal.runtime.cluster import Control, JobFailed
from sagelocal.services.sagemaker.resources import Resource

RUNNING = ("InProgress", "Stopping")
CUT_OFF = "The embedded SageMaker stopped while the job ran."

Ended = TypeVar("Ended")


def run_to_end(work: Callable[[], Json], failed: Callable[[str], Json], finish: Callable[[Json], Ended]) -> Ended:
    """Run a job and write its result with `finish`, whose answer it gives; what the job did wrong is its result."""
    try:
        result = work()
    except JobFailed as problem:
        result = failed(str(problem))
    except AwsError as problem:
        result = failed(f"ClientError: {problem.message}")
    except Exception as problem:
        finish(failed(f"InternalServerError: {type(problem).__name__}: {problem}"))
        raise
    return finish(result)


@dataclass(frozen=True)
class Job(Resource[Document]):
    """A kind of job. Its record can be deleted when it has ended; what it wrote to S3 stays."""

    def control(self, context: Context, name: str) -> Control:
        """The handle of a job that is to be stopped. Raises ValidationException for one that does not run."""
        status = self.find(context, name)[f"{self.word}Status"]
        control = cluster.running(context).get((self.kind, name))
        if status not in RUNNING or control is None:
            raise ValidationException(f"The request was rejected because the job {name} is {status}.")
        return control

    def interrupted(self, context: Context) -> list[Document]:
        """What an earlier server left running; its processes are ended."""
        process.end_orphans(context)
        return context.store.list(self.kind, status=RUNNING)

    def answers_delete(self, name: str) -> None:
        @operation("sagemaker", name)
        def delete(context: Context, request: Json) -> None:
            job = request[f"{self.word}Name"]
            status = self.find(context, job)[f"{self.word}Status"]
            if status in RUNNING:
                raise ResourceInUse(f"{self.word} {job} is {status}. Only one that has ended can be deleted.")
            context.store.delete(self.kind, job)
