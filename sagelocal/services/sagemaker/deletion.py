"""SageMaker: deleting the records of jobs that have ended. What a job wrote to S3 stays."""

from typing import Any

from sagelocal.core.context import Context
from sagelocal.core.errors import ResourceInUse, ResourceNotFound
from sagelocal.core.json import Json
from sagelocal.core.registry import operation
from sagelocal.core.store import Kind
from sagelocal.services.sagemaker.documents import PROCESSING_JOB, TRAINING_JOB, TUNING_JOB

ENDED = ("Completed", "Failed", "Stopped")


@operation("sagemaker", "DeleteProcessingJob")
def delete_processing_job(context: Context, request: Json) -> None:
    _delete(context, PROCESSING_JOB, "ProcessingJob", request["ProcessingJobName"])


@operation("sagemaker", "DeleteTrainingJob")
def delete_training_job(context: Context, request: Json) -> None:
    _delete(context, TRAINING_JOB, "TrainingJob", request["TrainingJobName"])


@operation("sagemaker", "DeleteHyperParameterTuningJob")
def delete_tuning_job(context: Context, request: Json) -> None:
    """Only the tuning job's own record: its training jobs stay."""
    _delete(context, TUNING_JOB, "HyperParameterTuningJob", request["HyperParameterTuningJobName"])


def _delete(context: Context, kind: Kind[Any], job: str, name: str) -> None:
    body = context.store.get(kind, name)
    if body is None:
        raise ResourceNotFound(f"Could not find {job} {name}.")
    status = body[f"{job}Status"]
    if status not in ENDED:
        raise ResourceInUse(f"{job} {name} is {status}. Only one that has ended can be deleted.")
    context.store.delete(kind, name)
