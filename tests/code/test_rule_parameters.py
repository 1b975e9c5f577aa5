"""Rule parameters as a person writes them, in the pipeline and in the job."""

import pytest
from breeds.base.container import InputError
from breeds.debugger import rule_parameters
from breeds.debugger.rules import RULES

from pipeline import rule_parameters as of_the_pipeline


@pytest.mark.parametrize("text", ["", "none", " none "])
def test_none_and_nothing_are_no_parameters(text):
    assert rule_parameters.parse(text) == {}


def test_assignments_and_json_say_the_same():
    text = "Overfit.ratio_threshold=0.3, Overfit.patience=3,NotLearning.margin = 0.2,"
    by_rule = {"Overfit": {"ratio_threshold": "0.3", "patience": "3"}, "NotLearning": {"margin": "0.2"}}
    assert rule_parameters.parse(text) == by_rule
    assert rule_parameters.parse('{"Overfit": {"patience": 3}}') == {"Overfit": {"patience": 3}}


def test_a_value_may_hold_commas():
    text = "AllZero.collection_names=weights,gradients,AllZero.threshold=50"
    assert rule_parameters.parse(text) == {"AllZero": {"collection_names": "weights,gradients", "threshold": "50"}}
    of_the_pipeline.check(text)


def test_a_word_without_its_rule_is_refused_and_not_taken_for_a_part_of_the_value_before_it():
    with pytest.raises(InputError, match="'patience=3' cannot be read"):
        rule_parameters.parse("Overfit.ratio_threshold=0.3,patience=3")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Overfit.patience=2.5", "Overfit.patience='2.5' is not a whole number"),
        ("Overfit.patience=-1", "Overfit.patience='-1' is not a number >= 0"),
        ("Overfit.patience=nan", "is not a number >= 0"),
        ("ExplodingTensor.only_nan=maybe", "neither True nor False"),
        ("AllZero.tensor_regex=(", "AllZero.tensor_regex='\\(' is no regular expression"),
        ("LossNotDecreasing.mode=PREDICT", "is not one of GLOBAL, TRAIN, EVAL"),
        ("Overfit.ratio=1", "Overfit has no parameter 'ratio'. It has start_step, patience, ratio_threshold"),
    ],
)
def test_a_value_out_of_place_is_refused_by_both_naming_rule_and_parameter(text, message):
    from pipeline.errors import ParameterError

    with pytest.raises(InputError, match=message):
        rule_parameters.check(rule_parameters.parse(text))
    rule, _, name = text.partition("=")[0].partition(".")
    with pytest.raises(ParameterError, match=f"{rule}.*{name}"):
        of_the_pipeline.check(text)


@pytest.mark.parametrize("text", ["SaturatedActivation.threshold_tanh_min=-3", "LossNotDecreasing.mode=eval"])
def test_what_one_allows_the_other_does(text):
    rule_parameters.check(rule_parameters.parse(text))
    of_the_pipeline.check(text)


def test_both_divide_a_text_at_the_same_commas():
    assert rule_parameters.BETWEEN == of_the_pipeline.BETWEEN


def test_the_pipeline_knows_every_parameter_of_every_rule():
    known = {rule: {name: kind(RULES[rule], name) for name in RULES[rule].defaults} for rule in RULES}
    assert known == of_the_pipeline.RULE_PARAMETERS


def kind(rule, name: str) -> str:
    default = rule.defaults[name]
    if isinstance(default, bool):
        return of_the_pipeline.FLAG
    if isinstance(default, str):
        texts = of_the_pipeline.REGEX if name.endswith("_regex") else of_the_pipeline.TEXT
        return of_the_pipeline.PHASE if rule.choices.get(name) == ("GLOBAL", "TRAIN", "EVAL") else texts
    if isinstance(default, int):
        return of_the_pipeline.WHOLE
    return of_the_pipeline.SIGNED if default is not None and default < 0 else of_the_pipeline.NUMBER
