"""SageMaker's hyperparameter tuning jobs."""

import time
from importlib.util import find_spec
from typing import Final, cast

from sagelocal.core import listing
from sagelocal.core.context import Context
from sagelocal.core.errors import ResourceInUse, ResourceNotFound, ValidationException
from sagelocal.core.json import Json
from sagelocal.core.registry import on_start, operation
from sagelocal.core.store import AlreadyExists, amend
from sagelocal.definition import local
from sagelocal.runtime import cluster, process
from sagelocal.services.sagemaker.documents import TUNING_JOB, TuningJob
from sagelocal.services.sagemaker.jobs import ranges, training, training_api, tuning
from sagelocal.services.sagemaker.jobs.search import EPOCHS, max_resource

NAME: Final = "HyperParameterTuningJobName"
STATUS: Final = "HyperParameterTuningJobStatus"
SUMMARY = [
    *[NAME, "HyperParameterTuningJobArn", STATUS, "CreationTime", "HyperParameterTuningEndTime", "LastModifiedTime"],
    *["TrainingJobStatusCounters", "ObjectiveStatusCounters"],
]


@operation("sagemaker", "CreateHyperParameterTuningJob")
def create_hyper_parameter_tuning_job(context: Context, request: Json) -> Json:
    _check(context, request)
    name, now = request[NAME], time.time()
    document = {
        **{key: value for key, value in request.items() if key not in ("Tags", "Autotune")},
        "_Tags": request.get("Tags", []),
        "HyperParameterTuningJobArn": context.arn("sagemaker", f"hyper-parameter-tuning-job/{name}"),
        STATUS: "InProgress",
        "CreationTime": now,
        "LastModifiedTime": now,
    }
    body = cast(TuningJob, document)
    body["HyperParameterTuningJobConfig"].setdefault("TrainingJobEarlyStoppingType", "Off")
    amend(body, tuning.state(context, name, body["HyperParameterTuningJobConfig"]))
    try:
        context.store.insert(TUNING_JOB, name, body)
    except AlreadyExists:
        raise ResourceInUse(f"Tuning job name must be unique within an account and region: {name} is taken.") from None
    control = cluster.register(context, TUNING_JOB, name)
    context.spawn(f"tuning job {name}", tuning.run, context, name, control)
    return {"HyperParameterTuningJobArn": body["HyperParameterTuningJobArn"]}


def _objective(config: Json) -> Json:
    if "HyperParameterTuningJobObjective" not in config:
        raise ValidationException("HyperParameterTuningJobConfig needs a HyperParameterTuningJobObjective.")
    objective: Json = config["HyperParameterTuningJobObjective"]
    return objective


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
    metric = _objective(config)["MetricName"]
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
    body = _found(context, request[NAME])
    return {**body, **tuning.state(context, request[NAME], body["HyperParameterTuningJobConfig"])}


def _found(context: Context, name: str) -> TuningJob:
    body = context.store.get(TUNING_JOB, name)
    if body is None:
        raise ResourceNotFound(f"Requested resource not found: tuning job {name}.")
    return body


@operation("sagemaker", "ListHyperParameterTuningJobs")
def list_hyper_parameter_tuning_jobs(context: Context, request: Json) -> Json:
    def summary(body: TuningJob) -> Json:
        config = body["HyperParameterTuningJobConfig"]
        chosen = {"Strategy": config["Strategy"], "ResourceLimits": config["ResourceLimits"]}
        return listing.members(SUMMARY)(body) | chosen

    return listing.page(
        context.store.list(TUNING_JOB),
        request,
        name=NAME,
        status=STATUS,
        summary=summary,
        answer="HyperParameterTuningJobSummaries",
    )


@operation("sagemaker", "ListTrainingJobsForHyperParameterTuningJob")
def list_training_jobs_for_hyper_parameter_tuning_job(context: Context, request: Json) -> Json:
    """Sorted by FinalObjectiveMetricValue, jobs without one are left out. Source: API reference."""
    body = _found(context, request[NAME])
    objective = body["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
    by_value = request.get("SortBy") == "FinalObjectiveMetricValue"
    jobs = [tuning.summary(job, objective) for job in tuning.trials(context, request[NAME])]
    for job in jobs:
        metric = job.get("FinalHyperParameterTuningJobObjectiveMetric")
        job["FinalObjectiveMetricValue"] = metric["Value"] if metric else None
    return listing.page(
        [job for job in jobs if not by_value or job["FinalObjectiveMetricValue"] is not None],
        request,
        name="TrainingJobName",
        status="TrainingJobStatus",
        summary=Json,
        answer="TrainingJobSummaries",
        default_order="Ascending",
    )


@operation("sagemaker", "StopHyperParameterTuningJob")
def stop_hyper_parameter_tuning_job(context: Context, request: Json) -> None:
    name = request[NAME]
    body = _found(context, name)
    control = cluster.control_of(context, TUNING_JOB, name)
    if body[STATUS] not in ("InProgress", "Stopping") or control is None:
        raise ValidationException(f"The request was rejected because the tuning job {name} is {body[STATUS]}.")
    context.store.update(TUNING_JOB, name, {STATUS: "Stopping", "LastModifiedTime": time.time()})
    tuning.stop(context, name, control)


@on_start
def pick_up(context: Context) -> None:
    process.end_orphans(context)
    for body in context.store.list(TUNING_JOB):
        if body[STATUS] in ("InProgress", "Stopping"):
            now = time.time()
            cut_off = {"FailureReason": training.CUT_OFF, "HyperParameterTuningEndTime": now, "LastModifiedTime": now}
            context.store.update(TUNING_JOB, body[NAME], {STATUS: "Failed", **cut_off})
