"""Two ways to run the Debugger rules, and without them: what each changes in the definition."""

import json

import pytest

from contract.rules import BLOCKING_RULES, MANAGED_RULES, RULES
from pipeline import definition, parameters, rules, settings
from pipeline.errors import ParameterError, UserError
from pipeline.parameters import BY_NAME
from sagelocal.definition import lint


def document(**environment: str) -> dict:
    return json.loads(definition.definition(settings.from_environment(environment)))


def steps(found: dict) -> dict[str, dict]:
    return {step["Name"]: step for step in found["Steps"]}


@pytest.fixture(scope="module")
def managed() -> dict:
    return document(PAWLINE_DEBUGGER="managed", AWS_REGION="eu-west-1")


@pytest.fixture(scope="module")
def off() -> dict:
    return document(PAWLINE_DEBUGGER="off")


def test_open_is_the_default_and_asks_sagemaker_for_no_rules():
    found = document()
    assert found == document(PAWLINE_DEBUGGER="open")
    assert "DebugRuleConfigurations" not in steps(found)["Train"]["Arguments"]
    assert "--managed-rules" not in json.dumps(steps(found)["Debug"])


def test_managed_rules_are_evaluated_by_the_image_of_the_region(managed):
    rules = steps(managed)["Train"]["Arguments"]["DebugRuleConfigurations"]
    assert [rule["RuleConfigurationName"] for rule in rules] == list(MANAGED_RULES)
    assert all(rule["RuleParameters"] == {"rule_to_invoke": rule["RuleConfigurationName"]} for rule in rules)
    image = "929884845733.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-debugger-rules:latest"
    assert {rule["RuleEvaluatorImage"] for rule in rules} == {image}


def test_the_debug_step_is_told_whose_verdict_on_which_rules_to_wait_for(managed):
    words = steps(managed)["Debug"]["Arguments"]["AppSpecification"]["ContainerArguments"]
    assert words[words.index("--managed-rules") + 1] == ",".join(MANAGED_RULES)
    assert "Steps.Train.TrainingJobName" in json.dumps(words[words.index("--training-job") + 1])


@pytest.mark.parametrize("mode", ["open", "managed"])
def test_the_debug_step_and_the_training_get_the_rules_parameters(mode):
    found = steps(document(PAWLINE_DEBUGGER=mode))
    words = found["Debug"]["Arguments"]["AppSpecification"]["ContainerArguments"]
    given = {"Get": "Parameters.RuleParameters"}
    assert words[words.index("--rule-parameters") + 1] == given
    assert found["Train"]["Arguments"]["HyperParameters"]["rule-parameters"] == given


def test_without_the_debugger_training_has_no_hyperparameters_of_its_rules(off):
    assert not {"stop-on-issue", "rule-parameters"} & set(steps(off)["Train"]["Arguments"]["HyperParameters"])


def test_the_gate_is_the_same_for_both_ways(managed):
    assert steps(managed)["Gate"] == steps(document(AWS_REGION="eu-west-1"))["Gate"]


def test_off_saves_no_tensors_and_has_neither_step_nor_condition(off):
    assert "DebugHookConfig" not in steps(off)["Train"]["Arguments"]
    assert "Debug" not in steps(off)
    assert "debug" not in json.dumps(steps(off)["Gate"]["Arguments"]).lower()
    assert (
        len(steps(off)["Gate"]["Arguments"]["Conditions"])
        == len(steps(document())["Gate"]["Arguments"]["Conditions"]) - 1
    )
    assert "debugger=off" in steps(off)["Gate"]["Description"] and "debugger=off" in steps(off)["Train"]["Description"]
    assert not {"BlockingRules", "RuleParameters", "TensorBoard"} & {entry["Name"] for entry in off["Parameters"]}


@pytest.mark.parametrize("mode", settings.DEBUGGER_CHOICES)
def test_every_mode_is_a_definition_without_a_finding(mode):
    document = definition.definition(settings.from_environment({"PAWLINE_DEBUGGER": mode}))
    assert lint(document, extra=rules.RULES) == []


def test_the_rule_images_are_those_that_the_sdk_knows(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    from sagemaker.core.debugger import get_rule_container_image_uri

    for region in settings.RULE_ACCOUNTS:
        mine = settings.from_environment({"PAWLINE_DEBUGGER": "managed", "AWS_REGION": region}).rule_image
        assert mine == get_rule_container_image_uri("sagemaker-debugger-rules", region)


def test_an_image_of_ones_own_can_be_named():
    given = {"PAWLINE_DEBUGGER": "managed", "PAWLINE_RULE_IMAGE": "mine:1", "AWS_REGION": "eu-south-2"}
    assert settings.from_environment(given).rule_image == "mine:1"


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"PAWLINE_DEBUGGER": "maybe"}, "PAWLINE_DEBUGGER cannot be 'maybe'. Choose open, managed, off."),
        ({"PAWLINE_DEBUGGER": "managed", "AWS_REGION": "eu-south-2"}, "has no rule evaluator in eu-south-2"),
    ],
)
def test_a_choice_that_cannot_be_is_refused_with_the_way_out(environment, words):
    with pytest.raises(UserError) as refused:
        settings.from_environment(environment)
    assert words in f"{refused.value.headline} {refused.value.way_out}"


def test_every_rule_may_block_within_one_argument_of_a_container():
    """CreateProcessingJob: a word of ContainerArguments has at most 256 characters."""
    assert len(",".join(RULES)) <= 256
    assert BY_NAME["BlockingRules"].default == ",".join(BLOCKING_RULES)


def test_a_rule_that_is_unknown_cannot_end_a_training():
    with pytest.raises(ParameterError, match="StopOnIssue names 'Overheating'"):
        parameters.check({"StopOnIssue": "Overheating"})
    assert parameters.check({"StopOnIssue": "none"}) == {"StopOnIssue": "none"}
