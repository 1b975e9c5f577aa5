"""debug.py: from saved tensors to the verdict that the gate reads."""

import json
import re
import shutil

import numpy as np
import pytest
from breeds.base.container import InputError

from contract.rules import BLOCKING_RULES, DEFAULT_RULES, RULES


@pytest.fixture
def judge(scripts, monkeypatch, tmp_path, capsys):
    """Run debug.py's main in this process; returns (debug.json, what it printed)."""
    module = scripts("debug")

    def run(tensors, *arguments):
        command = ["debug.py", "--tensors", str(tensors), "--output", str(tmp_path / "out"), *arguments]
        monkeypatch.setattr("sys.argv", command)
        module.main()
        return json.loads((tmp_path / "out" / "debug.json").read_text()), capsys.readouterr().out

    return run


@pytest.fixture
def healthy(train, make_features, hook_configuration, tmp_path, monkeypatch):
    monkeypatch.setenv("SMDEBUG_CONFIG_FILE_PATH", str(hook_configuration(tmp_path, tmp_path / "tensors")))
    data = make_features(tmp_path / "f", num_train=300, dim=64, separation=0.6)
    train("--features", data, "--model-dir", tmp_path / "m", "--hidden-width", 128, "--batch-size", 32)
    return tmp_path / "tensors"


def test_a_healthy_training_passes_with_one_entry_per_rule(judge, healthy):
    verdict, printed = judge(healthy)
    assert (verdict["verdict"], verdict["blocking"], verdict["summary"]) == ("NoIssuesFound", 0, "no rule fired")
    assert tuple(rule["RuleConfigurationName"] for rule in verdict["rules"]) == DEFAULT_RULES
    assert printed.count("NoIssuesFound") == len(DEFAULT_RULES) + 1


def test_a_finding_names_tensor_step_value_threshold_and_advice(judge, healthy):
    verdict, printed = judge(healthy, "--rule-parameters", "VanishingGradient.threshold=1000")
    assert (verdict["verdict"], verdict["blocking"]) == ("IssuesFound", 1)
    rule = verdict["rules"][2]
    assert rule["RuleEvaluationStatus"] == "IssuesFound"
    assert set(rule["findings"][0]) == {"tensor", "step", "value", "threshold", "advice"}
    assert rule["findings"][0]["threshold"] == 1000
    assert len(rule["findings"]) <= 20
    assert verdict["summary"].startswith("VanishingGradient: mean |gradient| of gradient/Head_")
    assert "1 blocking" in printed


def test_a_rule_that_does_not_block_is_reported_and_not_counted(judge, healthy):
    arguments = ("--rule-parameters", '{"VanishingGradient": {"threshold": 1000}}', "--blocking-rules", "Overfit")
    verdict, _ = judge(healthy, *arguments)
    assert (verdict["verdict"], verdict["blocking"]) == ("IssuesFound", 0)


def test_missing_tensors_are_an_error_that_blocks_and_no_traceback(script, tmp_path):
    done = script("debug", "--tensors", tmp_path / "absent", "--output", tmp_path / "out")
    assert done.returncode == 0
    assert "Traceback" not in done.stdout + done.stderr
    verdict = json.loads((tmp_path / "out" / "debug.json").read_text())
    assert (verdict["verdict"], verdict["blocking"]) == ("Error", len(BLOCKING_RULES))
    assert "no Debugger tensors" in verdict["summary"]


def test_damaged_tensors_are_an_error_that_blocks(judge, healthy):
    for events in healthy.glob("events/*/*"):
        events.write_bytes(b"damaged")
    verdict, _ = judge(healthy)
    assert verdict["verdict"] == "Error"
    assert verdict["blocking"] == len(BLOCKING_RULES)


