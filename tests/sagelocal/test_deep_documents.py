"""JSON, YAML and CBOR from outside: what is too deep or cannot be read is refused in AWS's words."""

import base64
import json

import pytest
from werkzeug.test import Client

from sagelocal.core.errors import AwsError
from sagelocal.core.json import MAX_DEPTH, TooDeep, read
from sagelocal.definition import lint
from sagelocal.definition.references import BadReference
from sagelocal.gateway.protocols import cbor
from sagelocal.gateway.server import Application
from sagelocal.services.awslambda.urls import messages
from sagelocal.services.cloudformation import template
from sagelocal.services.events import patterns
from sagelocal.services.iam import policy
from sagelocal.services.s3 import objects
from sagelocal.services.sagemaker.execution.functions import Scope
from sagelocal.services.sagemaker.jobs import toolkit
from tests.signing import signed

DEPTHS = [MAX_DEPTH + 1, 500, 990, 5_000, 100_000]
SHAPES = {"lists": ("[", "1", "]"), "objects": ('{"a":', "1", "}"), "both": ('[{"a":', "1", "}]")}


def deep(depth: int, shape: str = "lists") -> str:
    begin, inside, end = SHAPES[shape]
    return begin * depth + inside + end * depth


def ask(context, service: str, body: str | bytes, path: str = "/", **headers: str):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = body.encode() if isinstance(body, str) else body
    headers |= signed("POST", f"{context.url}{path}", service, sent, headers)
    client = Client(Application(context, on_stop=lambda: None))
    return client.open(path, method="POST", base_url=context.url, headers=headers, data=body)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_text_is_read_up_to_the_depth_that_is_allowed_and_not_beyond(shape):
    allowed = MAX_DEPTH // (2 if shape == "both" else 1)
    assert read(deep(allowed, shape)) == json.loads(deep(allowed, shape))
    for depth in DEPTHS:
        with pytest.raises(TooDeep, match=str(MAX_DEPTH)):
            read(deep(depth, shape))


def test_brackets_in_texts_and_beside_each_other_make_nothing_deep():
    assert read(json.dumps(["[{" * 1000])) == ["[{" * 1000]
    assert read("[" + "[]," * 1000 + "[]]") == [[]] * 1001


@pytest.mark.parametrize("text", ['"\\ud800"', '{"\\uDFFF": 1}', b'["\\uDc00\\ud800"]', b"\xff", "{", "1 1", ""])
def test_what_is_no_text_of_whole_characters_is_not_read(text):
    with pytest.raises(ValueError):
        read(text)
    assert read('"\\ud83d\\ude00"') == "😀"


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_deep_request_is_a_serialization_exception(context, depth, shape):
    text = f'{{"ModelName": {deep(depth, shape)}}}'
    refused = ask(context, "sagemaker", text, X_Amz_Target="SageMaker.DescribeModel")
    assert (refused.status_code, json.loads(refused.text)["__type"]) == (400, "SerializationException")
    refused = ask(context, "lambda", text, "/2015-03-31/functions")
    assert (refused.status_code, json.loads(refused.text)["__type"]) == (400, "SerializationException")
    refused = ask(context, "lambda", text, "/2015-03-31/functions/f/invocations")
    assert (refused.status_code, json.loads(refused.text)["__type"]) == (400, "InvalidRequestContentException")


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "1",
        "null",
        '"x"',
        "{",
        '{"ModelName": "\\ud800"}',
        b"\xff\xfe{",
        b'{"ModelName": "\xff"}',
        "9" * 5000,
        "\0",
    ],
)
def test_a_body_that_is_no_json_object_is_a_serialization_exception(context, body):
    refused = ask(context, "sagemaker", body, X_Amz_Target="SageMaker.DescribeModel")
    assert (refused.status_code, json.loads(refused.text)["__type"]) == (400, "SerializationException")


def test_base64_that_is_none_is_a_serialization_exception(context):
    body = json.dumps({"FunctionName": "f", "Role": "r", "Code": {"ZipFile": "a"}})
    refused = ask(context, "lambda", body, "/2015-03-31/functions")
    assert (refused.status_code, json.loads(refused.text)["__type"]) == (400, "SerializationException")


@pytest.mark.parametrize(
    "body", [b"\x81" * 1000, b"\xa1aX" + b"\x81" * 200 + b"\x01", b"\x80", b"\xbf", b"\x5b" + b"\xff" * 8]
)
def test_cbor_that_is_deep_or_broken_is_a_serialization_exception(context, body):
    path = "/service/GraniteServiceVersion20100801/operation/ListMetrics"
    refused = ask(context, "monitoring", body, path, Content_Type=cbor.CONTENT_TYPE)
    assert (refused.status_code, cbor.read(refused.data)["__type"]) == (400, "SerializationException")


def test_moto_is_not_asked_what_is_too_deep(context):
    for depth in DEPTHS:
        refused = ask(context, "sqs", f'{{"QueueName": {deep(depth)}}}', X_Amz_Target="AmazonSQS.CreateQueue")
        assert (refused.status_code, json.loads(refused.text)["__type"]) == (400, "SerializationException")


def test_a_deep_form_is_no_failure_of_the_server(context):
    for name in (
        "A" + ".A" * 50_000,
        "Tags" + ".member.1" * 20_000,
        "A=x&A.",
        "A.=x&A",
        "Tags.member.²",
        "Tags.member.1.Key.x",
        "=&.=.&..=..",
    ):
        refused = ask(context, "iam", f"Action=CreateRole&{name}=x", Content_Type="application/x-www-form-urlencoded")
        assert refused.status_code == 400, name[:20]


