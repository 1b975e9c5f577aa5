"""References, functions and conditions: what a definition's expressions stand for."""

import json

import pytest

from sagelocal.definition import conditions, document, references
from sagelocal.definition.references import BadReference
from sagelocal.services.s3 import objects
from sagelocal.services.sagemaker.execution.functions import Scope

EVALUATION = {"metrics": {"accuracy": {"value": 0.94}, "by-class": [{"name": "beagle", "f1": 0.9}]}, "a b": [1, [2, 3]]}


@pytest.fixture
def scope(context):
    """The scope of an execution in which step Prepare has run and left an evaluation as a property file."""
    text = json.dumps(
        {
            "Parameters": [{"Name": "Epochs", "Type": "Integer"}],
            "Steps": [
                {
                    "Name": "Prepare",
                    "Type": "Processing",
                    "PropertyFiles": [
                        {"PropertyFileName": "Report", "OutputName": "out", "FilePath": "evaluation.json"}
                    ],
                }
            ],
        }
    )
    objects.create_bucket(context, "bucket")
    objects.write_bytes(context, "s3://bucket/out/evaluation.json", json.dumps(EVALUATION).encode())
    objects.write_bytes(context, "s3://bucket/out/broken.json", b"not json")
    properties = {
        "ProcessingJobName": "job-1",
        "ProcessingOutputConfig": {
            "Outputs": [
                {"OutputName": "other", "S3Output": {"S3Uri": "s3://bucket/other"}},
                {"OutputName": "out", "S3Output": {"S3Uri": "s3://bucket/out/"}},
            ]
        },
        "FinalMetricDataList": [{"MetricName": "validation:accuracy", "Value": 0.5}],
        "Environment": {"learning-rate": "0.1", "a.b": "dotted"},
    }
    variables = {"PipelineName": "p", "PipelineExecutionId": "abc"}
    return Scope(context, document.read(text), {"Epochs": 3}, variables, {"Prepare": properties})


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("Parameters.Epochs", 3),
        ("Execution.PipelineName", "p"),
        ("Execution.ProcessingJobName", "the-job"),
        ("Steps.Prepare.ProcessingJobName", "job-1"),
        ("Steps.Prepare.ProcessingOutputConfig.Outputs['out'].S3Output.S3Uri", "s3://bucket/out/"),
        ("Steps.Prepare.ProcessingOutputConfig.Outputs[0].S3Output.S3Uri", "s3://bucket/other"),
        ("Steps.Prepare.FinalMetricDataList['validation:accuracy'].Value", 0.5),
        ("Steps.Prepare.Environment['learning-rate']", "0.1"),
        ('Steps.Prepare.Environment["a.b"]', "dotted"),
    ],
)
def test_a_get_is_replaced_by_what_it_names_with_its_own_type(scope, expression, value):
    assert scope.resolve({"Deep": [{"Get": expression}]}, "the-job") == {"Deep": [value]}


def test_joins_nest_and_write_numbers_and_booleans_as_text(scope):
    inner = {"Std:Join": {"On": "-", "Values": [{"Get": "Parameters.Epochs"}, 0.25, True]}}
    assert scope.resolve({"Std:Join": {"On": "/", "Values": ["s3:/", inner, "end"]}}) == "s3://3-0.25-true/end"


def test_a_join_without_a_separator_concatenates(scope):
    assert scope.resolve({"Std:Join": {"Values": ["a", "b"]}}) == "ab"


def test_a_join_of_a_list_is_refused(scope):
    with pytest.raises(BadReference, match="Std:Join takes strings and numbers"):
        scope.resolve({"Std:Join": {"On": "", "Values": [["a"]]}})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metrics.accuracy.value", 0.94),
        ("$.metrics.accuracy.value", 0.94),
        ("metrics['by-class'][0].f1", 0.9),
        ("metrics.by-class[0]['name']", "beagle"),
        ("['a b'][1][0]", 2),
    ],
)
def test_json_get_reads_a_property_file_by_path(scope, path, value):
    file = {"Get": "Steps.Prepare.PropertyFiles.Report"}
    assert scope.resolve({"Std:JsonGet": {"PropertyFile": file, "Path": path}}) == value


