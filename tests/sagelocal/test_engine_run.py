"""Executions, run with jobs that are documents only: what the engine does, without what jobs do."""

import json
import uuid
from functools import partial

import pytest

from sagelocal.core import registry
from sagelocal.core.errors import AwsError
from sagelocal.services.logs import streams
from sagelocal.services.s3 import objects
from sagelocal.services.sagemaker.execution import events, records
from tests.sagelocal.fake_jobs import FakeJobs
from tests.waiting import HANG, until

ROLE = "arn:aws:iam::123456789012:role/pipeline"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/pytorch:1"
RESOURCES = {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}}


@pytest.fixture
def jobs(context, monkeypatch):
    objects.create_bucket(context, "bucket")
    return FakeJobs(context).install(monkeypatch)


def processing(name, *, environment=None, inputs=None, **members):
    arguments = {
        "AppSpecification": {"ImageUri": IMAGE},
        "ProcessingResources": RESOURCES,
        "RoleArn": ROLE,
        "Environment": {"STEP": name, **(environment or {})},
        "ProcessingOutputConfig": {"Outputs": [output(name)]},
    }
    if inputs:
        arguments["ProcessingInputs"] = inputs
    return {"Name": name, "Type": "Processing", "Arguments": arguments, **members}


def output(name):
    uri = f"s3://bucket/{name}"
    return {
        "OutputName": "out",
        "S3Output": {"S3Uri": uri, "LocalPath": "/opt/ml/processing/out", "S3UploadMode": "EndOfJob"},
    }


def training(name, *, epochs="3", **members):
    arguments = {
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "HyperParameters": {"epochs": epochs, "lr": "0.1"},
        "Environment": {"STEP": name},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/models"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "RoleArn": ROLE,
    }
    return {"Name": name, "Type": "Training", "Arguments": arguments, **members}


def gate(left, kind, right, *, if_steps=(), else_steps=(), name="Gate"):
    conditions = [{"Type": kind, "LeftValue": left, "RightValue": right}]
    arguments = {"Conditions": conditions, "IfSteps": list(if_steps), "ElseSteps": list(else_steps)}
    return {"Name": name, "Type": "Condition", "Arguments": arguments}


def fail(message, name="TooBad"):
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": message}}


def get(expression):
    return {"Get": expression}


def join(*values, on=""):
    return {"Std:Join": {"On": on, "Values": list(values)}}


def upsert(context, *steps, name="p", parameters=(), **members):
    document = {"Version": "2020-12-01", "Parameters": list(parameters), "Steps": list(steps)}
    request = {"PipelineName": name, "PipelineDefinition": json.dumps(document), "RoleArn": ROLE, **members}
    if context.store.get("pipeline", name):
        context.call("sagemaker", "UpdatePipeline", **request)
    else:
        context.call("sagemaker", "CreatePipeline", ClientRequestToken=uuid.uuid4().hex, **request)


def start(context, name="p", **members):
    request = {"PipelineName": name, "ClientRequestToken": uuid.uuid4().hex, **members}
    return context.call("sagemaker", "StartPipelineExecution", **request)["PipelineExecutionArn"]


def wait(context, arn):
    context.store.wait(records.EXECUTION, arn, lambda e: e["PipelineExecutionStatus"] not in records.RUNNING, HANG)
    return context.call("sagemaker", "DescribePipelineExecution", PipelineExecutionArn=arn)


def run(context, *steps, **members):
    """(execution, steps by name) of a pipeline that has run."""
    upsert(context, *steps, **members)
    arn = start(context)
    return wait(context, arn), steps_of(context, arn)


def steps_of(context, arn):
    page = context.call("sagemaker", "ListPipelineExecutionSteps", PipelineExecutionArn=arn, SortOrder="Ascending")
    return {step["StepName"]: step for step in page["PipelineExecutionSteps"]}


def statuses(steps):
    return {name: step["StepStatus"] for name, step in steps.items()}


