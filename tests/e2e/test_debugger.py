"""What the Debugger decides: managed rules as AWS would run them, the same verdict open, and a gate that refuses."""

import json
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from contract.rules import MANAGED_RULES
from pipeline.sample_data import draw_sample_data
from tests.e2e.commands import ROOT, last_json, pawline

BUCKET = "pawline-123456789012-us-east-1"


def test_before_the_first_run_there_is_nothing_to_show(state_dir, server):
    done = pawline(state_dir, "debug")
    assert done.returncode == 2
    assert "The pipeline was never started here." in done.stderr


@pytest.fixture(scope="module")
def run(state_dir: Path, server) -> dict:
    """A whole run with managed rules; whether the gate lets its model pass is not the question."""
    words = ("MaxTuningJobs=1", "FasterServing=off", "TensorBoard=on")
    done = pawline(state_dir, "run", "--json", *words, environment={"PAWLINE_DEBUGGER": "managed"})
    report = last_json(done)
    assert {step["name"]: step["status"] for step in report["steps"]}.get("Debug") == "Succeeded", done.stderr
    return report


@pytest.fixture(scope="module")
def training(run, client) -> dict:
    """DescribeTrainingJob of the run's Train step."""
    steps = client("sagemaker").list_pipeline_execution_steps(PipelineExecutionArn=run["execution_arn"])
    train = next(step for step in steps["PipelineExecutionSteps"] if step["StepName"] == "Train")
    name = train["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    return client("sagemaker").describe_training_job(TrainingJobName=name)


@pytest.fixture(scope="module")
def verdict(run, client) -> dict:
    return json.loads(client("s3").get_object(Bucket=BUCKET, Key=f"{output(run)}/debug.json")["Body"].read())


def output(run: dict) -> str:
    return f"pawline/runs/{run['execution_arn'].rpartition('/')[2]}/debug"


def test_the_rules_are_processing_jobs_whose_statuses_boto3_sees(training, client):
    statuses = {status["RuleConfigurationName"]: status for status in training["DebugRuleEvaluationStatuses"]}
    assert set(statuses) == set(MANAGED_RULES)
    for name, status in statuses.items():
        assert status["RuleEvaluationStatus"] in ("NoIssuesFound", "IssuesFound") and status["LastModifiedTime"]
        job = client("sagemaker").describe_processing_job(
            ProcessingJobName=status["RuleEvaluationJobArn"].rpartition("/")[2]
        )
        assert job["ProcessingJobStatus"] == "Completed" and job["TrainingJobArn"] == training["TrainingJobArn"]
        assert job["Environment"] == {"rule_to_invoke": name}


def test_debug_json_has_sagemakers_verdict_on_its_rules_and_ours_on_the_others(verdict, training):
    ours = {rule["RuleConfigurationName"]: rule["RuleEvaluationStatus"] for rule in verdict["rules"]}
    theirs = {s["RuleConfigurationName"]: s["RuleEvaluationStatus"] for s in training["DebugRuleEvaluationStatuses"]}
    assert theirs.items() <= ours.items()
    assert {"NotLearning", "LabelLeak"} <= set(ours)


def test_the_open_rules_come_to_the_same_verdict_on_the_same_tensors(verdict, training, state_dir, tmp_path):
    tensors = state_dir / "s3" / BUCKET / "pawline" / "tensors" / training["TrainingJobName"] / "debug-output"
    command = [sys.executable, "code/debug.py", "--tensors", str(tensors), "--output", str(tmp_path)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0
    opened = json.loads((tmp_path / "debug.json").read_text())
    assert states(opened) == states(verdict)
    assert (opened["verdict"], opened["blocking"]) == (verdict["verdict"], verdict["blocking"])


def states(found: dict) -> dict[str, tuple[str, bool]]:
    return {rule["RuleConfigurationName"]: (rule["RuleEvaluationStatus"], rule["blocks"]) for rule in found["rules"]}


def test_the_report_its_pictures_and_tensorboards_files_lie_beside_the_verdict(run, client):
    found = client("s3").list_objects_v2(Bucket=BUCKET, Prefix=f"{output(run)}/")["Contents"]
    names = {entry["Key"].removeprefix(f"{output(run)}/") for entry in found}
    assert {"debug.json", "debug.html", "losses.png", "gradients.png", "activations.png"} <= names
    assert any(name.startswith("tensorboard/training/") for name in names)


def test_debug_prints_the_table_and_fetches_the_report(run, verdict, state_dir):
    done = pawline(state_dir, "debug", run["execution_arn"], "--open")
    assert done.returncode == 0, done.stderr
    for rule in verdict["rules"]:
        assert rule["RuleConfigurationName"] in done.stdout
    assert f"{verdict['verdict']}, {verdict['blocking']} blocking." in done.stdout
    page = Path(done.stdout.strip().splitlines()[-1])
    assert page.name == "debug.html" and "<svg" in page.read_text()
    assert (page.parent / "losses.png").is_file()
    answer = last_json(pawline(state_dir, "debug", "--json"))
    assert answer["rules"] == verdict["rules"]


def test_an_execution_that_does_not_exist_is_named(run, state_dir):
    done = pawline(state_dir, "debug", "abcdefghijkl")
    assert done.returncode == 2 and "There is no execution" in done.stderr and "Traceback" not in done.stderr


def test_an_execution_that_never_came_to_its_debug_step_says_how_far_it_got(run, state_dir):
    started = last_json(pawline(state_dir, "start", "--json", "--follow", f"InputDataUri=s3://{BUCKET}/nothing/"))
    done = pawline(state_dir, "debug", started["execution_arn"])
    assert done.returncode == 2
    assert "has no Debug step that began" in done.stderr and "as far as Prepare" in done.stderr


def test_a_verdict_that_has_expired_is_said_to_be_gone(run, verdict, state_dir, client):
    client("s3").delete_object(Bucket=BUCKET, Key=f"{output(run)}/debug.html")
    done = pawline(state_dir, "debug", run["execution_arn"], "--open")
    assert done.returncode == 2 and "left no debug.html" in done.stderr
    client("s3").delete_object(Bucket=BUCKET, Key=f"{output(run)}/debug.json")
    done = pawline(state_dir, "debug", run["execution_arn"])
    assert done.returncode == 2 and "is not in the bucket any more" in done.stderr


def with_shuffled_labels(archive: Path, target: Path) -> Path:
    """The same photos under the same names, but each in the folder of a class drawn for it."""
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(target, "w") as shuffled:
        names = [name for name in source.namelist() if source.getinfo(name).file_size > 1000]
        folders = [Path(name).parent.as_posix() for name in names]
        for split in ("train", "valid", "test"):
            own = [number for number, folder in enumerate(folders) if f"/{split}/" in folder]
            drawn = random.Random(split).sample([folders[number] for number in own], len(own))
            for number, folder in zip(own, drawn, strict=True):
                shuffled.writestr(f"{folder}/{Path(names[number]).name}", source.read(names[number]))
    return target


@pytest.fixture(scope="module")
def shuffled(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("shuffled")
    drawn = draw_sample_data(root, images_per_class={"train": 20, "valid": 13, "test": 5})
    return with_shuffled_labels(drawn, root / "shuffled.zip")


def refused(state_dir, client, data: Path, *words: str, **environment: str) -> tuple[dict, str, dict]:
    """(report, what was said, debug.json) of a run that must end at the gate, with nothing registered.

    AccuracyThreshold=0: it is not the test accuracy that refuses it.
    """
    packages = client("sagemaker").list_model_packages()["ModelPackageSummaryList"]
    settings = ["ImageSize=32", "AugmentedViews=1", "Backbone=resnet18", "MaxTuningJobs=1", "AccuracyThreshold=0"]
    given = ["run", "--json", "--data", str(data), "--weights", "random", *settings, *words]
    done = pawline(state_dir, *given, environment=environment)
    assert done.returncode == 1, done.stderr
    report, said = last_json(done), " ".join(done.stderr.split())
    assert report["status"] == "Failed" and report["model_package_arn"] is None
    assert [step["name"] for step in report["steps"] if step["status"] == "Failed"] == ["Reject"], said
    assert not {"Register", "Deploy"} & {step["name"] for step in report["steps"]}
    assert client("sagemaker").list_model_packages()["ModelPackageSummaryList"] == packages
    verdict = json.loads(client("s3").get_object(Bucket=BUCKET, Key=f"{output(report)}/debug.json")["Body"].read())
    key = f"{output(report).removesuffix('debug')}evaluation/evaluation.json"
    evaluation = json.loads(client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read())
    assert evaluation["pawline"]["champion"]["worse"] == 0, "the champion must not be what refuses it"
    return report, said, verdict


@pytest.fixture(scope="module")
def refused_openly(state_dir, server, client, shuffled) -> tuple[dict, str, dict]:
    return refused(state_dir, client, shuffled)


def test_a_training_on_shuffled_labels_is_refused_by_the_rules_with_their_numbers(refused_openly):
    _, said, verdict = refused_openly
    assert verdict["verdict"] == "IssuesFound" and verdict["blocking"] > 0
    assert f"Debugger verdict IssuesFound with {verdict['blocking']} blocking rule(s): " in said
    (rule,) = [rule for rule in verdict["rules"] if rule["RuleConfigurationName"] == "NotLearning"]
    finding = rule["findings"][0]
    assert rule["blocks"] and finding["value"] <= finding["threshold"]
    finds = rule["StatusDetails"].removesuffix(finding["advice"]).rstrip(" .")
    assert f"NotLearning: {finds}" in said
    assert finds.startswith(f"validation accuracy {finding['value']:.1%} (") and "of 104) is not above" in finds
    assert "guessing gives 12.5%" in finds


def test_managed_rules_refuse_the_same_training_with_the_same_verdict(
    state_dir, server, client, shuffled, refused_openly
):
    """And a rule that is given parameters is judged by them, in the Debug step."""
    asked = ["BlockingRules=Overfit,NotLearning,Overtraining", "RuleParameters=Overtraining.patience_train=1"]
    report, said, verdict = refused(state_dir, client, shuffled, *asked, PAWLINE_DEBUGGER="managed")
    rules = {rule["RuleConfigurationName"]: rule for rule in verdict["rules"]}
    openly = {rule["RuleConfigurationName"]: rule for rule in refused_openly[2]["rules"]}
    steps = client("sagemaker").list_pipeline_execution_steps(PipelineExecutionArn=report["execution_arn"])
    train = next(step for step in steps["PipelineExecutionSteps"] if step["StepName"] == "Train")
    job = client("sagemaker").describe_training_job(
        TrainingJobName=train["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    )
    statuses = {s["RuleConfigurationName"]: s["RuleEvaluationStatus"] for s in job["DebugRuleEvaluationStatuses"]}
    for name in set(MANAGED_RULES) - {"Overtraining"}:
        assert statuses[name] == rules[name]["RuleEvaluationStatus"] == openly[name]["RuleEvaluationStatus"]
        assert not rules[name]["findings"], "SageMaker's verdict, not ours"
    assert {name: rule["RuleEvaluationStatus"] for name, rule in rules.items() if name not in MANAGED_RULES} == {
        name: rule["RuleEvaluationStatus"] for name, rule in openly.items() if name not in MANAGED_RULES
    }
    assert "NotLearning: validation accuracy " in said
    assert rules["Overtraining"]["RuleEvaluationStatus"] == "IssuesFound"
    assert rules["Overtraining"]["findings"], "ours, with the parameter"


@pytest.mark.parametrize("parameters", ["Overfit.ratio=1", "Overfit.patience=often", "Overheating.patience=1"])
def test_a_rule_parameter_that_is_not_known_is_refused_before_anything_starts(state_dir, server, parameters):
    done = pawline(state_dir, "run", f"RuleParameters={parameters}")
    assert done.returncode == 2 and "RuleParameters" in done.stderr and "Traceback" not in done.stderr
    assert parameters.partition(".")[0] in done.stderr and "Started" not in done.stdout + done.stderr
