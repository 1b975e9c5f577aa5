"""Pipeline parameters: one definition each, checked before anything starts."""

from pathlib import Path

import pytest

from pipeline import parameters
from pipeline.errors import ParameterError

DOCS = Path(__file__).parent.parent.parent / "docs" / "parameters.md"


def test_values_are_typed():
    typed = parameters.check({"Epochs": "3", "AccuracyThreshold": "0.9", "Backbone": "resnet18"})
    assert typed == {"Epochs": 3, "AccuracyThreshold": 0.9, "Backbone": "resnet18"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"Epoch": "3"}, "no parameter Epoch. Did you mean Epochs?"),
        ({"Epochs": "0"}, "Epochs cannot be '0': it is out of bounds. Allowed: 1 to 1000"),
        ({"Epochs": "three"}, "it is not a whole number"),
        ({"AccuracyThreshold": "1.5"}, "Allowed: 0 to 1"),
        ({"AccuracyThreshold": "nan"}, "out of bounds"),
        ({"Backbone": "vgg16"}, "resnet50 | resnet18 | mobilenet_v2"),
        ({"InputDataUri": "/tmp/dogs"}, "does not start with s3://"),
        ({"EndpointMinInstances": "5"}, "more than EndpointMaxInstances 3"),
        ({"EndpointInstanceType": "m5.large"}, "does not start with ml.. Allowed: ml.… | serverless"),
        ({"ServerlessMemoryMB": "3000"}, "steps of 1024"),
        ({"EndpointInstanceType": "serverless", "DataCapturePercent": "10"}, "cannot capture data"),
        ({"CanaryPercent": "60"}, "Allowed: 0 to 50"),
        ({"BlockingRules": "Overfit,Underfit"}, "'Underfit', which is no rule"),
        ({"RuleParameters": "Overheating.a=1"}, "RuleParameters: Rule 'Overheating' is not known. Rules: Overfit, "),
        ({"RuleParameters": "Overfit.ratio=1"}, "Rule Overfit has no parameter 'ratio'. It has start_step, patience"),
        ({"RuleParameters": "Overfit.patience=2.5"}, "Overfit.patience cannot be '2.5'. It must be a whole number"),
        ({"RuleParameters": "Overfit.delta"}, "cannot be read. Write Rule.parameter=value"),
        ({"RuleParameters": '{"Overfit": {"patience": 3}}'}, "cannot be read. Write Rule.parameter=value"),
        ({"RuleParameters": ""}, "The rule parameters are empty. Write none"),
        ({"RuleParameters": "AllZero.collection_names=" + "weights," * 40}, "AWS takes 256"),
        ({"TuningStrategy": "Hyperband", "TuningEarlyStopping": "Auto"}, "Leave it Off: Hyperband ends trials itself"),
    ],
)
def test_a_wrong_value_is_refused_with_a_way_out(given, message):
    with pytest.raises(ParameterError) as refused:
        parameters.check(given)
    assert message in str(refused.value)


def test_the_endpoint_may_be_serverless():
    given = {"EndpointInstanceType": "serverless", "ServerlessMemoryMB": "2048"}
    assert parameters.check(given) == {"EndpointInstanceType": "serverless", "ServerlessMemoryMB": 2048}
    with pytest.raises(ParameterError, match="start with ml"):
        parameters.check({"TrainingInstanceType": "serverless"})


def test_a_word_without_an_equals_sign_is_no_parameter():
    with pytest.raises(ParameterError, match="Write Name=value"):
        parameters.parse_assignments(["Epochs"])


def test_every_default_obeys_its_own_bounds():
    parameters.check({p.name: str(p.default) for p in parameters.PARAMETERS if p.default is not None})


def test_the_table_in_the_docs_is_the_one_made_from_the_code():
    assert parameters.markdown_table() in DOCS.read_text()