def events_of(context, arn, step):
    lines = [json.loads(line) for _, line in streams.read(context, events.LOG_GROUP, events.stream_name(arn))]
    return [(line["event"], line["detail"]) for line in lines if line["step"] == step]


def test_a_diamond_runs_in_order_and_passes_properties_on(context, jobs):
    uri = get("Steps.A.ProcessingOutputConfig.Outputs['out'].S3Output.S3Uri")
    both = join(get("Steps.B.ProcessingJobName"), get("Steps.C.ProcessingJobName"), on=",")
    execution, steps = run(
        context,
        processing("D", environment={"BOTH": both}),
        processing("B", environment={"FROM": uri}),
        processing("C", DependsOn=["A"]),
        processing("A"),
    )
    assert execution["PipelineExecutionStatus"] == "Succeeded"
    assert jobs.created[0] == "A" and jobs.created[-1] == "D" and len(jobs.created) == 4
    by_step = {body["Environment"]["STEP"]: body for body in context.store.list("processing-job")}
    assert by_step["B"]["Environment"]["FROM"] == "s3://bucket/A"
    names = [by_step[name]["ProcessingJobName"] for name in "BC"]
    assert by_step["D"]["Environment"]["BOTH"] == ",".join(names)
    assert steps["A"]["Metadata"] == {"ProcessingJob": {"Arn": by_step["A"]["ProcessingJobArn"]}}
    assert (
        steps["A"]["AttemptCount"] == 1 and steps["A"]["StartTime"] <= steps["A"]["EndTime"] <= steps["B"]["StartTime"]
    )


def test_job_names_carry_execution_and_step_and_fit_the_service(context, jobs):
    long = "A_step_with_a_name_that_is_much_too_long_for_a_job-of-SageMaker"
    execution, _ = run(context, processing(long))
    identifier = execution["PipelineExecutionArn"].rpartition("/")[2]
    name = context.store.list("processing-job")[0]["ProcessingJobName"]
    assert len(identifier) == 12 and name.startswith(f"pipelines-{identifier}-A-step-with") and len(name) <= 63


def test_independent_steps_overlap_and_the_parallelism_limit_holds(context, jobs):
    jobs.plan.update({"A": ["hold"], "B": ["hold"]})
    upsert(context, processing("A"), processing("B"))
    arn = start(context)
    jobs.wait_for("A", "B")
    jobs.release("A")
    jobs.release("B")
    assert wait(context, arn)["PipelineExecutionStatus"] == "Succeeded"

    jobs.plan.update({"A": ["hold"], "B": ["hold"]})
    arn = start(context, ParallelismConfiguration={"MaxParallelExecutionSteps": 1})
    jobs.wait_for("A")
    assert list(steps_of(context, arn)) == ["A"]
    jobs.release("A")
    jobs.wait_for("B")
    jobs.release("B")
    assert wait(context, arn)["PipelineExecutionStatus"] == "Succeeded"


def test_a_failed_step_starts_nothing_new_and_lets_running_ones_finish(context, jobs):
    jobs.plan.update({"Slow": ["hold"], "Bad": ["AlgorithmError: exit code 1"]})
    upsert(context, processing("Slow"), processing("Bad"), processing("Next", DependsOn=["Slow"]))
    arn = start(context)
    jobs.wait_for("Slow")
    until(lambda: context.store.get(records.STEP, f"{arn}/Bad"))
    context.store.wait(records.STEP, f"{arn}/Bad", lambda s: s["StepStatus"] == "Failed", 10)
    jobs.release("Slow")
    execution = wait(context, arn)
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert execution["FailureReason"] == "Step failure: One or multiple steps failed."
    steps = steps_of(context, arn)
    assert statuses(steps) == {"Slow": "Succeeded", "Bad": "Failed"}
    assert steps["Bad"]["FailureReason"] == "ClientError: AlgorithmError: exit code 1"


