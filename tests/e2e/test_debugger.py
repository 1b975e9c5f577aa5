"""What the Debugger decides: managed rules as AWS would run them, the same verdict open, and a gate that refuses."""

import json
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pipeline.parameters import MANAGED_RULES
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


def test_a_training_on_shuffled_labels_is_refused_by_the_rules_with_their_numbers(state_dir, server, client, tmp_path):
    """AccuracyThreshold=0: it is not the test accuracy that refuses it."""
    packages = client("sagemaker").list_model_packages()["ModelPackageSummaryList"]
    drawn = draw_sample_data(tmp_path, images_per_class={"train": 20, "valid": 13, "test": 5})
    data = with_shuffled_labels(drawn, tmp_path / "shuffled.zip")
    settings = ["ImageSize=32", "AugmentedViews=1", "Backbone=resnet18", "MaxTuningJobs=1", "AccuracyThreshold=0"]
    words = ["run", "--json", "--data", str(data), "--weights", "random", *settings]
    done = pawline(state_dir, *words)
    assert done.returncode == 1, done.stderr
    report = last_json(done)
    assert report["status"] == "Failed" and report["model_package_arn"] is None
    (failed,) = [step for step in report["steps"] if step["status"] == "Failed"]
    said = " ".join(done.stderr.split())
    assert failed["name"] == "Reject", said
    assert "Debugger verdict IssuesFound" in said
    assert "NotLearning: validation accuracy " in said and "of 104) is not above" in said and "guessing gives " in said
    assert client("sagemaker").list_model_packages()["ModelPackageSummaryList"] == packages
