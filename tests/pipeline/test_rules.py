"""What this project asks of a definition: errors in ours, advice for others'."""

import json

import pytest

from contract import metrics
from pipeline import definition, settings
from pipeline.rules import ADVICE, RULES, as_advice
from sagelocal.definition import errors, lint
from tests.sagelocal.definition_cases import base, text_of


def test_a_model_may_be_registered_behind_a_condition_as_well_as_inside_one():
    document = base("abalone")
    register = document["Steps"][-1]["Arguments"]["IfSteps"].pop(0)
    document["Steps"].append(register)
    assert [f.rule for f in errors(lint(json.dumps(document), extra=ADVICE))] == ["register_is_gated"]
    register["DependsOn"] = ["AbaloneMSECond"]
    assert not errors(lint(json.dumps(document), extra=ADVICE))


def test_a_parameter_without_a_default_is_an_error_of_ours_and_advice_for_others():
    text = text_of({"definition": "abalone", "edits": [["drop", "", "Parameters.5.DefaultValue"]]})
    (finding,) = lint(text, extra=ADVICE)
    assert finding.field == "Parameters.MseThreshold.DefaultValue" and "schedule" in finding.fix and errors([finding])
    (advice,) = lint(text, extra=[as_advice(rule) for rule in ADVICE])
    assert advice.rule == finding.rule and not errors([advice])
    assert not lint(text)


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ({"Name": "validation:acc", "Regex": "validation:acc=([0-9.]+)"}, "print no metric validation:acc"),
        ({"Name": "train:loss", "Regex": "train_loss=([0-9.]+)"}, "does not find the value in 'train:loss=0.9375'"),
        ({"Name": "train:loss", "Regex": "train:loss=([0-9])"}, "does not find the value"),
        ({"Name": "train:loss", "Regex": metrics.regex("train:loss")}, ""),
    ],
)
def test_our_metric_definitions_find_what_the_scripts_print(metric, said):
    document = json.loads(definition.definition(settings.from_environment({"AWS_REGION": "us-east-1"})))
    train = next(step for step in document["Steps"] if step["Type"] == "Training")
    train["Arguments"]["AlgorithmSpecification"]["MetricDefinitions"] = [metric]
    findings = [finding for finding in lint(json.dumps(document), extra=RULES) if finding.rule == "metrics_are_printed"]
    assert [said in finding.message for finding in findings] == ([True] if said else [])