def test_a_refused_job_fails_its_step_in_the_services_words(context, jobs):
    step = processing(
        "A", environment={"X": {"Std:Join": {"On": "x" * 300, "Values": [get("Execution.PipelineName")] * 2}}}
    )
    execution, steps = run(context, step)
    assert execution["PipelineExecutionStatus"] == "Failed"
    reason = steps["A"]["FailureReason"]
    assert reason.startswith("ClientError: Failed to invoke sagemaker:CreateProcessingJob. Error Details:")
    assert "Environment" in reason


METRIC = "Steps.Train.FinalMetricDataList['validation:accuracy'].Value"
THRESHOLD = {"Name": "Threshold", "Type": "Float", "DefaultValue": 0.9}


@pytest.mark.parametrize(("threshold", "taken", "left_out"), [("0.9", "Good", "Bad"), ("0.95", "Bad", "Good")])
def test_a_condition_runs_one_branch_and_skips_what_waits_for_the_other(context, jobs, threshold, taken, left_out):
    decision = gate(
        get(METRIC),
        "GreaterThanOrEqualTo",
        get("Parameters.Threshold"),
        if_steps=[processing("Good")],
        else_steps=[processing("Bad")],
    )
    after = [processing("GoodNext", DependsOn=["Good"]), processing("BadNext", DependsOn=["Bad"])]
    upsert(context, training("Train"), decision, *after, parameters=[THRESHOLD])
    arn = start(context, PipelineParameters=[{"Name": "Threshold", "Value": threshold}])
    assert wait(context, arn)["PipelineExecutionStatus"] == "Succeeded"
    steps = steps_of(context, arn)
    assert set(steps) == {"Train", "Gate", taken, f"{taken}Next"}
    outcome = str(taken == "Good")
    assert steps["Gate"]["Metadata"] == {"Condition": {"Outcome": outcome}}
    assert events_of(context, arn, left_out) == [("skipped", f"condition Gate was {outcome}")]
    assert events_of(context, arn, f"{left_out}Next") == [("skipped", f"{left_out} was skipped")]
    assert ("succeeded", f"{outcome}: 0.93 GreaterThanOrEqualTo {threshold}") in events_of(context, arn, "Gate")


def test_conditions_nest(context, jobs):
    inner = gate(1, "Equals", 2, name="Inner", if_steps=[processing("A")], else_steps=[processing("B")])
    outer = gate(1, "Equals", 1, name="Outer", if_steps=[inner], else_steps=[gate(1, "Equals", 1, name="Other")])
    _, steps = run(context, outer)
    assert statuses(steps) == {"Outer": "Succeeded", "Inner": "Succeeded", "B": "Succeeded"}


def test_a_condition_that_cannot_compare_fails_with_both_sides(context, jobs):
    _, steps = run(context, gate("0.9", "GreaterThan", 0.5))
    assert steps["Gate"]["FailureReason"] == (
        "ClientError: GreaterThan compares the string '0.9' with the number 0.5; both sides must have the same type."
    )


def test_a_fail_step_ends_the_execution_with_its_joined_message(context, jobs):
    message = join("Accuracy ", get(METRIC), " is below ", get("Parameters.Threshold"))
    decision = gate(get(METRIC), "GreaterThan", 0.99, else_steps=[fail(message)])
    execution, steps = run(context, training("Train"), decision, parameters=[THRESHOLD])
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert execution["FailureReason"] == "Step failure: One or multiple steps failed."
    assert steps["TooBad"]["StepStatus"] == "Failed"
    assert steps["TooBad"]["FailureReason"] == "Accuracy 0.93 is below 0.9"
    assert steps["TooBad"]["Metadata"] == {"Fail": {"ErrorMessage": "Accuracy 0.93 is below 0.9"}}


def test_a_property_file_decides_a_condition(context, jobs):
    objects.write_bytes(context, "s3://bucket/Evaluate/evaluation.json", b'{"top1": {"value": 0.97}}')
    files = [{"PropertyFileName": "Report", "OutputName": "out", "FilePath": "evaluation.json"}]
    top1 = {"Std:JsonGet": {"PropertyFile": get("Steps.Evaluate.PropertyFiles.Report"), "Path": "top1.value"}}
    decision = gate(top1, "GreaterThan", 0.9, else_steps=[fail(join("only ", top1))])
    _, steps = run(context, processing("Evaluate", PropertyFiles=files), decision)
    assert steps["Gate"]["Metadata"]["Condition"]["Outcome"] == "True"


