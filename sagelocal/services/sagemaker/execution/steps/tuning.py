"""Tuning: a tuning job; its properties are DescribeHyperParameterTuningJob and TrainingJobSummaries, best first."""

from sagelocal.core.context import Context
from sagelocal.core.json import Json
from sagelocal.services.sagemaker.documents import TRAINING_JOB, TUNING_JOB
from sagelocal.services.sagemaker.execution.steps.base import JobHandler, Task, plain
from sagelocal.services.sagemaker.jobs import tuning

NAME_LENGTH = 32


class TuningStep(JobHandler):
    job = "HyperParameterTuningJob"
    kind = TUNING_JOB
    metadata_name = "TuningJob"
    cache_keys = (
        "HyperParameterTuningJobConfig",
        "TrainingJobDefinition.AlgorithmSpecification",
        "TrainingJobDefinition.HyperParameterRanges",
        "TrainingJobDefinition.InputDataConfig",
        "TrainingJobDefinition.StaticHyperParameters",
        "TrainingJobDefinition.TuningObjective",
    )

    def name(self, task: Task) -> str:
        tail = f"-{task.mark}"
        return f"{plain(f'{task.execution_id}-{task.step.name}'[: NAME_LENGTH - len(tail)])}{tail}"

    def is_spent(self, task: Task) -> bool:
        job = task.context.store.get(TUNING_JOB, task.name)
        return job is not None and job["HyperParameterTuningJobStatus"] == "Stopped"

    def begin(self, task: Task, arguments: Json) -> str:
        """One that was cut off goes on, with the trials that had ended."""
        job = task.context.store.get(TUNING_JOB, task.name)
        if job is not None and job.get("_CutOff"):
            tuning.go_on(task.context, task.name)
        return super().begin(task, arguments)

    def describe(self, task: Task) -> Json:
        properties = super().describe(task)
        return {**properties, "TrainingJobSummaries": self._summaries(task, properties)}

    def _summaries(self, task: Task, properties: Json) -> list[Json]:
        """The completed training jobs, best objective first."""
        request = {"HyperParameterTuningJobName": task.name, "StatusEquals": "Completed", "MaxResults": 100}
        found: list[Json] = []
        while True:
            page = task.call("ListTrainingJobsForHyperParameterTuningJob", **request)
            found += page["TrainingJobSummaries"]
            if not page.get("NextToken"):
                break
            request["NextToken"] = page["NextToken"]
        objective = properties["HyperParameterTuningJobConfig"].get("HyperParameterTuningJobObjective", {})
        sign = -1 if objective.get("Type", "Maximize") == "Maximize" else 1
        return sorted(found, key=lambda job: sign * _objective(job, worst=sign * float("inf")))

    def outputs(self, context: Context, properties: Json) -> list[str]:
        best = properties.get("BestTrainingJob", {}).get("TrainingJobName")
        if not best:
            return []
        job = context.store.get(TRAINING_JOB, best)
        return [job["ModelArtifacts"]["S3ModelArtifacts"]] if job and "ModelArtifacts" in job else []


def _objective(job: Json, worst: float) -> float:
    return float(job.get("FinalHyperParameterTuningJobObjectiveMetric", {}).get("Value", worst))
