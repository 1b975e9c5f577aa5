"""Tuning jobs: strategies, limits, early stopping, and the shapes of AWS's answers."""

import re

import pytest

from benchmarks.archives import tar_gz
from sagelocal.core.context import Context
from sagelocal.core.errors import ResourceInUse, ValidationException
from sagelocal.services.logs import streams
from sagelocal.services.s3 import objects
from sagelocal.services.sagemaker.jobs import ranges, tuning
from sagelocal.services.sagemaker.jobs.search import Search
from tests.waiting import HANG, until

SCRIPT = """
import argparse, os, time
parser = argparse.ArgumentParser()
parser.add_argument("--value", type=float)
parser.add_argument("--kind", default="good")
parser.add_argument("--pause", type=float, default=0)
parser.add_argument("--epochs", type=int, default=3)
given = parser.parse_args()
for epoch in range(given.epochs):
    print(f"loss={(given.value - 0.3) ** 2 + (given.kind != 'good') + 1 / (epoch + 1):.6f};", flush=True)
    time.sleep(given.pause)
print("threads", os.environ.get("OMP_NUM_THREADS"))
"""
HYPERBAND_FROM_5 = {"StrategyConfig": {"HyperbandStrategyConfig": {"MinResource": 5}}}
VALUE = {"ContinuousParameterRanges": [{"Name": "value", "MinValue": "0", "MaxValue": "1"}]}
REVERSED = {"MaxValue": "0.9", "ScalingType": "ReverseLogarithmic"}


@pytest.fixture
def tune(context: Context):
    """tune(name, strategy, …) -> the tuning job's description when it has ended."""
    objects.create_bucket(context, "bucket")

    def create(name: str, strategy: str, searched: dict | None = None, jobs: int | None = 8, **more) -> dict:
        packed = tar_gz({"go.py": more.pop("script", SCRIPT)})
        objects.write_bytes(context, f"s3://bucket/code/{name}.tar.gz", packed)
        static = {"sagemaker_program": "go.py", "sagemaker_submit_directory": f"s3://bucket/code/{name}.tar.gz"}
        context.call(
            "sagemaker",
            "CreateHyperParameterTuningJob",
            HyperParameterTuningJobName=name,
            HyperParameterTuningJobConfig={
                "Strategy": strategy,
                "HyperParameterTuningJobObjective": {"Type": more.pop("direction", "Minimize"), "MetricName": "loss"},
                "ResourceLimits": {
                    "MaxParallelTrainingJobs": more.pop("parallel", 2),
                    **({"MaxNumberOfTrainingJobs": jobs} if jobs else {}),
                },
                "ParameterRanges": searched or VALUE,
                "RandomSeed": 1,
                **more.pop("config", {}),
            },
            TrainingJobDefinition={
                "StaticHyperParameters": {**static, **more.pop("static", {})},
                "RoleArn": "arn:aws:iam::123456789012:role/job",
                "AlgorithmSpecification": {
                    "TrainingImage": "pytorch:2.13-cpu-amzn2023-sagemaker",
                    "TrainingInputMode": "File",
                    "MetricDefinitions": [{"Name": more.pop("metric", "loss"), "Regex": "loss=([0-9.]+);"}],
                },
                "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
                "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
                "StoppingCondition": {"MaxRuntimeInSeconds": 60},
            },
            **more,
        )
        done = lambda job: job["HyperParameterTuningJobStatus"] not in ("InProgress", "Stopping")  # noqa: E731
        context.store.wait("tuning-job", name, done, 100)
        return context.call("sagemaker", "DescribeHyperParameterTuningJob", HyperParameterTuningJobName=name)

    return create


@pytest.mark.parametrize("strategy", ["Bayesian", "Random", "Hyperband"])
def test_a_strategy_comes_near_the_optimum_of_a_parabola(tune, strategy):
    job = tune(strategy, strategy, jobs=14, static={"epochs": "3"})
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert abs(float(job["BestTrainingJob"]["TunedHyperParameters"]["value"]) - 0.3) < 0.15
    assert sum(job["TrainingJobStatusCounters"].values()) == 14