def test_a_property_file_that_is_missing_fails_the_step_that_reads_it_with_its_place(context, jobs):
    files = [{"PropertyFileName": "Report", "OutputName": "out", "FilePath": "gone.json"}]
    top1 = {"Std:JsonGet": {"PropertyFile": get("Steps.Evaluate.PropertyFiles.Report"), "Path": "top1"}}
    _, steps = run(context, processing("Evaluate", PropertyFiles=files), gate(top1, "GreaterThan", 0.9))
    assert "s3://bucket/Evaluate/gone.json" in steps["Gate"]["FailureReason"]


def policies(*types, **members):
    return [{"ExceptionType": list(types), "IntervalSeconds": 0, "BackoffRate": 1.0, **members}]


def test_a_failure_that_a_policy_names_is_tried_again(context, jobs):
    jobs.plan["A"] = ["InternalServerError: try later", AwsError("ThrottlingException", "slow down"), None]
    retried = policies("SageMaker.JOB_INTERNAL_ERROR", "Step.THROTTLING", MaxAttempts=3)
    execution, steps = run(context, processing("A", RetryPolicies=retried))
    assert execution["PipelineExecutionStatus"] == "Succeeded"
    assert steps["A"]["AttemptCount"] == 3 and jobs.created == ["A"] * 3
    kinds = [event for event, _ in events_of(context, execution["PipelineExecutionArn"], "A")]
    assert kinds == ["started", "retry", "retry", "succeeded"]


def test_retries_end_with_the_policys_attempts_and_other_failures_are_not_retried(context, jobs):
    jobs.plan["A"] = ["InternalServerError: x"] * 9
    _, steps = run(context, processing("A", RetryPolicies=policies("SageMaker.JOB_INTERNAL_ERROR", MaxAttempts=2)))
    assert steps["A"]["StepStatus"] == "Failed" and jobs.created == ["A"] * 3

    jobs.created.clear()
    jobs.plan["A"] = ["AlgorithmError: x"] * 9
    run(context, processing("A", RetryPolicies=policies("SageMaker.JOB_INTERNAL_ERROR", MaxAttempts=2)))
    assert jobs.created == ["A"]


CACHED = {"CacheConfig": {"Enabled": True, "ExpireAfter": "P30D"}}


def test_a_step_with_the_same_key_arguments_is_reused_and_what_builds_on_it_too(context, jobs):
    steps = [
        training("Train", **CACHED),
        processing("B", environment={"M": get("Steps.Train.TrainingJobName")}, **CACHED),
    ]
    first, _ = run(context, *steps)
    steps[0]["Arguments"]["StoppingCondition"] = {"MaxRuntimeInSeconds": 99}
    _, second = run(context, *steps)
    assert jobs.created == ["Train", "B"]
    for step in second.values():
        assert step["CacheHitResult"] == {"SourcePipelineExecutionArn": first["PipelineExecutionArn"]}
        assert step["StepStatus"] == "Succeeded" and step["Metadata"]


def cache_miss(context, *steps):
    upsert(context, *steps)
    arn = start(context)
    wait(context, arn)
    step = steps[0]["Name"]
    missed = [detail for event, detail in events_of(context, arn, step) if event == "cache-miss"]
    document = context.store.get(records.STEP, f"{arn}/{step}")
    assert [document.get("_CacheMiss")] == (missed or [None])
    return missed[0] if missed else None


