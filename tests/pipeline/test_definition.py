"""The definition: one document, the same bytes everywhere, no account needed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import definition, settings
from pipeline.parameters import PARAMETERS

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def document() -> dict:
    return json.loads(definition.definition(settings.from_environment({})))


def print_definition() -> bytes:
    """`pawline definition` with an empty environment, no home, and no network where namespaces allow."""
    command = [sys.executable, "-m", "pipeline", "definition"]
    without_network = ["unshare", "-n", *command]
    works = subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode == 0
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONHASHSEED": "random"}
    done = subprocess.run(without_network if works else command, env=environment, cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_two_processes_without_credentials_or_network_print_the_same_bytes():
    first, second = print_definition(), print_definition()
    assert first == second
    assert json.loads(first)["Version"] == "2020-12-01"


def test_the_steps_run_in_the_promised_order(document):
    assert [step["Name"] for step in document["Steps"]] == [
        "Prepare", "Embed", "Tune", "Train", "Debug", "Champion", "Evaluate", "Gate",
    ]  # fmt: skip
    gate = document["Steps"][-1]["Arguments"]
    assert [step["Name"] for step in gate["IfSteps"]] == ["Register", "Deploy"]
    assert [step["Type"] for step in gate["ElseSteps"]] == ["Fail"]


def test_the_champion_is_looked_up_with_the_candidate_and_evaluated_beside_it(document):
    champion, evaluate = (next(s for s in document["Steps"] if s["Name"] == n) for n in ("Champion", "Evaluate"))
    trained = {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}
    assert champion["Arguments"] == {
        "action": "champion", "model_package_group": "pawline", "candidate": trained,
    }  # fmt: skip
    inputs = {i["InputName"]: i["S3Input"]["S3Uri"] for i in evaluate["Arguments"]["ProcessingInputs"]}
    assert inputs["champion"] == {"Get": "Steps.Champion.OutputParameters['model_data']"}
    assert inputs["model"] == trained


def test_the_gate_asks_that_the_champion_is_not_better_and_says_what_was_compared(document):
    gate = document["Steps"][-1]["Arguments"]
    asked = {c["LeftValue"]["Std:JsonGet"]["Path"]: (c["Type"], c["RightValue"]) for c in gate["Conditions"]}
    assert asked["pawline.champion.worse"] == ("LessThanOrEqualTo", 0)
    message = gate["ElseSteps"][0]["Arguments"]["ErrorMessage"]["Std:Join"]["Values"]
    assert "pawline.champion.summary" in [v["Std:JsonGet"]["Path"] for v in message if "Std:JsonGet" in v]


def all_steps(document: dict) -> list[dict]:
    gate = document["Steps"][-1]["Arguments"]
    return document["Steps"] + gate["IfSteps"] + gate["ElseSteps"]


def test_every_step_has_a_title_and_a_description_for_studio(document):
    assert all(step["DisplayName"] and step["Description"] for step in all_steps(document))


def test_every_job_step_is_cached_and_retried(document):
    jobs = [step for step in all_steps(document) if step["Type"] in ("Processing", "Training", "Tuning")]
    assert len(jobs) == 6
    assert all(step["CacheConfig"] == {"Enabled": True, "ExpireAfter": "P30D"} for step in jobs)
    assert all(step["RetryPolicies"] for step in jobs)


def test_prepare_reads_and_writes_its_cache_under_one_prefix_that_no_execution_changes(document):
    prepare = next(step for step in document["Steps"] if step["Name"] == "Prepare")["Arguments"]
    read = {entry["InputName"]: entry["S3Input"] for entry in prepare["ProcessingInputs"]}["cache"]
    outputs = {entry["OutputName"]: entry["S3Output"] for entry in prepare["ProcessingOutputConfig"]["Outputs"]}
    written = outputs["new-cache"]
    assert read["S3Uri"] == written["S3Uri"] and isinstance(read["S3Uri"], str)
    words = prepare["AppSpecification"]["ContainerArguments"]
    assert words[words.index("--cache") + 1] == read["LocalPath"]
    assert words[words.index("--new-cache") + 1] == written["LocalPath"]


def test_a_host_of_embed_downloads_the_manifest_and_its_share_of_each_splits_shards(document):
    embed = next(step for step in document["Steps"] if step["Name"] == "Embed")["Arguments"]
    inputs = {entry["InputName"]: entry["S3Input"] for entry in embed["ProcessingInputs"]}
    sharded = {name for name, found in inputs.items() if found["S3DataDistributionType"] == "ShardedByS3Key"}
    assert sharded == {"train", "valid", "test"}
    assert inputs["manifest"]["S3DataDistributionType"] == "FullyReplicated"
    prepared = {"Get": "Steps.Prepare.ProcessingOutputConfig.Outputs['prepared'].S3Output.S3Uri"}
    folders = {"manifest": "manifest", **{split: f"shards/{split}" for split in sharded}}
    for name, folder in folders.items():
        assert inputs[name]["S3Uri"] == {"Std:Join": {"On": "/", "Values": [prepared, f"{folder}/"]}}
        assert inputs[name]["LocalPath"] == f"/opt/ml/processing/input/prepared/{folder}"


def test_evaluate_downloads_the_manifest_and_the_test_shards_alone(document):
    evaluate = next(step for step in document["Steps"] if step["Name"] == "Evaluate")["Arguments"]
    paths = {
        entry["S3Input"]["LocalPath"].removeprefix("/opt/ml/processing/input/")
        for entry in evaluate["ProcessingInputs"]
    }
    assert paths == {"model", "champion", "prepared/manifest", "prepared/shards/test", "code"}


def test_every_parameter_has_a_default_because_schedules_need_it(document):
    assert [entry["Name"] for entry in document["Parameters"]] == [parameter.name for parameter in PARAMETERS]
    assert all("DefaultValue" in entry for entry in document["Parameters"])


def test_numbers_reach_text_fields_as_text(document):
    train = next(step for step in document["Steps"] if step["Name"] == "Train")
    for name, value in train["Arguments"]["HyperParameters"].items():
        reference = value.get("Get", "") if isinstance(value, dict) else ""
        parameter = next((p for p in PARAMETERS if reference == f"Parameters.{p.name}"), None)
        assert parameter is None or parameter.type is str, f"{name} would arrive as a bare {parameter.type.__name__}"


def test_cache_keys_do_not_name_the_execution(document):
    keys = {
        "Processing": ("AppSpecification", "Environment", "ProcessingInputs"),
        "Training": (
            "AlgorithmSpecification",
            "CheckpointConfig",
            "DebugHookConfig",
            "HyperParameters",
            "InputDataConfig",
        ),
        "Tuning": ("HyperParameterTuningJobConfig",),
    }
    for step in document["Steps"]:
        for key in keys.get(step["Type"], ()):
            assert "Execution." not in json.dumps(step["Arguments"].get(key, "")), f"{step['Name']}.{key}"


def test_training_keeps_checkpoints_where_its_script_looks_for_them(document):
    train = next(step for step in document["Steps"] if step["Name"] == "Train")["Arguments"]
    assert train["CheckpointConfig"]["LocalPath"] == train["HyperParameters"]["checkpoints"] == "/opt/ml/checkpoints"
    assert "Steps.Tune.BestTrainingJob.TrainingJobName" in json.dumps(train["CheckpointConfig"]["S3Uri"])


def test_processing_and_training_use_the_same_bundle(document):
    prepare, train = (next(s for s in document["Steps"] if s["Name"] == name) for name in ("Prepare", "Train"))
    mounted = next(i for i in prepare["Arguments"]["ProcessingInputs"] if i["InputName"] == "code")["S3Input"]["S3Uri"]
    fetched = train["Arguments"]["HyperParameters"]["sagemaker_submit_directory"]
    assert mounted.removesuffix("src/") == fetched.removesuffix("sourcedir.tar.gz")


def test_the_document_fits_into_the_request():
    assert len(definition.definition(settings.from_environment({}))) < 100 * 1024


def test_the_training_image_is_one_that_the_sdk_knows(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    from sagemaker.core import image_uris

    known = image_uris.retrieve(
        "pytorch-amzn2023", "us-east-1", version="2.13", instance_type="ml.m5.xlarge", image_scope="training"
    )
    assert settings.from_environment({}).training_image == known
