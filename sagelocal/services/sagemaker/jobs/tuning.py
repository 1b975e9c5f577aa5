"""A tuning job: training jobs that a search chooses, several at a time."""

import os
import secrets
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from sagelocal.core import listing
from sagelocal.core.context import Context
from sagelocal.core.json import Json
from sagelocal.core.patience import patiently, refused
from sagelocal.core.store import amend
from sagelocal.runtime import cluster, data
from sagelocal.runtime.cluster import Control
from sagelocal.services.sagemaker.documents import TRAINING_JOB, TUNING_JOB, TrainingJob, TuningJob
from sagelocal.services.sagemaker.jobs import ranges, training, training_api
from sagelocal.services.sagemaker.jobs.job import CUT_OFF, CUT_OFF_PAUSES, NOT_ITS_FAULT, start
from sagelocal.services.sagemaker.jobs.search import Search, Trial, max_resource
from sagelocal.services.sagemaker.resources import now_after

COPIED = (  # from a training job into its summary
    *("TrainingJobName", "TrainingJobArn", "TrainingJobStatus", "FailureReason"),
    *("CreationTime", "TrainingStartTime", "TrainingEndTime"),
)
STATUS: Final = "HyperParameterTuningJobStatus"
VALUE = "FinalHyperParameterTuningJobObjectiveMetric"
OBJECTIVE_PARAMETER = "_tuning_objective_metric"  # tells SageMaker's own algorithms what to print


def run(context: Context, name: str, control: Control) -> None:
    """Run a created tuning job to its end; everything that happens is in its document."""

    def finish(result: Json) -> None:
        patiently(context, f"the end of tuning job {name}", lambda: end(context, name, result))

    try:
        finish(_Run(context, name, control).run())
    except Exception as problem:
        failed = {STATUS: "Failed", "FailureReason": f"InternalError: {problem}"}
        if refused(problem):
            finish(failed | NOT_ITS_FAULT)
            return
        finish(failed)
        raise
    finally:
        cluster.running(context).pop((TUNING_JOB, name), None)


def go_on(context: Context, name: str) -> None:
    """Go on with a tuning job that was cut off. Its trials that have ended count, and are not run again."""

    def edit(body: TuningJob) -> None:
        amend(body, {STATUS: "InProgress", "LastModifiedTime": now_after(body["CreationTime"])})
        for member in ("FailureReason", "HyperParameterTuningEndTime", *NOT_ITS_FAULT):
            amend(body, {member: None})

    context.store.change(TUNING_JOB, name, edit)
    start(context, TUNING_JOB, name, run)


def stop(context: Context, name: str, control: Control) -> None:
    """End the running trials and start no more."""
    control.end(cluster.STOPPED, training.GRACE_SECONDS)
    for job in trials(context, name):
        running = cluster.running(context).get((TRAINING_JOB, job["TrainingJobName"]))
        if running:
            context.spawn(f"stop {job['TrainingJobName']}", running.end, cluster.STOPPED, training.GRACE_SECONDS)


def trials(context: Context, name: str) -> list[TrainingJob]:
    """The training jobs of a tuning job, oldest first."""
    return context.store.list(TRAINING_JOB, parent=context.arn("sagemaker", f"hyper-parameter-tuning-job/{name}"))


def summary(job: TrainingJob, objective: Mapping[str, Any]) -> Json:
    """HyperParameterTrainingJobSummary of a trial."""
    value = objective_value(job, objective["MetricName"])
    body = listing.members(COPIED)(job)
    body["TunedHyperParameters"] = job["_TunedHyperParameters"]
    running = job["TrainingJobStatus"] in ("InProgress", "Stopping")
    body["ObjectiveStatus"] = "Pending" if running else "Failed" if value is None else "Succeeded"
    if value is not None and not running:
        body[VALUE] = {**objective, "Value": value}
    return body


def objective_value(job: TrainingJob, metric: str) -> float | None:
    """A trial's objective: the metric's last value. None for a job that failed or never printed it."""
    if job["TrainingJobStatus"] == "Failed":
        return None
    found = (item["Value"] for item in job.get("FinalMetricDataList", []) if item["MetricName"] == metric)
    return next(found, None)