def test_a_miss_names_the_argument_that_differs(context, jobs):
    assert cache_miss(context, training("Train", **CACHED)) == "no earlier successful run of this step"
    assert cache_miss(context, training("Train", epochs="5", **CACHED)) == "HyperParameters.epochs: 3 -> 5"
    channel = {
        "InputName": "code",
        "S3Input": {
            "S3Uri": "s3://bucket/code/1",
            "LocalPath": "/opt/ml/processing/input/code",
            "S3DataType": "S3Prefix",
        },
    }
    cache_miss(context, processing("A", inputs=[channel], **CACHED))
    channel["S3Input"]["S3Uri"] = "s3://bucket/code/2"
    said = cache_miss(context, processing("A", inputs=[channel], environment={"NEW": "1"}, **CACHED))
    assert said == (
        "Environment.NEW: nothing -> 1; ProcessingInputs['code'].S3Input.S3Uri: s3://bucket/code/1 -> s3://bucket/code/2"
    )


def test_an_expired_run_is_not_reused(context, jobs):
    run(context, training("Train", **CACHED))
    entry = context.store.list("pipeline-step-cache")[0]
    name = context.store.items("pipeline-step-cache")[0][0]
    context.store.update("pipeline-step-cache", name, {"Time": entry["Time"] - 31 * 86400})
    said = cache_miss(context, training("Train", **CACHED))
    assert said == "expired: it ran 31 days ago and ExpireAfter is 30 days"


def test_a_run_whose_model_or_job_was_deleted_is_not_reused(context, jobs):
    run(context, training("Train", **CACHED))
    archive = context.store.list("training-job")[0]["ModelArtifacts"]["S3ModelArtifacts"]
    objects.path(context, archive).unlink()
    assert cache_miss(context, training("Train", **CACHED)) == f"its output {archive} is gone"
    job = context.store.list("training-job")[-1]["TrainingJobName"]
    context.store.delete("training-job", job)
    assert cache_miss(context, training("Train", **CACHED)) == f"its training-job {job} is gone"


def test_failed_runs_and_steps_without_a_cache_config_are_not_reused(context, jobs):
    jobs.plan["Train"] = ["AlgorithmError: x"]
    run(context, training("Train", **CACHED))
    assert cache_miss(context, training("Train", **CACHED)) == "no earlier successful run of this step"
    _, steps = run(context, training("Train"))
    assert "CacheHitResult" not in steps["Train"] and len(jobs.created) == 3


def stop(context, arn):
    context.call("sagemaker", "StopPipelineExecution", PipelineExecutionArn=arn, ClientRequestToken=uuid.uuid4().hex)


def retry(context, arn, **members):
    request = {"PipelineExecutionArn": arn, "ClientRequestToken": uuid.uuid4().hex, **members}
    context.call("sagemaker", "RetryPipelineExecution", **request)


def test_stop_stops_running_jobs_and_starts_nothing_new(context, jobs):
    jobs.plan["A"] = ["hold"]
    upsert(context, processing("A"), processing("B", DependsOn=["A"]))
    arn = start(context)
    jobs.wait_for("A")
    stop(context, arn)
    assert wait(context, arn)["PipelineExecutionStatus"] == "Stopped"
    assert statuses(steps_of(context, arn)) == {"A": "Stopped"}
    with pytest.raises(AwsError, match="only a running one can be stopped"):
        stop(context, arn)
    retry(context, arn)
    assert wait(context, arn)["PipelineExecutionStatus"] == "Succeeded"
    assert jobs.created == ["A", "A", "B"]


def test_stop_ends_a_step_that_waits_for_its_next_attempt(context, jobs):
    jobs.plan["A"] = ["InternalServerError: x"]
    slow = policies("SageMaker.JOB_INTERNAL_ERROR", MaxAttempts=2)
    slow[0]["IntervalSeconds"] = 3600
    upsert(context, processing("A", RetryPolicies=slow))
    arn = start(context)
    context.store.wait("processing-job", _only_job(context), lambda job: job["ProcessingJobStatus"] == "Failed", 10)
    stop(context, arn)
    assert wait(context, arn)["PipelineExecutionStatus"] == "Stopped"


def _only_job(context):
    return until(lambda: context.store.list("processing-job"))[0]["ProcessingJobName"]


