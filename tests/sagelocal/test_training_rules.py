"""Debugger rules of a training job: processing jobs whose ends are the training job's rule statuses."""

import pytest

from sagelocal.core.context import Context
from sagelocal.core.errors import ValidationException
from sagelocal.services.events.state_events import of_change
from sagelocal.services.s3 import objects
from sagelocal.services.sagemaker.jobs import training

IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch:2.13-cpu-amzn2023-sagemaker"
RULES = "503895931360.dkr.ecr.us-east-1.amazonaws.com/sagemaker-debugger-rules:latest"

# Saves one tensor: the number in its first argument.
SCRIPT = "mkdir -p /opt/ml/output/tensors; echo {value} > /opt/ml/output/tensors/value; exit {code}"

# Fires where the saved number is larger than the rule's limit; has no answer for what is no number.
EVALUATOR = """
import os, pathlib
value = float(pathlib.Path("/opt/ml/processing/input/tensors/value").read_text())
pathlib.Path("/opt/ml/processing/output/rule/value").write_text(str(value))
if os.environ.get("slow"):
    import time
    time.sleep(3600)
if value > float(os.environ["limit"]):
    message = f"RuleEvaluationConditionMet: Evaluation of the rule {os.environ['rule_to_invoke']} at step 3"
    pathlib.Path("/opt/ml/output/message").write_text(message)
"""


