"""Templates resolved: short tags, functions, conditions, parameters, and what is refused before anything is made."""

import json
import time

import pytest

from sagelocal.core.patterns import Worker
from sagelocal.services.cloudformation import parameters, plan, template
from sagelocal.services.cloudformation.expressions import Scope
from sagelocal.services.cloudformation.template import TemplateError

STACK = {"StackName": "dogs", "StackId": "arn:aws:cloudformation:us-east-1:123456789012:stack/dogs/1"}


def resolved(yaml: str):
    """The value of a YAML expression, with parameters A and List, a mapping, and a resource Queue."""
    values = {"A": "apple", "List": ["x", "y"], "AWS::Region": "us-east-1", "Number": "3"}
    conditions = template.load(
        "{Resources: {Q: {Type: T}}, Conditions: {Good: !Equals [a, a], Bad: !Not [!Condition Good], "
        "Both: !And [!Condition Good, !Condition Bad], Any: !Or [!Condition Bad, !Condition Good]}}"
    )["Conditions"]
    scope = Scope(
        values=values,
        resource=lambda logical, attribute: f"<{logical}.{attribute or 'Ref'}>",
        mappings={"Sizes": {"small": {"gb": "1"}}},
        condition_expressions=conditions,
    )
    loaded = template.load(f"Resources: {{Q: {{Type: T, Properties: {{V: {yaml}}}}}}}")
    return scope.resolve(loaded["Resources"]["Q"]["Properties"]).get("V", "absent")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("!Ref A", "apple"),
        ("!Ref Queue", "<Queue.Ref>"),
        ("!GetAtt Queue.Arn", "<Queue.Arn>"),
        ("!GetAtt [Queue, Arn]", "<Queue.Arn>"),
        ("!Sub '${A} ${AWS::Region} ${!A}'", "apple us-east-1 ${A}"),
        ("!Sub '${Queue.Arn} ${Queue}'", "<Queue.Arn> <Queue.Ref>"),
        ("!Sub ['${Mine}-${A}', {Mine: !Ref Number}]", "3-apple"),
        ("!Join ['-', [a, !Ref A, 1, true]]", "a-apple-1-true"),
        ("!Join [',', !Ref List]", "x,y"),
        ("!Select [1, !Ref List]", "y"),
        ("!Split ['/', a/b]", ["a", "b"]),
        ("!If [Good, 1, 2]", 1),
        ("!If [Both, 1, 2]", 2),
        ("!If [Any, [1], 2]", [1]),
        ("!If [Bad, 1, !Ref AWS::NoValue]", "absent"),
        ("[1, !If [Bad, 2, !Ref AWS::NoValue], 3]", [1, 3]),
        ("!FindInMap [Sizes, small, gb]", "1"),
        ("!Base64 a", "YQ=="),
        ("{Fn::Join: ['', [a, {Ref: A}]]}", "aapple"),
        ("'2012-10-17'", "2012-10-17"),
    ],
)  # fmt: skip
def test_functions_give_what_cloudformation_documents(expression, value):
    assert resolved(expression) == value


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("!Select [7, !Ref List]", "nonexistent value at index 7"),
        ("!FindInMap [Sizes, huge, gb]", "mapping for Sizes::huge::gb"),
        ("!If [Maybe, 1, 2]", "Unresolved condition Maybe"),
        ("!ImportValue a", "does not know Fn::ImportValue"),
        ("!Join [a]", "Fn::Join takes a list of 2 arguments"),
    ],
)
def test_a_function_that_cannot_be_resolved_is_named(expression, said):
    with pytest.raises(TemplateError, match=said):
        resolved(expression)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Resources: [", "YAML not well-formed"),
        ("just text", "unsupported structure"),
        ("Resources: {}", "At least one Resources member"),
        ("Resources: {Q: {}}", "Resource Q needs a Type"),
        ("{Resources: {Q: {Type: T}}, Surprise: 1}", "Surprise"),
        ("{Resources: {Q: {Type: T, Propertys: {}}}}", "Q has unknown attributes Propertys"),
        ("{Resources: {Q: {Type: T}}, Transform: AWS::Serverless-2016-10-31}", "runs no transforms"),
        (f"Resources: {{Q: {{Type: '{'x' * 51_200}'}}}}", "may not exceed 51200 bytes"),
    ],
)
def test_text_that_is_no_template_is_refused(text, said):
    with pytest.raises(TemplateError, match=said):
        template.load(text)