def test_a_job_that_somebody_else_stops_fails_its_step(context, jobs):
    jobs.plan["A"] = ["hold"]
    upsert(context, processing("A"))
    arn = start(context)
    jobs.wait_for("A")
    job = _only_job(context)
    context.call("sagemaker", "StopProcessingJob", ProcessingJobName=job)
    assert wait(context, arn)["PipelineExecutionStatus"] == "Failed"
    assert steps_of(context, arn)["A"]["FailureReason"] == f"ClientError: ProcessingJob {job} ended as Stopped"


def test_retry_runs_the_failed_step_again_and_keeps_what_succeeded(context, jobs):
    jobs.plan["B"] = ["AlgorithmError: x"]
    upsert(
        context,
        processing("A"),
        processing("B", environment={"A": get("Steps.A.ProcessingJobName")}),
        processing("C", DependsOn=["B"]),
    )
    arn = start(context)
    assert wait(context, arn)["PipelineExecutionStatus"] == "Failed"
    retry(context, arn)
    assert wait(context, arn)["PipelineExecutionStatus"] == "Succeeded"
    assert jobs.created == ["A", "B", "B", "C"]
    assert statuses(steps_of(context, arn)) == {"A": "Succeeded", "B": "Succeeded", "C": "Succeeded"}
    with pytest.raises(AwsError, match="is Succeeded; only one that is Failed or Stopped can be retried"):
        retry(context, arn)


def test_a_retry_inside_a_branch_keeps_the_conditions_outcome(context, jobs):
    jobs.plan["Good"] = ["AlgorithmError: x"]
    branches = gate(1, "Equals", 1, if_steps=[processing("Good")], else_steps=[processing("Bad")])
    upsert(context, branches)
    arn = start(context)
    wait(context, arn)
    retry(context, arn)
    assert wait(context, arn)["PipelineExecutionStatus"] == "Succeeded"
    assert jobs.created == ["Good", "Good"]


@pytest.fixture
def left_behind(context, jobs):
    """An execution as a killed server leaves it: A has succeeded; the job of B has ended, which nobody has recorded."""
    upsert(context, processing("A"), processing("B", DependsOn=["A"]), processing("C", DependsOn=["B"]))
    jobs.plan["C"] = ["AlgorithmError: x"]
    arn = start(context)
    wait(context, arn)
    context.store.update(
        records.EXECUTION, arn, {"PipelineExecutionStatus": "Executing", "FailureReason": None, "_Attempts": {}}
    )
    context.store.update(records.STEP, f"{arn}/B", {"StepStatus": "Executing"})
    context.store.delete(records.STEP, f"{arn}/C")
    for body in context.store.list("processing-job"):
        if body["Environment"]["STEP"] == "C":
            context.store.delete("processing-job", body["ProcessingJobName"])
    return arn


def start_again(context):
    for hook in registry.START_HOOKS:
        hook(context)


def test_what_a_killed_server_left_goes_on_by_itself_with_the_job_that_had_ended(context, jobs, left_behind):
    start_again(context)
    assert wait(context, left_behind)["PipelineExecutionStatus"] == "Succeeded"
    assert statuses(steps_of(context, left_behind)) == {"A": "Succeeded", "B": "Succeeded", "C": "Succeeded"}
    assert jobs.created == ["A", "B", "C", "C"]
    (resumed,) = (detail for event, detail in events_of(context, left_behind, "") if event == "resumed")
    assert "going on by itself, time 1 of 3" in resumed


def test_a_setting_leaves_what_a_killed_server_left_to_a_retry(context, jobs, left_behind, monkeypatch):
    monkeypatch.setenv("SAGELOCAL_RESUME", "0")
    start_again(context)
    execution = wait(context, left_behind)
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert execution["FailureReason"].startswith("The embedded SageMaker stopped while the execution ran.")
    assert statuses(steps_of(context, left_behind)) == {"A": "Succeeded", "B": "Failed"}
    retry(context, left_behind)
    assert wait(context, left_behind)["PipelineExecutionStatus"] == "Succeeded"
    assert jobs.created == ["A", "B", "C", "C"]