@pytest.fixture
def create(context: Context, monkeypatch):
    """create(name, value, rules) starts a training that saves `value`; evaluated by EVALUATOR."""
    monkeypatch.delenv("SAGELOCAL_IMAGES")  # its own evaluator would come first
    objects.create_bucket(context, "bucket")
    (context.state_dir / "evaluator.py").write_text(EVALUATOR)
    (context.state_dir / "images.toml").write_text(
        '[[image]]\npattern = "*debugger-rules*"\nruns = ["rules"]\nevaluate = ["python3", "./evaluator.py"]\n'
    )

    def start(name: str, value: object, rules: list[dict], code: int = 0, **more) -> None:
        context.call(
            "sagemaker",
            "CreateTrainingJob",
            TrainingJobName=name,
            RoleArn="arn:aws:iam::123456789012:role/job",
            AlgorithmSpecification={
                "TrainingImage": IMAGE,
                "TrainingInputMode": "File",
                "ContainerEntrypoint": ["/bin/sh", "-c"],
                "ContainerArguments": [SCRIPT.format(value=value, code=code)],
            },
            OutputDataConfig={"S3OutputPath": "s3://bucket/out"},
            ResourceConfig={"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
            StoppingCondition={"MaxRuntimeInSeconds": 60},
            **{"DebugHookConfig": {"S3OutputPath": "s3://bucket/tensors"}, **more},
            DebugRuleConfigurations=rules,
        )

    return start


def rule(name: str, limit: float, **more: str) -> dict:
    parameters = {"rule_to_invoke": name, "limit": str(limit), **more}
    return {"RuleConfigurationName": name, "RuleEvaluatorImage": RULES, "RuleParameters": parameters}


def judged(context: Context, name: str) -> dict[str, dict]:
    """The statuses by rule once all are final."""

    def final(job: dict) -> bool:
        return all(s["RuleEvaluationStatus"] != "InProgress" for s in job["DebugRuleEvaluationStatuses"])

    context.store.wait("training-job", name, final, 60)
    job = context.call("sagemaker", "DescribeTrainingJob", TrainingJobName=name)
    return {status["RuleConfigurationName"]: status for status in job["DebugRuleEvaluationStatuses"]}


def test_each_rule_is_a_processing_job_on_the_tensors_and_its_end_is_the_rules_status(context, create):
    create("judged", 5, [rule("Quiet", 10), rule("Loud", 1)])
    before = context.call("sagemaker", "DescribeTrainingJob", TrainingJobName="judged")
    assert [s["RuleEvaluationStatus"] for s in before["DebugRuleEvaluationStatuses"]] == ["InProgress"] * 2
    statuses = judged(context, "judged")
    assert statuses["Quiet"]["RuleEvaluationStatus"] == "NoIssuesFound"
    assert statuses["Loud"]["RuleEvaluationStatus"] == "IssuesFound"
    assert statuses["Loud"]["StatusDetails"].startswith("RuleEvaluationConditionMet: Evaluation of the rule Loud")
    assert statuses["Loud"]["LastModifiedTime"]
    name = statuses["Loud"]["RuleEvaluationJobArn"].rpartition("/")[2]
    job = context.call("sagemaker", "DescribeProcessingJob", ProcessingJobName=name)
    assert (job["ProcessingJobStatus"], job["AppSpecification"]["ImageUri"]) == ("Completed", RULES)
    assert job["TrainingJobArn"].endswith("training-job/judged")
    assert objects.read_bytes(context, "s3://bucket/out/judged/rule-output/Loud/value") == b"5.0"


def test_a_rule_that_cannot_be_evaluated_is_an_error_with_its_reason(context, create):
    create("text", "none", [rule("Loud", 1)])
    status = judged(context, "text")["Loud"]
    assert status["RuleEvaluationStatus"] == "Error"
    assert "could not convert string to float" in status["StatusDetails"]


def test_without_tensors_a_rule_is_an_error(context, create):
    create("nothing", 5, [rule("Loud", 1)], DebugHookConfig={"S3OutputPath": "s3://bucket/t", "LocalPath": "/opt/ml/x"})
    assert judged(context, "nothing")["Loud"]["RuleEvaluationStatus"] == "Error"


def test_the_tensors_of_a_training_that_failed_are_judged_too(context, create):
    create("failed", 5, [rule("Loud", 1)], code=1)
    assert judged(context, "failed")["Loud"]["RuleEvaluationStatus"] == "IssuesFound"
    assert context.store.get("training-job", "failed")["TrainingJobStatus"] == "Failed"


def test_a_rule_whose_processing_job_is_stopped_is_stopped(context, create):
    create("stopped", 5, [rule("Slow", 1, slow="1")])
    context.store.wait("training-job", "stopped", lambda job: job["TrainingJobStatus"] == "Completed", 30)
    arn = context.store.get("training-job", "stopped")["DebugRuleEvaluationStatuses"][0]["RuleEvaluationJobArn"]
    name = arn.rpartition("/")[2]
    context.store.wait("processing-job", name, lambda job: "ProcessingStartTime" in job, 30)
    context.call("sagemaker", "StopProcessingJob", ProcessingJobName=name)
    assert judged(context, "stopped")["Slow"]["RuleEvaluationStatus"] == "Stopped"


def test_what_a_killed_server_was_judging_is_an_error_after_the_next_start(context, create):
    from sagelocal.services.sagemaker.jobs import training_api

    create("killed", 5, [rule("Slow", 1, slow="1")])
    context.store.wait("training-job", "killed", lambda job: job["TrainingJobStatus"] == "Completed", 30)
    training_api.pick_up(context)
    status = judged(context, "killed")["Slow"]
    assert (status["RuleEvaluationStatus"], status["StatusDetails"]) == ("Error", training.CUT_OFF)


def test_the_event_of_a_training_job_carries_its_rules_statuses(context, create):
    told = []
    context.store.watch(
        "training-job", lambda name, before, after: told.append(of_change("training-job", before, after))
    )
    create("told", 5, [rule("Loud", 1)])
    judged(context, "told")
    state_events = [event for event in told if event]
    assert {event.detail_type for event in state_events} == {"SageMaker Training Job State Change"}
    found = [event.detail["DebugRuleEvaluationStatuses"][0] for event in state_events]
    assert found[0]["RuleEvaluationStatus"] == "InProgress"
    assert found[-1]["RuleEvaluationStatus"] == "IssuesFound"
    assert isinstance(found[-1]["LastModifiedTime"], int)


@pytest.mark.parametrize(
    ("rules", "more", "complaint"),
    [
        ([rule("Loud", 1), rule("Loud", 2)], {}, "names Loud twice"),
        ([rule(f"R{n}", 1) for n in range(21)], {}, "length less than or equal to 20"),
        ([{**rule("Loud", 1), "RuleEvaluatorImage": "acme:1"}], {}, "does not know how to run the image acme:1"),
    ],
)
def test_rules_that_cannot_run_are_refused_by_name(create, rules, more, complaint):
    with pytest.raises(ValidationException, match=complaint):
        create("refused", 5, rules, **more)