def state(context: Context, name: str, config: Mapping[str, Any]) -> Json:
    """Counters and the best training job so far. A trial that was given up early cannot be the best."""
    objective = config["HyperParameterTuningJobObjective"]
    jobs = trials(context, name)
    statuses = [job["TrainingJobStatus"] for job in jobs]
    summaries = [summary(job, objective) for job in jobs]
    objectives = [item["ObjectiveStatus"] for item in summaries]
    found: Json = {
        "TrainingJobStatusCounters": {
            "Completed": statuses.count("Completed"),
            "InProgress": statuses.count("InProgress") + statuses.count("Stopping"),
            "RetryableError": 0,
            "NonRetryableError": statuses.count("Failed"),
            "Stopped": statuses.count("Stopped"),
        },
        "ObjectiveStatusCounters": {s: objectives.count(s) for s in ("Succeeded", "Pending", "Failed")},
    }
    done = [s for s in summaries if s["TrainingJobStatus"] == "Completed" and s["ObjectiveStatus"] == "Succeeded"]
    if done:
        best = max if objective["Type"] == "Maximize" else min
        found["BestTrainingJob"] = best(done, key=lambda s: s[VALUE]["Value"])
    return found


def end(context: Context, name: str, result: Json) -> None:
    """Bring a tuning job's document to its end."""

    def edit(body: TuningJob) -> None:
        now = now_after(body["CreationTime"])
        amend(body, state(context, name, body["HyperParameterTuningJobConfig"]))
        amend(body, result | {"HyperParameterTuningEndTime": now, "LastModifiedTime": now})
        body["ConsumedResources"] = {"RuntimeInSeconds": round(now - body["CreationTime"])}

    context.store.change(TUNING_JOB, name, edit)