def test_an_execution_that_ends_its_server_again_and_again_is_given_up_and_can_be_retried(context, jobs, left_behind):
    context.store.update(records.EXECUTION, left_behind, {"_Resumes": 3})
    start_again(context)
    execution = wait(context, left_behind)
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert "ended 4 times while the execution ran" in execution["FailureReason"]
    retry(context, left_behind)
    assert wait(context, left_behind)["PipelineExecutionStatus"] == "Succeeded"


def test_what_was_being_stopped_when_its_server_was_killed_is_stopped(context, jobs, left_behind):
    context.store.update(records.EXECUTION, left_behind, {"PipelineExecutionStatus": "Stopping"})
    start_again(context)
    assert wait(context, left_behind)["PipelineExecutionStatus"] == "Stopped"
    assert statuses(steps_of(context, left_behind)) == {"A": "Succeeded", "B": "Stopped"}


def test_a_job_that_the_server_cut_off_is_made_again_under_another_name(context, jobs, left_behind):
    (job,) = (b for b in context.store.list("processing-job") if b["Environment"]["STEP"] == "B")
    cut_off = {"ProcessingJobStatus": "InProgress"}
    context.store.update("processing-job", job["ProcessingJobName"], cut_off)
    start_again(context)
    assert wait(context, left_behind)["PipelineExecutionStatus"] == "Succeeded"
    both = [b for b in context.store.list("processing-job") if b["Environment"]["STEP"] == "B"]
    assert [b["ProcessingJobStatus"] for b in both] == ["Failed", "Completed"]
    assert both[0]["ProcessingJobName"] != both[1]["ProcessingJobName"]


def test_a_job_that_had_failed_before_its_server_was_killed_fails_its_step(context, jobs, left_behind):
    (job,) = (b for b in context.store.list("processing-job") if b["Environment"]["STEP"] == "B")
    failed = {"ProcessingJobStatus": "Failed", "FailureReason": "AlgorithmError: its own"}
    context.store.update("processing-job", job["ProcessingJobName"], failed)
    start_again(context)
    assert wait(context, left_behind)["PipelineExecutionStatus"] == "Failed"
    assert "its own" in steps_of(context, left_behind)["B"]["FailureReason"] and jobs.created == ["A", "B", "C"]
    retry(context, left_behind)
    assert wait(context, left_behind)["PipelineExecutionStatus"] == "Succeeded"
    assert jobs.created == ["A", "B", "C", "B", "C"]


def test_a_step_costs_the_engine_as_much_in_a_long_chain_as_in_a_short_one(context, jobs, monkeypatch):
    def noted(asked, ask, statement, parameters=()):
        asked.append(statement)
        return ask(statement, parameters)

    def statements(steps: int) -> int:
        """What the store is asked while a chain of `steps` runs."""
        chain = [processing("S0"), *[processing(f"S{i}", DependsOn=[f"S{i - 1}"]) for i in range(1, steps)]]
        upsert(context, *chain)
        asked: list[str] = []
        with monkeypatch.context() as patched:
            for name in ("read", "write"):
                patched.setattr(context.store._db, name, partial(noted, asked, getattr(context.store._db, name)))
            wait(context, start(context))
        return len(asked)

    assert statements(40) < 2 * 4 * statements(10)


def answer_with(monkeypatch, answer, **members):
    """Make Lambda's Invoke answer with what `answer` makes of the event."""

    def invoke(context, request):
        return {"StatusCode": 200, "Payload": json.dumps(answer(json.loads(request["Payload"]))).encode(), **members}

    monkeypatch.setitem(registry.OPERATIONS, ("lambda", "Invoke"), invoke)


def lambda_step(*outputs, **event):
    return {
        "Name": "Deploy",
        "Type": "Lambda",
        "FunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:deploy",
        "Arguments": event,
        "OutputParameters": [{"OutputName": name, "OutputType": kind} for name, kind in outputs],
    }