def wanted(context, text: str, **texts: str):
    return plan.want(context, STACK, text, texts)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Resources: {Q: {Type: AWS::Gizmo::Thing}}", r"Unrecognized resource types: \[AWS::Gizmo::Thing\]"),
        ("Resources: {Q: {Type: AWS::SQS::Queue, DependsOn: R}}", r"Unresolved resource dependencies \[R\]"),
        ("Resources: {Q: {Type: AWS::SQS::Queue, Properties: {QueueName: !Ref R}}}", r"dependencies \[R\]"),
        (
            "Resources: {A: {Type: AWS::SQS::Queue, DependsOn: B}, B: {Type: AWS::SNS::Topic, DependsOn: [A]}}",
            "Circular dependency between resources: .*A.*B",
        ),
        (
            "{Conditions: {Bad: !Equals [a, b]}, Resources: {A: {Type: AWS::SQS::Queue, Condition: Bad}, "
            "B: {Type: AWS::SNS::Topic, Properties: {TopicName: !GetAtt A.QueueName}}}}",
            r"dependencies \[A\]",
        ),
    ],
)
def test_a_template_that_cannot_be_made_is_refused_as_a_whole(context, text, said):
    with pytest.raises(TemplateError, match=said):
        wanted(context, text)


def test_resources_come_after_those_they_refer_to(context):
    text = """
Resources:
  Topic: {Type: AWS::SNS::Topic, Properties: {TopicName: !Sub "${Queue.QueueName}-t"}}
  Queue: {Type: AWS::SQS::Queue, DependsOn: Key}
  Key: {Type: AWS::KMS::Key, Properties: {KeyPolicy: {}}}
"""
    assert wanted(context, text).order == ("Key", "Queue", "Topic")


def test_a_text_full_of_unclosed_braces_is_resolved_at_once(context):
    begin = time.monotonic()
    queue = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Fn::Sub": "${AWS::Region}" + "${" * 25_000}}}
    assert wanted(context, json.dumps({"Resources": {"Q": queue}})).order == ("Q",)
    assert time.monotonic() - begin < 10


DECLARED = {
    "Size": {"Type": "Number", "MinValue": 1, "MaxValue": 9, "Default": 3},
    "Mode": {"Type": "String", "AllowedValues": ["on", "off"], "Default": "off"},
    "Name": {"Type": "String", "AllowedPattern": "[a-z]+"},
    "Nets": {"Type": "CommaDelimitedList", "Default": "a, b"},
}


def given(**values: str) -> list[dict]:
    return [{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()]


def test_parameters_take_given_then_default_values():
    texts = parameters.values(DECLARED, given(Name="dogs", Size="9"), {}, Worker())
    assert texts == {"Size": "9", "Mode": "off", "Name": "dogs", "Nets": "a, b"}
    assert parameters.resolved(DECLARED, texts)["Nets"] == ["a", "b"]


def test_a_previous_value_is_used_when_asked_for():
    kept = parameters.values(DECLARED, [{"ParameterKey": "Name", "UsePreviousValue": True}], {"Name": "cats"}, Worker())
    assert kept["Name"] == "cats"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, r"\[Name\] must have values"),
        ({"Name": "dogs", "Colour": "red"}, r"\[Colour\] do not exist in the template"),
        ({"Name": "Dogs"}, "'Name' failed to satisfy constraint: must match pattern"),
        ({"Name": "dogs", "Size": "ten"}, "'Size' must be a number"),
        ({"Name": "dogs", "Size": "10"}, "'Size' is 10, which is not within 1 and 9"),
        ({"Name": "dogs", "Mode": "maybe"}, "'Mode' must be one of AllowedValues: on, off"),
    ],
)
def test_a_refused_parameter_is_named_with_the_rule(values, said):
    with pytest.raises(TemplateError, match=said):
        parameters.values(DECLARED, given(**values), {}, Worker())
