"""debug.py: from saved tensors to the verdict that the gate reads."""

import json

import pytest
from breeds.container import InputError


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
    names = ["Overfit", "Overtraining", "VanishingGradient", "PoorWeightInitialization"]
    assert [rule["RuleConfigurationName"] for rule in verdict["rules"]] == names
    assert printed.count("NoIssuesFound") == 5


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
    assert (verdict["verdict"], verdict["blocking"]) == ("Error", 4)
    assert "no Debugger tensors" in verdict["summary"]


def test_damaged_tensors_are_an_error_that_blocks(judge, healthy):
    for events in healthy.glob("events/*/*"):
        events.write_bytes(b"damaged")
    verdict, _ = judge(healthy)
    assert verdict["verdict"] == "Error"
    assert verdict["blocking"] == 4


def test_a_missing_smdebug_is_an_error_that_blocks(script, tmp_path):
    (tmp_path / "shadow" / "smdebug").mkdir(parents=True)
    (tmp_path / "shadow" / "smdebug" / "__init__.py").write_text("raise ImportError('No module named smdebug')")
    env = {"PYTHONPATH": str(tmp_path / "shadow")}
    done = script("debug", "--tensors", tmp_path, "--output", tmp_path / "out", env=env)
    assert done.returncode == 0, done.stderr
    verdict = json.loads((tmp_path / "out" / "debug.json").read_text())
    assert (verdict["verdict"], verdict["blocking"]) == ("Error", 4)
    assert "smdebug cannot be imported" in verdict["summary"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--blocking-rules", "Overfit,Overheating"), "'Overheating' is not known"),
        (("--rule-parameters", "Overfit=3"), "'Overfit=3' cannot be read"),
        (("--rule-parameters", "Overheating.ratio=3"), "'Overheating' is not known"),
        (("--rule-parameters", "{broken"), "not a JSON object"),
        (("--rule-parameters", "Overfit.ratio=3"), "has no parameter 'ratio'"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(judge, tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        judge(tmp_path, *arguments)
