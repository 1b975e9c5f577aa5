"""The main job on the drawn pictures, as a user runs it, and what can be done with its result."""

import csv
import io
import json
import re
import zipfile
from pathlib import Path

import pytest

from tests.e2e.commands import ROOT, last_json, pawline

JOB_STEPS = ["Prepare", "Embed", "Tune", "Train", "Debug", "Evaluate"]


@pytest.fixture(scope="module")
def first_run(state_dir: Path, server) -> dict:
    done = pawline(state_dir, "run", "--json")
    assert done.returncode == 0, done.stderr
    return last_json(done)


def by_name(report: dict) -> dict[str, dict]:
    return {step["name"]: step for step in report["steps"]}


def test_drawn_pictures_become_a_served_classifier(first_run):
    assert first_run["status"] == "Succeeded"
    steps = by_name(first_run)
    assert set(steps) == {*JOB_STEPS, "Champion", "Gate", "Register", "Deploy"}
    assert {step["status"] for step in steps.values()} == {"Succeeded"}
    assert first_run["metrics"]["test:top1"] >= 0.90
    assert first_run["metrics"]["test:top5"] >= first_run["metrics"]["test:top1"]
    assert first_run["model_package_arn"].endswith("model-package/pawline/1")


def test_the_report_has_the_members_that_the_readme_shows(first_run):
    (example,) = re.findall(r"```\n(\{\"execution_arn\".*?)\n```", (ROOT / "README.md").read_text(), re.DOTALL)
    shown = json.loads(example.replace(", …]", "]"))
    assert set(first_run) == set(shown)
    assert set(first_run["steps"][0]) == set(shown["steps"][0])
    assert set(shown["prediction"]) <= set(first_run["prediction"])


def test_a_test_photo_is_predicted_through_the_function(first_run):
    prediction = first_run["prediction"]
    true_breed = Path(prediction["file"]).parent.name.partition(".")[2].replace("_", " ").lower()
    assert prediction["breed"] == true_breed
    assert 0 < prediction["probability"] <= 1


def test_the_endpoint_is_in_service_and_scales_within_its_bounds(first_run, client):
    endpoint = client("sagemaker").describe_endpoint(EndpointName=first_run["endpoint"])
    assert endpoint["EndpointStatus"] == "InService"
    targets = client("application-autoscaling").describe_scalable_targets(ServiceNamespace="sagemaker")
    (target,) = targets["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 3)
    policies = client("application-autoscaling").describe_scaling_policies(ServiceNamespace="sagemaker")
    tracking = policies["ScalingPolicies"][0]["TargetTrackingScalingPolicyConfiguration"]
    assert (tracking["TargetValue"], tracking["ScaleInCooldown"], tracking["ScaleOutCooldown"]) == (600.0, 300, 60)


def test_the_model_package_carries_its_evaluation(first_run, client):
    package = client("sagemaker").describe_model_package(ModelPackageName=first_run["model_package_arn"])
    assert package["ModelApprovalStatus"] == "Approved"
    assert package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"].endswith("/evaluation.json")


def test_broken_files_are_listed_with_their_reasons(first_run, client):
    execution = first_run["execution_arn"].rpartition("/")[2]
    body = client("s3").get_object(
        Bucket="pawline-123456789012-us-east-1", Key=f"pawline/runs/{execution}/prepared/manifest/quarantine.csv"
    )["Body"]
    rows = list(csv.DictReader(io.StringIO(body.read().decode())))
    assert len(rows) == 4
    assert all(row["path"] and row["reason"] for row in rows)


def test_the_same_run_again_reuses_every_job(first_run, state_dir):
    again = last_json(pawline(state_dir, "run", "--json"))
    assert again["status"] == "Succeeded"
    assert {name for name, step in by_name(again).items() if step["cached"]} == set(JOB_STEPS)
    assert again["metrics"] == first_run["metrics"]
    assert again["seconds"] < 20


def test_a_photo_on_disk_can_be_predicted(first_run, state_dir, tmp_path):
    with zipfile.ZipFile(state_dir / "sample-dogs.zip") as archive:
        name = next(n for n in archive.namelist() if "/test/" in n)
        photo = tmp_path / "dog.jpg"
        photo.write_bytes(archive.read(name))
    answer = last_json(pawline(state_dir, "predict", "--file", str(photo), "--json"))
    probabilities = [entry["probability"] for entry in answer["predictions"]]
    assert len(probabilities) == 5
    assert probabilities == sorted(probabilities, reverse=True)


def test_a_url_to_this_machine_is_refused_by_the_function(first_run, state_dir):
    done = pawline(state_dir, "predict", "--url", "https://127.0.0.1/dog.jpg")
    assert done.returncode == 2
    assert "No prediction" in done.stderr


def test_a_text_file_is_no_photo(first_run, state_dir):
    done = pawline(state_dir, "predict", "--file", __file__)
    assert done.returncode == 2
    assert "No prediction" in done.stderr


def test_logs_show_what_a_step_printed(first_run, state_dir):
    done = pawline(state_dir, "logs", "Train")
    assert done.returncode == 0
    assert "validation:accuracy=" in done.stdout


def test_a_model_that_is_worse_than_the_champion_is_refused_with_both_numbers(first_run, state_dir, client):
    group = {"ModelPackageGroupName": "pawline"}
    before = client("sagemaker").list_model_packages(**group)["ModelPackageSummaryList"]
    done = pawline(
        state_dir, "run", "--json", "AccuracyThreshold=0", "Epochs=1", "MaxTuningJobs=1", "FasterServing=off"
    )
    report = last_json(done)
    assert (done.returncode, report["status"]) == (1, "Failed")
    mine, theirs = report["metrics"]["test:top1"], first_run["metrics"]["test:top1"]
    assert f"candidate {mine:.4f} against champion {theirs:.4f}" in done.stderr
    assert ": worse;" in done.stderr
    assert client("sagemaker").list_model_packages(**group)["ModelPackageSummaryList"] == before


def test_the_gate_refuses_with_the_numbers_and_registers_nothing(first_run, state_dir, client):
    def packages() -> int:
        return len(client("sagemaker").list_model_packages(ModelPackageGroupName="pawline")["ModelPackageSummaryList"])

    before = packages()
    done = pawline(
        state_dir, "run", "--json", "AccuracyThreshold=1", "Epochs=1", "MaxTuningJobs=1", "FasterServing=off"
    )
    report = last_json(done)
    assert done.returncode == 1
    assert report["status"] == "Failed"
    assert "Register" not in by_name(report)
    assert f"test top-1 {report['metrics']['test:top1']}" in done.stderr
    assert "(at least 1" in done.stderr
    assert packages() == before
