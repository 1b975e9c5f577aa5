"""Rule parameters as a person writes them."""

import pytest

from contract import rules


class Refused(Exception):
    """What a room would raise."""


@pytest.mark.parametrize("text", ["none", " none "])
def test_none_is_no_parameters(text):
    assert rules.parse(text, Refused) == {}


def test_assignments_become_values_of_their_parameters_types():
    text = (
        "Overfit.ratio_threshold=0.3, Overfit.patience=3,ExplodingTensor.only_nan = TRUE,LossNotDecreasing.mode=eval,"
    )
    assert rules.parse(text, Refused) == {
        "Overfit": {"ratio_threshold": 0.3, "patience": 3},
        "ExplodingTensor": {"only_nan": True},
        "LossNotDecreasing": {"mode": "EVAL"},
    }


def test_a_value_may_hold_commas():
    found = rules.parse("AllZero.collection_names=weights,gradients,AllZero.threshold=50", Refused)
    assert found == {"AllZero": {"collection_names": "weights,gradients", "threshold": 50.0}}


def test_a_word_without_its_rule_is_refused_and_not_taken_for_a_part_of_the_value_before_it():
    with pytest.raises(Refused, match="'patience=3' cannot be read"):
        rules.parse("Overfit.ratio_threshold=0.3,patience=3", Refused)


@pytest.mark.parametrize(
    ("text", "headline", "way_out"),
    [
        ("", "The rule parameters are empty.", "Write none"),
        ("Overheating.a=1", "Rule 'Overheating' is not known.", "Rules: Overfit, Overtraining"),
        ("Overfit.ratio=1", "Rule Overfit has no parameter 'ratio'.", "It has start_step, patience, ratio_threshold."),
        ("Overfit.patience=2.5", "Overfit.patience cannot be '2.5'.", "It must be a whole number >= 0."),
        ("Overfit.patience=-1", "Overfit.patience cannot be '-1'.", "It must be a whole number >= 0."),
        ("Overfit.ratio_threshold=nan", "Overfit.ratio_threshold cannot be 'nan'.", "It must be a number >= 0."),
        ("ExplodingTensor.only_nan=maybe", "ExplodingTensor.only_nan cannot be 'maybe'.", "It must be True or False."),
        ("AllZero.tensor_regex=(", "AllZero.tensor_regex cannot be '('.", "It must be a regular expression."),
        ("LossNotDecreasing.mode=PREDICT", "LossNotDecreasing.mode cannot be 'PREDICT'.", "GLOBAL, TRAIN or EVAL."),
    ],
)
def test_what_cannot_be_is_refused_with_a_headline_and_a_way_out(text, headline, way_out):
    with pytest.raises(Refused) as refused:
        rules.parse(text, Refused)
    said = refused.value.args
    assert said[0] == headline and way_out in said[1]


def test_a_parameter_whose_default_is_negative_may_be_negative():
    found = rules.parse("SaturatedActivation.threshold_tanh_min=-3", Refused)
    assert found == {"SaturatedActivation": {"threshold_tanh_min": -3.0}}


def test_every_default_is_a_value_that_its_parameter_may_have():
    given = {
        rule: {name: value for name, value in values.items() if value is not None}
        for rule, values in rules.PARAMETERS.items()
    }
    assert rules.checked(given, Refused) == given


def test_rules_that_block_or_that_sagemaker_evaluates_are_applied_by_default():
    assert {*rules.BLOCKING_RULES, *rules.MANAGED_RULES} <= set(rules.DEFAULT_RULES)
    assert {*rules.DEFAULT_RULES, *rules.OTHER_RULES} == set(rules.RULES)