def test_a_lambda_step_gets_its_event_and_gives_typed_outputs(context, jobs, monkeypatch):
    seen = []
    answer_with(monkeypatch, lambda event: seen.append(event) or {"count": "3", "name": "e", "more": 1})
    check = gate(get("Steps.Deploy.OutputParameters['count']"), "GreaterThan", 2, else_steps=[fail("no")])
    step = lambda_step(("count", "Integer"), ("name", "String"), epochs=get("Parameters.Epochs"))
    parameter = {"Name": "Epochs", "Type": "Integer", "DefaultValue": 4}
    execution, steps = run(context, step, check, parameters=[parameter])
    assert execution["PipelineExecutionStatus"] == "Succeeded" and seen == [{"epochs": 4}]
    outputs = [{"Name": "count", "Value": "3"}, {"Name": "name", "Value": "e"}]
    assert steps["Deploy"]["Metadata"]["Lambda"]["OutputParameters"] == outputs


@pytest.mark.parametrize(
    ("answer", "members", "said"),
    [
        (
            {"errorType": "ValueError", "errorMessage": "no endpoint"},
            {"FunctionError": "Unhandled"},
            "ValueError: no endpoint",
        ),
        ({"name": "x"}, {}, "did not return output parameter count; it returned name"),
        ({"count": "many"}, {}, "count is 'many', which is not a valid Integer"),
        ("text", {}, "did not return output parameter count"),
    ],
)
def test_a_lambda_step_fails_with_the_functions_error_or_the_missing_output(
    context, jobs, monkeypatch, answer, members, said
):
    answer_with(monkeypatch, lambda event: answer, **members)
    _, steps = run(context, lambda_step(("count", "Integer")))
    assert steps["Deploy"]["StepStatus"] == "Failed" and said in steps["Deploy"]["FailureReason"]


def test_tuning_lists_its_training_jobs_best_first_under_a_short_name(context, jobs, monkeypatch):
    def summary(name, value):
        metric = {"MetricName": "loss", "Value": value}
        return {
            "TrainingJobName": name,
            "TrainingJobStatus": "Completed",
            "FinalHyperParameterTuningJobObjectiveMetric": metric,
        }

    def create(context, request):
        name = request["HyperParameterTuningJobName"]
        arn = context.arn("sagemaker", f"hyper-parameter-tuning-job/{name}")
        done = {"HyperParameterTuningJobArn": arn, "HyperParameterTuningJobStatus": "Completed"}
        context.store.insert("tuning-job", name, {**request, **done, "BestTrainingJob": {"TrainingJobName": "t2"}})
        return done

    answers = {
        "CreateHyperParameterTuningJob": create,
        "DescribeHyperParameterTuningJob": lambda c, r: c.store.get("tuning-job", r["HyperParameterTuningJobName"]),
        "ListTrainingJobsForHyperParameterTuningJob": lambda c, r: {
            "TrainingJobSummaries": [summary("t1", 0.5), summary("t2", 0.2), summary("t3", 0.9)]
        },
    }
    for name, handler in answers.items():
        monkeypatch.setitem(registry.OPERATIONS, ("sagemaker", name), handler)
    objective = {"Type": "Minimize", "MetricName": "loss"}
    trial = training("Trial")["Arguments"]
    trial["StaticHyperParameters"] = trial.pop("HyperParameters")
    trial["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "loss", "Regex": "loss=([0-9.]+)"}]
    arguments = {
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": objective,
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": 1},
        },
        "TrainingJobDefinition": trial,
    }
    top = [get(f"Steps.TuneTheClassifier.TrainingJobSummaries[{i}].TrainingJobName") for i in range(3)]
    tune = {"Name": "TuneTheClassifier", "Type": "Tuning", "Arguments": arguments}
    execution, steps = run(context, tune, processing("A", environment={"TOP": join(*top, on=",")}))
    assert execution["PipelineExecutionStatus"] == "Succeeded"
    assert context.store.list("processing-job")[0]["Environment"]["TOP"] == "t2,t1,t3"
    name = steps["TuneTheClassifier"]["Metadata"]["TuningJob"]["Arn"].rpartition("/")[2]
    assert len(name) <= 32 and name.startswith(execution["PipelineExecutionArn"].rpartition("/")[2])