def test_grid_tries_every_combination_once_and_finds_the_best(tune, context):
    values = [{"Name": "value", "Values": ["0.1", "0.3", "0.9"]}, {"Name": "kind", "Values": ["good", "bad"]}]
    job = tune("grid", "Grid", {"CategoricalParameterRanges": values}, jobs=None)
    listed = context.call(
        "sagemaker",
        "ListTrainingJobsForHyperParameterTuningJob",
        HyperParameterTuningJobName="grid",
        SortBy="FinalObjectiveMetricValue",
    )["TrainingJobSummaries"]
    tried = [(item["TunedHyperParameters"]["value"], item["TunedHyperParameters"]["kind"]) for item in listed]
    assert sorted(tried) == [(v, k) for v in ("0.1", "0.3", "0.9") for k in ("bad", "good")]
    assert job["BestTrainingJob"]["TunedHyperParameters"] == {"value": "0.3", "kind": "good"}
    assert job["BestTrainingJob"]["TrainingJobName"] == listed[0]["TrainingJobName"]


def test_answers_have_the_shapes_of_aws(tune, context):
    job = tune("shapes", "Random", jobs=3, direction="Maximize")
    best = job["BestTrainingJob"]
    assert re.fullmatch(r"shapes-00[1-3]-[0-9a-f]{8}", best["TrainingJobName"])
    assert best["ObjectiveStatus"] == "Succeeded" and best["TrainingJobStatus"] == "Completed"
    metric = best["FinalHyperParameterTuningJobObjectiveMetric"]
    assert (metric["Type"], metric["MetricName"]) == ("Maximize", "loss")
    assert job["TrainingJobStatusCounters"]["Completed"] == job["ObjectiveStatusCounters"]["Succeeded"] == 3
    listed = context.call(
        "sagemaker",
        "ListTrainingJobsForHyperParameterTuningJob",
        HyperParameterTuningJobName="shapes",
        SortBy="FinalObjectiveMetricValue",
        SortOrder="Descending",
    )["TrainingJobSummaries"]
    values = [item["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for item in listed]
    assert values == sorted(values, reverse=True) and values[0] == metric["Value"]
    trial = context.call("sagemaker", "DescribeTrainingJob", TrainingJobName=best["TrainingJobName"])
    assert trial["TuningJobArn"] == job["HyperParameterTuningJobArn"]
    assert trial["HyperParameters"]["_tuning_objective_metric"] == "loss"
    assert trial["HyperParameters"]["value"] == best["TunedHyperParameters"]["value"]
    assert objects.exists(context, trial["ModelArtifacts"]["S3ModelArtifacts"])


def test_trials_share_the_cores(tune, context, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    tune("threads", "Random", jobs=2, parallel=2)
    group = "/aws/sagemaker/TrainingJobs"
    last = [streams.tail(context, group, stream, 1) for stream in streams.streams(context, group, "threads-")]
    assert last == [["threads 4"]] * 2


def test_the_same_seed_tries_the_same_points(tune, context):
    def points(name: str) -> list[str]:
        tune(name, "Bayesian", jobs=3, parallel=1)
        arguments = {"HyperParameterTuningJobName": name, "SortBy": "Name"}
        listed = context.call("sagemaker", "ListTrainingJobsForHyperParameterTuningJob", **arguments)
        return [item["TunedHyperParameters"]["value"] for item in listed["TrainingJobSummaries"]]

    assert points("once") == points("twice")


@pytest.mark.parametrize(
    ("strategy", "searched"),
    [
        ("Random", VALUE),
        ("Bayesian", {"ContinuousParameterRanges": [VALUE["ContinuousParameterRanges"][0] | REVERSED]}),
        ("Grid", {"CategoricalParameterRanges": [{"Name": "value", "Values": ["0.1", "0.2", "0.3", "0.4"]}]}),
    ],
)
def test_a_job_that_was_cut_off_goes_on_with_the_trials_that_had_ended(tune, context, strategy, searched):
    tune("tune", strategy, searched, None if strategy == "Grid" else 4, parallel=1)
    before = {job["TrainingJobName"]: job for job in tuning.trials(context, "tune")}
    cut_off = sorted(before)[-1]
    context.store.update("training-job", cut_off, {"TrainingJobStatus": "Failed", "_CutOff": True})
    tuning.end(context, "tune", {tuning.STATUS: "Failed", "FailureReason": "cut off", "_CutOff": True})

    tuning.go_on(context, "tune")
    job = context.store.wait("tuning-job", "tune", lambda job: job[tuning.STATUS] != "InProgress", HANG)
    assert job[tuning.STATUS] == "Completed" and not job["FailureReason"]
    after = {job["TrainingJobName"]: job for job in tuning.trials(context, "tune")}
    (made,) = set(after) - set(before)
    assert {name: after[name] for name in before if name != cut_off} == {n: before[n] for n in before if n != cut_off}
    done = [job["_TunedHyperParameters"]["value"] for job in after.values() if job["TrainingJobStatus"] == "Completed"]
    assert len(done) == 4 == len(set(done))
    if strategy != "Bayesian":  # that one has learned from the others, and may choose another point
        assert after[made]["_TunedHyperParameters"] == before[cut_off]["_TunedHyperParameters"]


def test_early_stopping_gives_up_hopeless_trials(tune):
    """Every trial after the first ones is worse than their median."""
    values = {"CategoricalParameterRanges": [{"Name": "value", "Values": ["0.3", "0.31", "0.32", "0.33", "9", "8"]}]}
    config = {"TrainingJobEarlyStoppingType": "Auto"}
    job = tune("early", "Grid", values, jobs=None, parallel=1, config=config, static={"pause": "0.05", "epochs": "10"})
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert job["TrainingJobStatusCounters"]["Stopped"] == 2 and job["TrainingJobStatusCounters"]["Completed"] == 4
    assert job["BestTrainingJob"]["TunedHyperParameters"] == {"value": "0.3"}


@pytest.mark.parametrize("told_by", ["static", "config"])
def test_hyperband_gives_up_trials_at_its_rungs_and_keeps_the_good_ones(tune, told_by):
    """Nine epochs at most, three at least: of trials that go on, the worse part ends after the third or later."""
    resources = {"MinResource": 3, **({"MaxResource": 9} if told_by == "config" else {})}
    config = {"StrategyConfig": {"HyperbandStrategyConfig": resources}}
    static = {"pause": "0.03", "epochs": "9"}
    job = tune("rungs", "Hyperband", jobs=12, parallel=1, config=config, static=static)
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    counters = job["TrainingJobStatusCounters"]
    assert counters["Stopped"] >= 2 and counters["Completed"] >= 2
    assert abs(float(job["BestTrainingJob"]["TunedHyperParameters"]["value"]) - 0.3) < 0.2


def test_one_failed_trial_does_not_fail_the_job(tune):
    script = (
        "import sys; value = sys.argv[sys.argv.index('--value') + 1]; value == 'a' and sys.exit('no'); print('loss=1;')"
    )
    values = {"CategoricalParameterRanges": [{"Name": "value", "Values": ["a", "b"]}]}
    job = tune("partly", "Grid", values, jobs=None, script=script)
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert job["TrainingJobStatusCounters"]["NonRetryableError"] == 1 == job["ObjectiveStatusCounters"]["Failed"]


def test_when_all_trials_fail_the_job_fails_with_the_first_reason(tune):
    job = tune("doomed", "Random", jobs=2, script="raise ValueError('no data')")
    assert job["HyperParameterTuningJobStatus"] == "Failed"
    assert re.search(r"doomed-001-\w+: AlgorithmError: ValueError: no data, exit code: 1", job["FailureReason"])
    assert "BestTrainingJob" not in job


def test_a_script_that_never_prints_the_objective_fails_the_job_and_says_so(tune):
    job = tune("silent", "Random", jobs=1, script="print('LOSS 1')")
    assert "No training job emitted the objective metric loss" in job["FailureReason"]


def test_a_target_that_is_reached_ends_the_job(tune):
    criteria = {"TuningJobCompletionCriteria": {"TargetObjectiveMetricValue": 5.0}}
    job = tune("target", "Random", jobs=20, parallel=1, config=criteria)
    assert sum(job["TrainingJobStatusCounters"].values()) == 1


def test_stop_ends_the_trials_and_starts_no_more(tune, context):
    def stop():
        until(lambda: context.store.list("training-job", "halted-"))
        context.call("sagemaker", "StopHyperParameterTuningJob", HyperParameterTuningJobName="halted")

    context.spawn("stop", stop)
    job = tune("halted", "Random", jobs=50, script="import time; time.sleep(3600)")
    assert job["HyperParameterTuningJobStatus"] == "Stopped"
    counters = job["TrainingJobStatusCounters"]
    assert counters["InProgress"] == 0 and 1 <= counters["Stopped"] <= 2


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"strategy": "Grid"}, "Grid search takes only CategoricalParameterRanges"),
        ({"metric": "other"}, "objective metric loss is not among the MetricDefinitions: other"),
        ({"jobs": None}, "MaxNumberOfTrainingJobs or MaxRuntimeInSeconds"),
        ({"strategy": "Hyperband"}, "needs a MaxResource"),
        ({"strategy": "Hyperband", "static": {"epochs": "0"}}, "needs a MaxResource"),
        (
            {"strategy": "Hyperband", "static": {"epochs": "4"}, "config": HYPERBAND_FROM_5},
            "MinResource is greater than MaxResource, 4",
        ),
        (
            {"strategy": "Hyperband", "static": {"epochs": "4"}, "config": {"TrainingJobEarlyStoppingType": "Auto"}},
            "TrainingJobEarlyStoppingType must be Off",
        ),
        ({"static": {"value": "1"}}, "value is both a static hyperparameter and a range"),
        ({"WarmStartConfig": {"ParentHyperParameterTuningJobs": [], "WarmStartType": "TransferLearning"}}, "WarmStart"),
    ],
)
def test_what_cannot_run_is_refused_at_once(tune, context, change, complaint):
    with pytest.raises(ValidationException, match=complaint):
        tune("refused", **{"strategy": "Random", **change})
    assert context.store.list("tuning-job") == []


