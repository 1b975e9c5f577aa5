"""What this project asks of a definition: errors in ours, advice for others'."""

import json

from pipeline.rules import RULES, as_advice
from sagelocal.definition import errors, lint
from tests.sagelocal.definition_cases import base, text_of


def test_a_model_may_be_registered_behind_a_condition_as_well_as_inside_one():
    document = base("abalone")
    register = document["Steps"][-1]["Arguments"]["IfSteps"].pop(0)
    document["Steps"].append(register)
    assert [f.rule for f in errors(lint(json.dumps(document), extra=RULES))] == ["register_is_gated"]
    register["DependsOn"] = ["AbaloneMSECond"]
    assert not errors(lint(json.dumps(document), extra=RULES))


def test_a_parameter_without_a_default_is_an_error_of_ours_and_advice_for_others():
    text = text_of({"definition": "abalone", "edits": [["drop", "", "Parameters.5.DefaultValue"]]})
    (finding,) = lint(text, extra=RULES)
    assert finding.field == "Parameters.MseThreshold.DefaultValue" and "schedule" in finding.fix and errors([finding])
    (advice,) = lint(text, extra=[as_advice(rule) for rule in RULES])
    assert advice.rule == finding.rule and not errors([advice])
    assert not lint(text)