class _Run:
    """One run: workers that ask the search, train, and tell."""

    def __init__(self, context: Context, name: str, control: Control):
        self.context, self.name, self.control = context, name, control
        body = context.store.expect(TUNING_JOB, name)
        self.definition = body["TrainingJobDefinition"]
        self.config = body["HyperParameterTuningJobConfig"]
        self.objective = self.config["HyperParameterTuningJobObjective"]
        limits = self.config["ResourceLimits"]
        searched = ranges.parse(self.config["ParameterRanges"], self.config["Strategy"])
        grid = ranges.grid(searched) if self.config["Strategy"] == "Grid" else None
        points = len(grid) if grid is not None else limits.get("MaxNumberOfTrainingJobs")
        self.max_jobs = points or 10**6
        self.parallel = min(limits["MaxParallelTrainingJobs"], self.max_jobs)
        self.deadline = time.monotonic() + limits.get("MaxRuntimeInSeconds", 10**9)
        epochs = max_resource(self.config, self.definition.get("StaticHyperParameters", {}))
        self.search = Search(name, self.config, searched, points or 100, epochs)
        self.threads = max(1, (os.cpu_count() or 1) // self.parallel)
        self.started = 0
        self.enough = False
        self.lock = threading.Lock()
        self.not_improving = 0
        self.best: float | None = None
        self._take_over()

    def _take_over(self) -> None:
        """Count the trials of a tuning job that was cut off and goes on, as far as they have ended by themselves."""
        for job in trials(self.context, self.name):
            if not job.get("_CutOff"):
                value = objective_value(job, self.objective["MetricName"])
                self.search.learn(job["_TunedHyperParameters"], value)
                self.started += 1
                self._judge(value)

    def run(self) -> Json:
        with ThreadPoolExecutor(self.parallel, f"trials of {self.name}") as pool:
            for worker in [pool.submit(self._work) for _ in range(self.parallel)]:
                worker.result()
        if self.control.reason == cluster.SHUT_DOWN or self.context.stopping.is_set():
            return {STATUS: "Failed", "FailureReason": CUT_OFF, **NOT_ITS_FAULT}
        if self.control.reason == cluster.STOPPED:
            return {STATUS: "Stopped"}
        jobs = trials(self.context, self.name)
        if all(objective_value(job, self.objective["MetricName"]) is None for job in jobs):
            failed = {STATUS: "Failed", "FailureReason": self._why_all_failed(jobs)}
            return failed | (NOT_ITS_FAULT if jobs and all(job.get("_CutOff") for job in jobs) else {})
        return {STATUS: "Completed"}

    def _work(self) -> None:
        while (index := self._next_index()) is not None:
            trial = self.search.ask()
            value = None
            try:
                value = objective_value(self._try(index, trial), self.objective["MetricName"])
            finally:
                self.search.tell(trial, value)
            self._judge(value)

    def _try(self, index: int, trial: Trial) -> TrainingJob:
        """The training job of a trial as it has ended. One that the disk cut off is made again, a few times."""
        job = self._train(index, trial)
        for pause in CUT_OFF_PAUSES:
            if not job.get("_CutOff") or self.control.reason or self.context.stopping.wait(pause):
                break
            job = self._train(index, trial)
        return job

    def _next_index(self) -> int | None:
        with self.lock:
            over = self.enough or self.control.reason or self.context.stopping.is_set()
            if over or self.started >= self.max_jobs or time.monotonic() > self.deadline:
                return None
            self.started += 1
            return self.started

    def _train(self, index: int, trial: Trial) -> TrainingJob:
        """Run one training job to its end."""
        name = f"{self.name}-{index:03d}-{secrets.token_hex(4)}"
        request = listing.members(training_api.SETTINGS)(self.definition)
        request["TrainingJobName"] = name
        request["HyperParameters"] = {
            **self.definition.get("StaticHyperParameters", {}),
            **trial.hyperparameters,
            OBJECTIVE_PARAMETER: self.objective["MetricName"],
        }
        tuning_arn = self.context.arn("sagemaker", f"hyper-parameter-tuning-job/{self.name}")
        about = {"TuningJobArn": tuning_arn, "_TunedHyperParameters": trial.hyperparameters}
        patiently(self.context, f"trial {name}", lambda: training_api.insert(self.context, request, about))
        control = cluster.register(self.context, TRAINING_JOB, name)
        if self.control.reason:  # the stop request came between the look at it and now
            control.end(self.control.reason, training.GRACE_SECONDS)
        on_metric = partial(self._reported, trial, control)
        job = training.run(self.context, name, control, on_metric, threads=self.threads)
        patiently(self.context, self.name, self._count)
        return job

    def _count(self) -> None:
        self.context.store.update(TUNING_JOB, self.name, state(self.context, self.name, self.config))

    def _reported(self, trial: Trial, control: Control, metric: str, value: float) -> None:
        if metric != self.objective["MetricName"]:
            return
        past_deadline = time.monotonic() > self.deadline
        if self.search.report(trial, value) or past_deadline:
            # not in this thread: it reads the trial's output, and the trial has to be able to end
            self.context.spawn("stop a trial", control.end, cluster.STOPPED, training.GRACE_SECONDS)

    def _judge(self, value: float | None) -> None:
        """Apply TuningJobCompletionCriteria."""
        if value is None:
            return
        criteria = self.config.get("TuningJobCompletionCriteria", {})
        sign = 1 if self.objective["Type"] == "Maximize" else -1
        with self.lock:
            improved = self.best is None or sign * value > sign * self.best
            self.best = value if improved else self.best
            self.not_improving = 0 if improved else self.not_improving + 1
            target = criteria.get("TargetObjectiveMetricValue")
            patience = criteria.get("BestObjectiveNotImproving", {}).get("MaxNumberOfTrainingJobsNotImproving")
            reached = target is not None and self.best is not None and sign * self.best >= sign * target
            self.enough = self.enough or reached or (patience is not None and self.not_improving >= patience)

    def _why_all_failed(self, jobs: list[TrainingJob]) -> str:
        failed = [job for job in jobs if job["TrainingJobStatus"] == "Failed"]
        if failed:
            reason = f"All training jobs failed. {failed[0]['TrainingJobName']}: {failed[0]['FailureReason']}"
        else:
            reason = (
                f"No training job emitted the objective metric {self.objective['MetricName']}. "
                "Compare its regular expression with what the script prints."
            )
        return reason[: data.MESSAGE_LIMIT]