def test_json_get_reads_an_s3_uri_that_is_joined(scope):
    uri = {"Std:Join": {"On": "/", "Values": ["s3://bucket/out", "evaluation.json"]}}
    assert scope.resolve({"Std:JsonGet": {"S3Uri": uri, "Path": "metrics.accuracy.value"}}) == 0.94


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            {"S3Uri": "s3://bucket/out/evaluation.json", "Path": "metrics.f1"},
            "has no metrics.f1: there is accuracy, by-class",
        ),
        ({"S3Uri": "s3://bucket/out/missing.json", "Path": "a"}, "cannot read s3://bucket/out/missing.json"),
        ({"S3Uri": "s3://nowhere/x.json", "Path": "a"}, "cannot read s3://nowhere/x.json"),
        ({"S3Uri": "s3://bucket/out/broken.json", "Path": "a"}, "is not JSON"),
        ({"S3Uri": "s3://bucket/out/evaluation.json", "Path": "a[b"}, "cannot be read from"),
    ],
)
def test_json_get_says_what_it_could_not_find(scope, call, said):
    with pytest.raises(BadReference) as problem:
        scope.resolve({"Std:JsonGet": call})
    assert said in str(problem.value)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("Steps.Prepare.ProcessingOutputConfig.Outputs['none']", "the list has 2 members: other, out"),
        ("Steps.Prepare.ProcessingOutputConfig.Outputs[7]", "has no ProcessingOutputConfig.Outputs[7]"),
        ("Steps.Prepare.ProcessingJobName[0]", "the value there is 'job-1'"),
        ("Steps.Other.X", "step Other has not run"),
    ],
)
def test_a_get_that_leads_nowhere_says_what_is_there(scope, expression, said):
    with pytest.raises(BadReference) as problem:
        scope.resolve({"Get": expression})
    assert said in str(problem.value)


def test_expressions_are_found_in_lists_functions_and_maps():
    tree = {"a": [{"Std:Join": {"On": "", "Values": [{"Get": "Parameters.X"}]}}], "b": {"c": {"Get": "Steps.S.Y"}}}
    found = [(found.field, references.kind(found.expression)) for found in references.walk(tree, "x")]
    assert found == [("x.a[0]", "Std:Join"), ("x.a[0].Std:Join.Values[0]", "Get"), ("x.b.c", "Get")]
    reference = references.parse("Steps.S.Y['k'][2].z")
    assert (reference.root, reference.name, reference.keys) == ("Steps", "S", ("Y", "k", 2, "z"))


@pytest.mark.parametrize("expression", ["Params.X", "Steps", "Steps.", "Steps.S.a[", "", "Steps.S['a"])
def test_an_expression_that_does_not_parse_is_a_bad_reference(expression):
    with pytest.raises(BadReference):
        references.parse(expression)


def compare(kind, left, right):
    return {"Type": kind, "LeftValue": left, "RightValue": right}


@pytest.mark.parametrize(
    ("condition", "outcome"),
    [
        (compare("Equals", 1, 1.0), True),
        (compare("Equals", "a", "b"), False),
        (compare("Equals", True, True), True),
        (compare("GreaterThan", 2, 1.5), True),
        (compare("GreaterThan", 1, 1), False),
        (compare("GreaterThanOrEqualTo", 1, 1), True),
        (compare("LessThan", 1, 1), False),
        (compare("LessThan", "2026-01-01", "2026-02-01"), True),
        (compare("LessThanOrEqualTo", 1, 1), True),
        ({"Type": "In", "QueryValue": "b", "Values": ["a", "b"]}, True),
        ({"Type": "In", "QueryValue": 1, "Values": ["1", True]}, False),
        ({"Type": "Not", "Condition": compare("Equals", 1, 2)}, True),
        ({"Type": "Or", "Conditions": [compare("Equals", 1, 2), compare("Equals", 2, 2)]}, True),
        ({"Type": "Or", "Conditions": [compare("Equals", 1, 2), compare("LessThan", 3, 2)]}, False),
    ],
)
def test_conditions_hold_as_their_names_say(condition, outcome):
    assert conditions.holds(condition) is outcome


@pytest.mark.parametrize(
    "condition", [compare("Equals", "1", 1), compare("Equals", True, 1), compare("LessThan", True, False)]
)
def test_comparing_different_types_or_unordered_ones_is_refused_rather_than_false(condition):
    with pytest.raises(conditions.CannotCompare):
        conditions.holds(condition)