def test_a_missing_smdebug_is_an_error_that_blocks(script, tmp_path):
    (tmp_path / "shadow" / "smdebug").mkdir(parents=True)
    (tmp_path / "shadow" / "smdebug" / "__init__.py").write_text("raise ImportError('No module named smdebug')")
    env = {"PYTHONPATH": str(tmp_path / "shadow")}
    done = script("debug", "--tensors", tmp_path, "--output", tmp_path / "out", env=env)
    assert done.returncode == 0, done.stderr
    verdict = json.loads((tmp_path / "out" / "debug.json").read_text())
    assert (verdict["verdict"], verdict["blocking"]) == ("Error", len(BLOCKING_RULES))
    assert "smdebug cannot be imported" in verdict["summary"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--blocking-rules", "Overfit,Overheating"), "'Overheating' is not known"),
        (("--rule-parameters", "Overfit=3"), "'Overfit=3' cannot be read"),
        (("--rule-parameters", "Overheating.ratio=3"), "'Overheating' is not known"),
        (("--rule-parameters", "{broken"), "not a JSON object"),
        (("--rule-parameters", "[1]"), "cannot be read"),
        (("--rule-parameters", '{"Overfit": 3}'), "not a JSON object"),
        (
            ("--rule-parameters", "Overfit.ratio_threshold=high"),
            "Overfit.ratio_threshold cannot be 'high'",
        ),
        (("--rule-parameters", "Overfit.ratio=3"), "has no parameter 'ratio'"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(judge, tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        judge(tmp_path, *arguments)
    written = json.loads((tmp_path / "out" / "debug.json").read_text())
    assert written["verdict"] == "Error" and written["blocking"] == 1
    assert re.search(message, written["summary"])


def test_no_rule_parameters_is_what_the_pipeline_says_by_default(judge, healthy):
    assert judge(healthy, "--rule-parameters", "none")[0] == judge(healthy)[0]


def test_a_rule_with_parameters_of_its_own_is_not_left_to_sagemaker(judge, healthy, monkeypatch):
    from breeds.debugger import managed_rules

    asked = []

    def wait(job, names):
        asked.extend(names)
        return {name: ("NoIssuesFound", "") for name in names}

    monkeypatch.setattr(managed_rules, "wait", wait)
    (collections,) = healthy.glob("training.json")
    job = json.loads(collections.read_text()) | {"training_job": "job-1"}
    collections.write_text(json.dumps(job))
    managed = ("--training-job", "job-1", "--managed-rules", "Overfit,VanishingGradient")
    verdict, _ = judge(healthy, *managed, "--rule-parameters", "VanishingGradient.threshold=1000")
    states = {rule["RuleConfigurationName"]: rule["RuleEvaluationStatus"] for rule in verdict["rules"]}
    assert asked == ["Overfit"]
    assert (states["Overfit"], states["VanishingGradient"]) == ("NoIssuesFound", "IssuesFound")


def found(name: str, text: str, *, blocks: bool, advice: str = "Split the photos anew, by dog.") -> dict:
    finding = {"tensor": "t", "step": 1, "value": 1.0, "threshold": 0.1, "advice": advice}
    return {
        "RuleConfigurationName": name,
        "RuleEvaluationStatus": "IssuesFound",
        "StatusDetails": f"{text}. {advice}",
        "findings": [finding],
        "blocks": blocks,
    }


def test_a_summary_of_all_rules_fits_the_message_of_the_gate_and_begins_with_those_that_block(scripts):
    debug = scripts("debug")
    rules = [found(name, f"{name.lower()} " + "value 1.234 above 0.1 " * 9, blocks=False) for name in RULES]
    verdict = debug.verdict_of(rules, ["LabelLeak", "NotLearning"])
    said = verdict["summary"]
    assert len(said) <= debug.MAX_SUMMARY
    assert said.startswith("NotLearning: notlearning value 1.234")
    assert re.search(r"; and 1[34] more rules: ", said)
    assert all(name in said for name in RULES)
    assert [rule["StatusDetails"] for rule in verdict["rules"]] == [rule["StatusDetails"] for rule in rules]


def test_a_summary_drops_advice_before_findings_and_findings_before_names(scripts):
    debug = scripts("debug")
    advice = "Look at the photos, then at their labels, then at the folders they lie in; " * 3
    short = [found(name, "value 2 above 1", blocks=True, advice=advice) for name in ("Overfit", "NotLearning")]
    assert advice in debug.summary(short[:1])
    assert debug.summary(short * 2) == "; ".join(["Overfit: value 2 above 1", "NotLearning: value 2 above 1"] * 2)
    long = [found(name, "a value of 1.23 is above 0.1, " * 9, blocks=True) for name in DEFAULT_RULES[:4]]
    said = debug.summary(long)
    assert said.count("a value of 1.23") == 9 and said.endswith("; and 3 more rules: " + ", ".join(DEFAULT_RULES[1:4]))


@pytest.mark.parametrize("reason", ["word " * 1000, "x" * 5000])
def test_a_reason_without_an_end_is_cut_where_it_is_joined_into_a_message(scripts, reason):
    debug = scripts("debug")
    endless = {**found("Overfit", reason, blocks=True), "findings": []}
    for said in (debug.summary([endless]), debug.refused(reason)["summary"]):
        assert 500 < len(said) <= debug.MAX_SUMMARY and said.endswith("…")


def test_a_directory_named_in_passing_prints_the_table_and_writes_nothing(script, healthy):
    before = sorted(healthy.rglob("*"))
    done = script("debug", healthy, "--rules", "NotLearning", "--blocking-rules", "")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["rule", "NotLearning", "verdict:"]
    assert sorted(healthy.rglob("*")) == before


def test_a_rule_that_blocks_is_applied_though_not_asked_for(judge, healthy):
    verdict, _ = judge(healthy, "--rules", "Overfit", "--blocking-rules", "SaturatedActivation")
    states = {rule["RuleConfigurationName"]: rule["RuleEvaluationStatus"] for rule in verdict["rules"]}
    assert states == {"Overfit": "NoIssuesFound", "SaturatedActivation": "Error"}
    assert verdict["blocking"] == 1


def test_the_tensors_of_another_job_are_an_error(judge, healthy):
    verdict, _ = judge(healthy, "--training-job", "job-2")
    assert (verdict["verdict"], verdict["blocking"]) == ("Error", len(BLOCKING_RULES))
    assert "not of job-2" in verdict["summary"]


def test_two_trainings_in_one_directory_are_an_error(judge, healthy, tmp_path):
    shutil.copytree(healthy, tmp_path / "both" / "a")
    shutil.copytree(healthy, tmp_path / "both" / "b")
    verdict, _ = judge(tmp_path / "both")
    assert verdict["verdict"] == "Error" and "2 trainings" in verdict["summary"]


def test_a_training_that_was_killed_passes_no_rule(judge, script_process, make_features, hook_configuration, tmp_path):
    data = make_features(tmp_path / "f", num_train=300, dim=64, separation=0.6)
    env = {"SMDEBUG_CONFIG_FILE_PATH": str(hook_configuration(tmp_path, tmp_path / "tensors"))}
    arguments = ("--features", data, "--model-dir", tmp_path / "m", "--epochs", 1000, "--patience", 1000)
    process = script_process("train", *arguments, env=env)
    while "epoch=3 " not in process.stdout.readline():
        assert process.poll() is None
    process.kill()
    process.wait()
    verdict, _ = judge(tmp_path / "tensors")
    states = {rule["RuleEvaluationStatus"] for rule in verdict["rules"]}
    assert "NoIssuesFound" not in states
    assert verdict["blocking"] == len(BLOCKING_RULES)
    assert "did not come to its end" in verdict["summary"]


def test_a_loss_that_became_nan_is_a_finding_with_its_step_and_no_pass(
    judge, train, make_features, hook_configuration, tmp_path, monkeypatch
):
    monkeypatch.setenv("SMDEBUG_CONFIG_FILE_PATH", str(hook_configuration(tmp_path, tmp_path / "tensors")))
    data = make_features(tmp_path / "f", num_train=300, dim=64, separation=0.6)
    values = np.load(data / "train-algo-1-features.npy")
    values[0, 7] = np.nan
    np.save(data / "train-algo-1-features.npy", values)
    with pytest.raises(InputError, match="became nan"):
        train("--features", data, "--model-dir", tmp_path / "m", "--hidden-width", 64)
    verdict, _ = judge(tmp_path / "tensors")
    rules = {rule["RuleConfigurationName"]: rule for rule in verdict["rules"]}
    assert "NoIssuesFound" not in {rule["RuleEvaluationStatus"] for rule in verdict["rules"]}
    assert (verdict["verdict"], verdict["blocking"]) == ("IssuesFound", len(BLOCKING_RULES))
    (finding,) = [f for f in rules["ExplodingTensor"]["findings"] if "Loss" in f["tensor"]]
    assert finding["value"] == "nan" and f"step {finding['step']}" in rules["ExplodingTensor"]["StatusDetails"]
    json.loads((tmp_path / "out" / "debug.json").read_text(), parse_constant=pytest.fail)
    assert verdict["summary"].startswith("ExplodingTensor: ")
    assert "not a finite number at step" in (tmp_path / "out" / "debug.html").read_text()


def test_processes_whose_tensors_are_missing_are_an_error_and_not_waited_for(judge, healthy):
    (collections,) = healthy.glob("collections/*/*.json")
    content = json.loads(collections.read_text())
    content["_meta"]["num_workers"] = 2
    collections.write_text(json.dumps(content))
    verdict, _ = judge(healthy)
    assert verdict["verdict"] == "Error" and "tensors of 2 processes" in verdict["summary"]
