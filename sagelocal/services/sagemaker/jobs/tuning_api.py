"""SageMaker's hyperparameter tuning jobs."""

import time
from importlib.util import find_spec
from typing import Final

from sagelocal.core import listing
from sagelocal.core.context import Context
from sagelocal.core.errors import ResourceInUse, ResourceNotFound, ValidationException
from sagelocal.core.json import Json
from sagelocal.core.registry import on_start, operation
from sagelocal.core.store import amend
from sagelocal.definition import local
from sagelocal.services.sagemaker.documents import TUNING_JOB, TuningJob
from sagelocal.services.sagemaker.jobs import ranges, training_api, tuning
from sagelocal.services.sagemaker.jobs.job import Job, start
from sagelocal.services.sagemaker.jobs.search import EPOCHS, max_resource
from sagelocal.services.sagemaker.jobs.tuning import STATUS

NAME: Final = "HyperParameterTuningJobName"
JOBS = Job(
    TUNING_JOB,
    "HyperParameterTuningJob",
    missing=lambda name, _: ResourceNotFound(f"Requested resource not found: tuning job {name}."),
    taken=lambda name, _: ResourceInUse(
        f"Tuning job name must be unique within an account and region: {name} is taken."
    ),
    path="hyper-parameter-tuning-job",
)
SUMMARY = [
    *[NAME, "HyperParameterTuningJobArn", STATUS, "CreationTime", "HyperParameterTuningEndTime", "LastModifiedTime"],
    *["TrainingJobStatusCounters", "ObjectiveStatusCounters"],
]
JOBS.answers_delete("DeleteHyperParameterTuningJob")
WATCHED = JOBS.watched(lambda context, name, why: tuning.end(context, name, {STATUS: "Failed", **why}))


@operation("sagemaker", "CreateHyperParameterTuningJob")
def create_hyper_parameter_tuning_job(context: Context, request: Json) -> Json:
    _check(context, request)
    name, now = request[NAME], time.time()
    config = {"TrainingJobEarlyStoppingType": "Off", **request["HyperParameterTuningJobConfig"]}
    document = {
        **{key: value for key, value in request.items() if key not in ("Tags", "Autotune")},
        "HyperParameterTuningJobConfig": config,
        "_Tags": request.get("Tags", []),
        "HyperParameterTuningJobArn": JOBS.arn(context, name),
        STATUS: "InProgress",
        "CreationTime": now,
        "LastModifiedTime": now,
        **tuning.state(context, name, config),
    }
    JOBS.insert(context, name, document)
    start(context, TUNING_JOB, name, tuning.run)
    return {"HyperParameterTuningJobArn": document["HyperParameterTuningJobArn"]}


def _check(context: Context, request: Json) -> None:
    """Refuse what cannot run here now, by name, not later by trials that fail."""
    config = request["HyperParameterTuningJobConfig"]
    local.refuse("CreateHyperParameterTuningJob", request)
    if find_spec("optuna") is None:
        raise ValidationException("Tuning needs optuna, which is not installed here: pip install 'sagelocal[tuning]'")
    definition = request.get("TrainingJobDefinition")
    if not definition:
        raise ValidationException("TrainingJobDefinition is required.")
    if "ParameterRanges" not in config:
        raise ValidationException("HyperParameterTuningJobConfig needs ParameterRanges.")
    searched = ranges.parse(config["ParameterRanges"], config["Strategy"])
    if "HyperParameterTuningJobObjective" not in config:
        raise ValidationException("HyperParameterTuningJobConfig needs a HyperParameterTuningJobObjective.")
    metric = config["HyperParameterTuningJobObjective"]["MetricName"]
    defined = [item["Name"] for item in definition["AlgorithmSpecification"].get("MetricDefinitions", [])]
    if metric not in defined:
        raise ValidationException(
            f"The objective metric {metric} is not among the MetricDefinitions: {', '.join(defined) or 'none'}."
        )
    _check_limits(config, searched)
    _check_hyperband(config, definition.get("StaticHyperParameters", {}))
    both = sorted({item.name for item in searched} & set(definition.get("StaticHyperParameters", {})))
    if both:
        raise ValidationException(f"{', '.join(both)} is both a static hyperparameter and a range.")
    static = {"HyperParameters": definition.get("StaticHyperParameters", {})}
    training_api.check(context, {**definition, **static})