@pytest.mark.parametrize("depth", DEPTHS)
def test_deep_policies_patterns_and_events_are_refused_by_their_service(context, depth):
    with pytest.raises(AwsError, match="MalformedPolicyDocument"):
        policy.parse(deep(depth))
    with pytest.raises(patterns.InvalidEventPatternException):
        patterns.parse(f'{{"detail": {deep(depth, "objects")}}}')
    with pytest.raises(AwsError, match="ValidationException"):
        context.call("events", "TestEventPattern", EventPattern='{"source": ["a"]}', Event=f'{{"a": {deep(depth)}}}')
    entry = {"Source": "s", "DetailType": "t", "Detail": f'{{"a": {deep(depth)}}}'}
    assert context.call("events", "PutEvents", Entries=[entry])["Entries"][0]["ErrorCode"] == "MalformedDetail"


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_deep_definition_is_one_finding(depth):
    (finding,) = lint(f'{{"Version": "2020-12-01", "Steps": {deep(depth)}}}')
    assert "nested too deeply" in finding.message


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_deep_property_file_is_a_bad_reference(context, depth):
    objects.create_bucket(context, "bucket")
    objects.write_bytes(context, "s3://bucket/deep.json", deep(depth).encode())
    scope = Scope(context, None, {}, {})
    with pytest.raises(BadReference, match="is not JSON"):
        scope.resolve({"Std:JsonGet": {"S3Uri": "s3://bucket/deep.json", "Path": "a"}})


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_deep_hyperparameter_is_the_text_it_is(depth):
    assert toolkit.decoded({"a": deep(depth)}) == {"a": deep(depth)}


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_deep_answer_of_a_function_url_is_a_bad_gateway(depth):
    assert messages.response(f'{{"statusCode": 200, "a": {deep(depth)}}}').status_code == 502


@pytest.mark.parametrize(
    "text",
    ["a: " + "[" * 25_000 + "]" * 25_000, "- " * 20_000, "{" * 5_000, "? " * 20_000, deep(MAX_DEPTH + 1, "objects")],
    ids=lambda text: text[:8],
)
def test_a_deep_template_is_refused_and_does_not_end_the_process(text):
    with pytest.raises(template.TemplateError, match="levels"):
        template.load(text)


def test_a_template_has_no_aliases_that_would_multiply():
    with pytest.raises(template.TemplateError, match="YAML aliases are not allowed"):
        template.load("Resources: {A: &a {Type: X}, B: *a}")


def test_deep_xml_is_read_or_refused_and_does_not_end_the_process(context):
    objects.create_bucket(context, "bucket")
    for body in ("<Delete>" + "<a>" * 100_000 + "</a>" * 100_000 + "</Delete>", "<a>" * 100_000):
        assert ask(context, "s3", body, "/bucket?delete").status_code == 400


@pytest.mark.parametrize("token", ["\u00b2", "9" * 5000, "-1", "x", "\u0663"])
@pytest.mark.parametrize(
    ("service", "operation", "member"),
    [
        *(("sagemaker", f"List{kind}", "NextToken") for kind in ("Models", "TrainingJobs", "Pipelines")),
        ("logs", "DescribeLogGroups", "nextToken"),
        ("lambda", "ListFunctions", "Marker"),
        ("iam", "ListRoles", "Marker"),
        *(("cloudwatch", operation, "NextToken") for operation in ("DescribeAlarms", "ListMetrics")),
        ("scheduler", "ListSchedules", "NextToken"),
        ("service-quotas", "ListServiceQuotas", "NextToken"),
        ("application-autoscaling", "DescribeScalableTargets", "NextToken"),
    ],
)
def test_a_token_of_a_page_that_is_no_place_is_refused(context, service, operation, member, token):
    needed = {"ServiceQuotas": {"ServiceCode": "sagemaker"}, "ScalableTargets": {"ServiceNamespace": "sagemaker"}}
    more = next((given for name, given in needed.items() if operation.endswith(name)), {})
    with pytest.raises(AwsError) as refused:
        context.call(service, operation, **more, **{member: token})
    assert refused.value.status == 400


@pytest.mark.parametrize("moment", [1e300, -1e18])
def test_a_time_that_no_calendar_has_is_refused(context, moment):
    refused = ask(context, "sagemaker", json.dumps({"CreationTimeAfter": moment}), X_Amz_Target="SageMaker.ListModels")
    assert (refused.status_code, json.loads(refused.text)["__type"]) == (400, "ValidationException")


def test_numbers_that_are_none_are_refused_by_s3(context):
    objects.create_bucket(context, "bucket")
    client = Client(Application(context, on_stop=lambda: None))

    def status(method: str, path: str, body: bytes = b"", **headers: str) -> int:
        sent = signed(method, f"{context.url}{path}", "s3", body, headers)
        return client.open(path, method=method, base_url=context.url, headers=sent, data=body).status_code

    assert status("PUT", "/bucket/k", b"text") == 200
    for number in ("9" * 5000, "x", "-1"):
        assert status("GET", f"/bucket?max-keys={number}") == 400
        assert status("PUT", f"/bucket/k?partNumber={number}&uploadId=u") in (400, 404)
        assert status("GET", "/bucket/k", Range=f"bytes={number}-") in (200, 206)
        assert status("PUT", "/bucket?tagging", f'<?xml version="1.0" encoding="{number[:20]}"?><a/>'.encode()) == 400
    assert status("PUT", "/bucket?tagging", b'<?xml version="1.0" encoding="utf-7"?><a/>') == 400


def test_a_deep_client_context_is_refused(context):
    text = base64.b64encode(deep(5000).encode()).decode()
    refused = ask(context, "lambda", "{}", "/2015-03-31/functions/f/invocations", X_Amz_Client_Context=text)
    assert refused.status_code in (400, 404)
