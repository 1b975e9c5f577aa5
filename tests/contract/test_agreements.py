"""What the rooms agree on goes together: the definition's hyperparameters with the script's, bounds with AWS's own."""

import json
import re

import botocore.session
import pytest
from botocore.exceptions import ClientError
from breeds.base.metrics import EpochMetrics
from breeds.training import hyperparameters

from contract import metrics
from contract.deployment import DeployEvent
from contract.gone import is_gone
from contract.hyperparameters import Hyperparameters
from contract.s3 import bucket_and_key
from contract.settings import named
from pipeline import definition, parameters, settings


@pytest.fixture(scope="module")
def steps() -> dict[str, dict]:
    found = json.loads(definition.definition(settings.from_environment({})))["Steps"]
    return {step["Name"]: step["Arguments"] for step in found}


def test_train_and_every_corner_of_the_tuning_ranges_are_hyperparameters_that_the_script_takes(steps):
    ranges = steps["Tune"]["HyperParameterTuningJobConfig"]["ParameterRanges"]
    for member, pick in (("MinValue", 0), ("MaxValue", -1)):
        corner = {entry["Name"]: entry[member] for entry in ranges["ContinuousParameterRanges"]}
        corner |= {entry["Name"]: entry["Values"][pick] for entry in ranges["CategoricalParameterRanges"]}
        hyperparameters.parse(Hyperparameters, [f"--{name}={value}" for name, value in corner.items()])
    sent = {*steps["Train"]["HyperParameters"], *steps["Tune"]["TrainingJobDefinition"]["StaticHyperParameters"]}
    ours = {name for name in sent if not name.startswith("sagemaker_")} - {"checkpoints"}
    assert ours and {name.replace("-", "_") for name in ours} <= set(named(Hyperparameters))


def test_the_expressions_find_in_a_printed_line_what_was_measured():
    measured = EpochMetrics(
        epoch=3, train_loss=1.25, train_accuracy=0.5, validation_loss=float("1e-3"), validation_accuracy=1.0, seconds=2
    )
    line = measured.line("best ")
    found = {each["Name"]: float(re.search(each["Regex"], line)[1]) for each in metrics.DEFINITIONS}
    assert found == {name: value for name, value in measured.as_json().items() if name != "epoch"}
    assert metrics.OBJECTIVE in found


@pytest.mark.parametrize(
    ("member", "shape"),
    [
        ("serverless_memory_mb", "ServerlessMemorySizeInMB"),
        ("serverless_max_concurrency", "ServerlessMaxConcurrency"),
        ("canary_wait_seconds", "WaitIntervalInSeconds"),
        ("canary_wait_seconds", "TerminationWaitInSeconds"),
        ("data_capture_percent", "SamplingPercentage"),
    ],
)
def test_bounds_of_the_deploy_event_are_those_of_sagemakers_service_model(member, shape):
    aws = botocore.session.get_session().get_service_model("sagemaker").shape_for(shape).metadata
    own = named(DeployEvent)[member].metadata
    assert (own["low"], own["high"]) == (aws["min"], aws["max"])


def test_every_member_that_a_parameter_sets_has_its_bounds():
    members = named(DeployEvent)
    setting = [each for each in parameters.PARAMETERS if each.event_member]
    assert len(setting) == 12
    for each in setting:
        about = members[each.event_member].metadata
        assert (each.minimum, each.maximum) == (about["low"], about["high"]), each.name


@pytest.mark.parametrize(
    ("code", "message", "gone"),
    [
        ("ValidationException", 'Could not find model "m".', True),
        ("ResourceNotFoundException", "", True),
        ("NoSuchBucket", "The specified bucket is away", True),
        ("404", "Not Found", True),
        ("ValidationException", "Stack with id pawline does not exist", True),
        ("ValidationException", "Cannot update in-progress endpoint", False),
        ("AccessDenied", "not authorized", False),
    ],
)
def test_each_services_words_for_gone_are_known(code, message, gone):
    assert is_gone(ClientError({"Error": {"Code": code, "Message": message}}, "Describe")) is gone


def test_an_s3_address_is_taken_apart_and_another_is_refused():
    assert bucket_and_key("s3://bucket/a/b c/", ValueError) == ("bucket", "a/b c/")
    assert bucket_and_key("s3://bucket", ValueError) == ("bucket", "")
    for bad in ("s3://", "s3:///key", "https://bucket/key", "/tmp/x"):
        with pytest.raises(ValueError, match="is no S3 address"):
            bucket_and_key(bad, ValueError)