def _check_limits(config: Json, searched: list[ranges.Range]) -> None:
    limits, strategy = config["ResourceLimits"], config["Strategy"]
    jobs = limits.get("MaxNumberOfTrainingJobs")
    if strategy == "Grid":
        points = len(ranges.grid(searched))
        if jobs is not None and jobs != points:
            raise ValidationException(
                f"MaxNumberOfTrainingJobs is {jobs}, but the grid has {points} points: leave it out."
            )
    elif jobs is None and "MaxRuntimeInSeconds" not in limits:
        raise ValidationException("ResourceLimits needs MaxNumberOfTrainingJobs or MaxRuntimeInSeconds.")


def _check_hyperband(config: Json, static: Json) -> None:
    if config["Strategy"] != "Hyperband":
        return
    if config.get("TrainingJobEarlyStoppingType", "Off") != "Off":
        raise ValidationException("Hyperband stops trials itself: TrainingJobEarlyStoppingType must be Off.")
    most = max_resource(config, static)
    if most is None:
        raise ValidationException(
            "HyperbandStrategyConfig needs a MaxResource, the epochs of the longest trial: no static hyperparameter "
            f"({', '.join(EPOCHS)}) tells it."
        )
    if config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {}).get("MinResource", 1) > most:
        raise ValidationException(f"HyperbandStrategyConfig: MinResource is greater than MaxResource, {most}.")


@operation("sagemaker", "DescribeHyperParameterTuningJob")
def describe_hyper_parameter_tuning_job(context: Context, request: Json) -> Json:
    body = JOBS.find(context, request[NAME])
    return {**body, **tuning.state(context, request[NAME], body["HyperParameterTuningJobConfig"])}


@operation("sagemaker", "ListHyperParameterTuningJobs")
def list_hyper_parameter_tuning_jobs(context: Context, request: Json) -> Json:
    def summary(body: TuningJob) -> Json:
        config = body["HyperParameterTuningJobConfig"]
        chosen = {"Strategy": config["Strategy"], "ResourceLimits": config["ResourceLimits"]}
        return listing.members(SUMMARY)(body) | chosen

    return listing.stored(context.store, TUNING_JOB, request, "HyperParameterTuningJobSummaries", summary)


@operation("sagemaker", "ListTrainingJobsForHyperParameterTuningJob")
def list_training_jobs_for_hyper_parameter_tuning_job(context: Context, request: Json) -> Json:
    """Sorted by FinalObjectiveMetricValue, jobs without one are left out. Source: API reference."""
    body = JOBS.find(context, request[NAME])
    objective = body["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
    jobs = [tuning.summary(job, objective) for job in tuning.trials(context, request[NAME])]
    if request.get("SortBy") == "FinalObjectiveMetricValue":
        jobs = [{**job, "FinalObjectiveMetricValue": job[tuning.VALUE]["Value"]} for job in jobs if tuning.VALUE in job]
    return listing.page(jobs, request, "TrainingJobSummaries", dict, word="TrainingJob", order="Ascending")


@operation("sagemaker", "StopHyperParameterTuningJob")
def stop_hyper_parameter_tuning_job(context: Context, request: Json) -> None:
    name = request[NAME]
    stopping = {STATUS: "Stopping", "LastModifiedTime": time.time()}
    control = JOBS.stop(context, name, lambda body: amend(body, stopping))
    tuning.stop(context, name, control)


@on_start
def pick_up(context: Context) -> None:
    JOBS.take_up(context, WATCHED)
