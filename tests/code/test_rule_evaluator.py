"""rule_evaluator.py keeps the contract of a rule-evaluator container: environment in, exit code and message out."""

import json
import shutil

import pytest


@pytest.fixture
def container(tensors, tmp_path):
    """A container's tree with the tensors where SageMaker puts them."""
    shutil.copytree(tensors, tmp_path / "processing" / "input" / "tensors")
    return tmp_path


def message(container) -> str:
    path = container / "output" / "message"
    return path.read_text() if path.exists() else ""


def test_a_rule_that_finds_nothing_ends_well_and_says_nothing(script, container):
    env = {"SAGEMAKER_BASE_DIR": str(container), "rule_to_invoke": "VanishingGradient"}
    done = script("rule_evaluator", env=env)
    assert done.returncode == 0, done.stderr
    assert message(container) == ""
    assert json.loads((container / "processing/output/rule/findings.json").read_text()) == []


def test_a_rule_that_fires_ends_well_and_says_what_aws_says(script, container):
    env = {"SAGEMAKER_BASE_DIR": str(container), "rule_to_invoke": "VanishingGradient", "threshold": "1000"}
    done = script("rule_evaluator", env=env)
    assert done.returncode == 0, done.stderr
    assert message(container).startswith(
        "RuleEvaluationConditionMet: Evaluation of the rule VanishingGradient at step 0 resulted in the condition being"
    )
    assert "mean |gradient|" in message(container)
    assert json.loads((container / "processing/output/rule/findings.json").read_text())[0]["threshold"] == 1000


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"rule_to_invoke": "Overheating"}, "rule_to_invoke='Overheating' is no rule"),
        ({}, "rule_to_invoke='' is no rule"),
        ({"rule_to_invoke": "Overfit", "ratio_threshold": "much"}, "Overfit.ratio_threshold cannot be 'much'"),
    ],
)
def test_what_cannot_be_evaluated_fails_with_the_reason(script, container, env, words):
    done = script("rule_evaluator", env={"SAGEMAKER_BASE_DIR": str(container), **env})
    assert done.returncode == 1
    assert words in message(container) and "Traceback" not in done.stderr


def test_without_tensors_the_rule_is_an_error(script, tmp_path):
    done = script("rule_evaluator", env={"SAGEMAKER_BASE_DIR": str(tmp_path), "rule_to_invoke": "Overfit"})
    assert done.returncode == 1
    assert message(tmp_path).startswith("Overfit: ") and "no Debugger tensors" in message(tmp_path)