def test_names_are_unique(tune):
    tune("same", "Random", jobs=1)
    with pytest.raises(ResourceInUse, match="same"):
        tune("same", "Random", jobs=1)


@pytest.mark.parametrize(
    "kind, low, high, scaling, complaint",
    [
        ("Continuous", "1", "0", "Linear", "greater than MaxValue"),
        ("Continuous", "0", "1", "Logarithmic", "needs a MinValue above 0"),
        ("Continuous", "0", "1", "ReverseLogarithmic", "0 <= x < 1"),
        ("Integer", "1.5", "3", "Linear", "not int"),
        ("Continuous", "nan", "3", "Linear", "not float"),
    ],
)
def test_a_range_that_makes_no_sense_is_refused(kind, low, high, scaling, complaint):
    item = {"Name": "x", "MinValue": low, "MaxValue": high, "ScalingType": scaling}
    with pytest.raises(ValidationException, match=complaint):
        ranges.parse({f"{kind}ParameterRanges": [item]}, "Random")


@pytest.mark.parametrize(
    "scaling, low, high, median_between",
    [
        ("Linear", "0.001", "0.999", (0.4, 0.6)),
        ("Logarithmic", "0.0001", "1", (0.003, 0.03)),
        ("Auto", "0.0001", "1", (0.003, 0.03)),
        ("ReverseLogarithmic", "0", "0.9999", (0.97, 0.997)),
    ],
)
def test_values_are_spread_as_the_scaling_type_says(scaling, low, high, median_between):
    item = {"Name": "x", "MinValue": low, "MaxValue": high, "ScalingType": scaling}
    searched = ranges.parse({"ContinuousParameterRanges": [item]}, "Random")
    objective = {"HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"}}
    search = Search("spread", {"Strategy": "Random", "RandomSeed": 0, **objective}, searched, 200)
    values = sorted(float(search.ask().hyperparameters["x"]) for _ in range(200))
    assert float(low) <= values[0] and values[-1] <= float(high)
    assert median_between[0] < values[100] < median_between[1]
