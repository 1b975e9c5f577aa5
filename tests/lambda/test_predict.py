"""The predict function: its handler under a Lambda context, with boto3 speaking to an endpoint over real HTTP."""

import base64
import functools
import io
import json
import logging
import socket
import subprocess
import sys

import guard
import hypothesis
import pytest
from budget import Budget
from classifier import LEAST_BODY_LIMIT
from endpoint_server import ANSWER, EndpointServer
from errors import PredictError
from hostile_servers import HOST, ScriptedServer, TestNetwork, answer, certificate
from hypothesis import strategies as st
from lambda_support import FUNCTIONS, LambdaContext
from messages import failure, read_request

from tests.waiting import HANG


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def as_function_url(body: str, **more) -> dict:
    context = {"http": {"method": "POST", "path": "/"}, "requestId": "r-1"}
    return {"version": "2.0", "requestContext": context, "headers": {}, "body": body, "isBase64Encoded": False} | more


def as_api_gateway_v1(body: str, **more) -> dict:
    context = {"requestId": "r-1", "httpMethod": "POST"}
    return {"httpMethod": "POST", "requestContext": context, "headers": {}, "body": body} | more


@pytest.fixture
def endpoint(monkeypatch):
    server = EndpointServer()
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("ENDPOINT_NAME", "dogs")
    yield server
    server.close()


@pytest.fixture
def predict(endpoint, predict_handler, context):
    return lambda event, context=context: predict_handler.lambda_handler(event, context)


@pytest.fixture
def printed(predict_handler, capsys, monkeypatch):
    """What the function logs and prints: Powertools keeps one log handler per service name, and with it the stdout of
    whichever test came first."""
    logs = io.StringIO()
    for handler in logging.getLogger(predict_handler.SERVICE).handlers:
        monkeypatch.setattr(handler, "stream", logs)
    return lambda: logs.getvalue() + capsys.readouterr().out


def test_an_image_sent_directly_is_answered_with_its_breeds(predict, endpoint, jpeg):
    reply = predict({"image": encoded(jpeg)})
    assert reply["statusCode"] == 200
    assert reply["predictions"][0] == {"breed": "beagle", "probability": 0.8}
    assert len(reply["predictions"]) == 5
    assert reply["model"] == {"backbone": "mobilenet_v2"}
    assert reply["unsure"] is False
    assert endpoint.requests == [("/endpoints/dogs/invocations", "image/jpeg", jpeg)]
    json.dumps(reply)


def test_the_content_type_follows_the_bytes(predict, endpoint, png):
    predict({"image": encoded(png)})
    assert endpoint.requests[0][1:] == ("image/png", png)


def test_top_k_limits_the_breeds(predict, jpeg):
    reply = predict({"image": encoded(jpeg), "top_k": 2})
    assert [prediction["breed"] for prediction in reply["predictions"]] == ["beagle", "basset"]


@pytest.mark.parametrize("floor, unsure", [("0.81", True), ("0.8", False), ("", False)])
def test_below_the_confidence_floor_the_answer_says_it_is_unsure(predict, jpeg, monkeypatch, floor, unsure):
    monkeypatch.setenv("CONFIDENCE_FLOOR", floor)
    reply = predict({"image": encoded(jpeg)})
    assert reply["unsure"] is unsure
    assert ("note" in reply) is unsure
    if unsure:
        assert "no breed reaches a probability of 0.81" in reply["note"]


@pytest.mark.parametrize("known, unsure", [(False, True), (True, False), (None, False)])
def test_a_picture_that_the_model_itself_does_not_know_makes_the_answer_unsure(predict, endpoint, jpeg, known, unsure):
    verdict = {} if known is None else {"known": known, "unknown_score": 0.1}
    endpoint.answers = [(200, ANSWER | verdict, {})]
    reply = predict({"image": encoded(jpeg)})
    assert reply["unsure"] is unsure
    assert ("breed that the model knows" in reply.get("note", "")) is unsure


@pytest.mark.parametrize("shape", [as_function_url, as_api_gateway_v1])
def test_http_events_are_answered_in_the_proxy_shape(predict, jpeg, shape):
    body = json.dumps({"image": encoded(jpeg), "top_k": 1})
    for event in (shape(body), shape(encoded(body.encode()), isBase64Encoded=True)):
        reply = predict(event)
        assert (reply["statusCode"], reply["headers"]["content-type"]) == (200, "application/json")
        assert json.loads(reply["body"])["predictions"] == [{"breed": "beagle", "probability": 0.8}]


@pytest.mark.parametrize("shape", [as_function_url, as_api_gateway_v1])
@pytest.mark.parametrize("header", ["content-type", "Content-Type"])
def test_a_picture_can_be_the_body_itself(predict, endpoint, jpeg, shape, header):
    event = shape(encoded(jpeg), isBase64Encoded=True, headers={header: "image/jpeg"})
    assert len(json.loads(predict(event)["body"])["predictions"]) == 5
    event["queryStringParameters"] = {"top_k": "2"}
    assert len(json.loads(predict(event)["body"])["predictions"]) == 2
    assert [body for _, _, body in endpoint.requests] == [jpeg, jpeg]
    for top_k in ("0", "6", "two", "-1", "٣"):
        assert predict(event | {"queryStringParameters": {"top_k": top_k}})["statusCode"] == 400


@pytest.mark.parametrize(
    "content_type, status",
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("application/vnd.api+json", 200),
        ("text/plain", 200),
        ("application/x-www-form-urlencoded", 200),
        ("multipart/form-data; boundary=x", 415),
        ("application/xml", 415),
        ("video/mp4", 415),
    ],
)
def test_the_content_type_of_a_body_must_be_one_that_is_understood(predict, jpeg, content_type, status):
    event = as_function_url(json.dumps({"image": encoded(jpeg)}), headers={"content-type": content_type})
    assert predict(event)["statusCode"] == status


@pytest.mark.parametrize("shape", [as_function_url, as_api_gateway_v1])
def test_http_errors_are_json_in_the_body(predict, shape):
    reply = predict(shape("{}"))
    assert reply["statusCode"] == 400
    assert json.loads(reply["body"])["error"]["code"] == "InvalidRequest"


@pytest.mark.parametrize(
    "event, words",
    [
        ({}, "exactly one of url and image"),
        ({"url": "https://dogs.example/", "image": "AAAA"}, "exactly one of url and image"),
        ({"url": 7}, "url is not text"),
        ({"image": 7}, "image is not text"),
        ({"image": "not base64!"}, "not base64"),
        ({"image": "data:image/png;base64,AAAA"}, "not base64"),
        ({"image": ""}, "empty"),
        ({"image": "AAAA", "topk": 3}, "Unknown field 'topk'"),
        ({"image": "/9j/", "top_k": 0}, "top_k"),
        ({"image": "/9j/", "top_k": 6}, "top_k"),
        ({"image": "/9j/", "top_k": True}, "top_k"),
        ({"image": "/9j/", "top_k": "3"}, "top_k"),
        (["https://dogs.example/"], "not a JSON object"),
        ("https://dogs.example/", "not a JSON object"),
        (None, "not a JSON object"),
    ],
)
def test_a_bad_direct_event_gets_400_and_is_told_what_is_wrong(predict, endpoint, event, words):
    reply = predict(event)
    assert reply["statusCode"] == 400
    assert words in reply["error"]["message"]
    assert endpoint.requests == []


@pytest.mark.parametrize(
    "event",
    [
        as_function_url("{"),
        as_function_url(""),
        as_function_url("[1]"),
        as_function_url("[" * 100_000),
        as_function_url("%%%", isBase64Encoded=True),
        as_function_url("/9j/4AAQ", isBase64Encoded=True),
        {"requestContext": {}, "body": None},
        {"requestContext": {"http": {"method": "GET"}}, "version": "2.0"},
        {"requestContext": {}, "httpMethod": "DELETE", "body": "{}"},
        {"requestContext": None, "body": "{}"},
        {"requestContext": {"http": "POST"}, "headers": None, "body": "{}"},
        as_function_url("not base64", headers={"content-type": "image/jpeg"}, isBase64Encoded=True),
        as_function_url("", headers={"content-type": "image/jpeg"}, isBase64Encoded=True),
        as_function_url("\ufffd\ufffd", headers={"content-type": "image/jpeg"}),
    ],
    ids=range(14),
)
def test_a_bad_http_event_gets_400(predict, event):
    assert predict(event)["statusCode"] == 400


def nested(inner: st.SearchStrategy) -> st.SearchStrategy:
    names = ["url", "image", "top_k", "body", "headers", "isBase64Encoded", "httpMethod", "http", "method"]
    more = ["requestContext", "queryStringParameters", "content-type"]
    return st.dictionaries(st.sampled_from(names + more), inner, max_size=5)


WORDS = st.sampled_from(["POST", "GET", "image/jpeg", "application/json", "{}", "[", "/9j/", "é", "", "3", "a" * 50])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS, lambda inner: st.lists(inner, max_size=2) | nested(inner)
)


@hypothesis.settings(max_examples=300, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(event=ANYTHING | nested(ANYTHING))
def test_no_event_at_all_is_a_defect_of_the_function(event):
    try:
        read_request(event)
    except PredictError as error:
        assert error.status in (400, 415)
        json.dumps(failure(event, error))


def test_an_image_that_is_no_jpeg_or_png_gets_415(predict, endpoint):
    assert predict({"image": encoded(b"GIF89a" + b"\0" * 50)})["statusCode"] == 415
    assert predict({"image": encoded(b"<html>hello")})["error"]["code"] == "NotAnImage"
    assert endpoint.requests == []


def test_a_jpeg_with_a_broken_header_gets_422(predict, endpoint, jpeg):
    assert predict({"image": encoded(jpeg[:30])})["statusCode"] == 422
    assert endpoint.requests == []


def test_an_image_of_more_than_ten_million_bytes_gets_413(predict, endpoint, jpeg):
    reply = predict({"image": encoded(jpeg + b"\0" * 10_000_000)})
    assert reply["statusCode"] == 413
    assert "10,000,000 bytes" in reply["error"]["message"]
    assert endpoint.requests == []


def test_an_image_that_the_endpoint_finds_too_large_gets_413(predict, endpoint, jpeg):
    endpoint.fails(400, "ValidationError")
    assert predict({"image": encoded(jpeg + b"\0" * LEAST_BODY_LIMIT)})["error"]["code"] == "ImageTooLarge"
    endpoint.fails(413, "UnknownError")
    assert predict({"image": encoded(jpeg)})["error"]["code"] == "ImageTooLarge"


@pytest.mark.parametrize(
    "http_status, code, content, status, answer_code",
    [
        (424, "ModelError", {"OriginalStatusCode": 400}, 422, "UnreadableImage"),
        (424, "ModelError", {"OriginalStatusCode": 413}, 413, "ImageTooLarge"),
        (424, "ModelError", {"OriginalStatusCode": 415}, 415, "NotAnImage"),
        (424, "ModelError", {"OriginalStatusCode": 429}, 429, "Throttled"),
        (424, "ModelError", {"OriginalStatusCode": 500}, 502, "ModelFailed"),
        (424, "ModelError", {"OriginalStatusCode": 503}, 503, "EndpointUnavailable"),
        (424, "ModelError", {"OriginalStatusCode": 504}, 504, "ModelTimedOut"),
        (424, "ModelError", {}, 502, "ModelFailed"),
        (400, "ThrottlingException", {}, 429, "Throttled"),
        (429, "ModelNotReadyException", {}, 503, "EndpointUnavailable"),
        (503, "ServiceUnavailable", {}, 503, "EndpointUnavailable"),
        (400, "ValidationError", {}, 503, "EndpointUnavailable"),
        (500, "InternalFailure", {}, 502, "ModelFailed"),
        (403, "AccessDeniedException", {}, 502, "ModelFailed"),
    ],
)
def test_each_failure_of_the_endpoint_has_its_status(
    predict, endpoint, jpeg, http_status, code, content, status, answer_code
):
    endpoint.fails(http_status, code, **content)
    reply = predict({"image": encoded(jpeg)})
    assert (reply["statusCode"], reply["error"]["code"]) == (status, answer_code)
    assert "secret-detail" not in json.dumps(reply)
    assert len(endpoint.requests) <= 2, "at most one retry"


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b"[]",
        b"{}",
        b"null",
        b"[" * 100_000,
        b'{"predictions": []}',
        b'{"predictions": [{"breed": "x"}]}',
        b'{"predictions": [{"breed": "x", "probability": NaN}]}',
        b'{"predictions": [[{"breed": "x", "probability": 1}]]}',
    ],
    ids=range(9),
)
def test_an_answer_that_is_no_list_of_breeds_gets_502(predict, endpoint, jpeg, body):
    endpoint.answers = [(200, body, {})]
    assert predict({"image": encoded(jpeg)})["error"]["code"] == "ModelFailed"


def test_a_throttled_answer_over_http_says_when_to_come_back(predict, endpoint, jpeg):
    endpoint.fails(400, "ThrottlingException")
    reply = predict(as_function_url(json.dumps({"image": encoded(jpeg)})))
    assert (reply["statusCode"], reply["headers"]["retry-after"]) == (429, "1")
    assert json.loads(reply["body"])["error"]["retry_after_seconds"] == 1


def test_one_hiccup_of_the_endpoint_is_retried(predict, endpoint, jpeg):
    endpoint.answers = [(503, {}, {"x-amzn-errortype": "ServiceUnavailable"}), *endpoint.answers]
    assert predict({"image": encoded(jpeg)})["statusCode"] == 200
    assert len(endpoint.requests) == 2


def test_one_broken_connection_is_retried(predict, endpoint, jpeg):
    endpoint.breaks_off = 1
    assert predict({"image": encoded(jpeg)})["statusCode"] == 200
    assert len(endpoint.requests) == 2


@pytest.mark.parametrize(
    "http_status, code, content, requests",
    [
        (503, "ServiceUnavailable", {}, 2),
        (500, "InternalFailure", {}, 2),
        (424, "ModelError", {"OriginalStatusCode": 503}, 1),
        (424, "ModelError", {"OriginalStatusCode": 500}, 1),
        (400, "ThrottlingException", {}, 1),
        (429, "ModelNotReadyException", {}, 1),
        (400, "ValidationError", {}, 1),
    ],
)
def test_what_a_retry_would_make_worse_is_not_retried(predict, endpoint, jpeg, http_status, code, content, requests):
    endpoint.fails(http_status, code, **content)
    predict({"image": encoded(jpeg)})
    assert len(endpoint.requests) == requests


def test_an_endpoint_that_does_not_answer_is_asked_once_and_gets_504_in_time(endpoint, predict, jpeg):
    endpoint.delay = 3
    context = LambdaContext(seconds=4)
    reply = predict({"image": encoded(jpeg)}, context)
    assert (reply["statusCode"], reply["error"]["code"]) == (504, "ModelTimedOut")
    assert len(endpoint.requests) == 1
    assert context.get_remaining_time_in_millis() > 1000


def test_a_retry_that_does_not_fit_into_the_remaining_time_is_left_out(predict, endpoint, jpeg):
    predict({"image": encoded(jpeg)})
    endpoint.requests.clear()
    endpoint.fails(503, "ServiceUnavailable")
    assert predict({"image": encoded(jpeg)}, LambdaContext(seconds=10))["statusCode"] == 503
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize("seconds, fetch, read", [(30, 5, 23), (10, 4, 4), (3, 0.5, 0.5), (900, 5, 60), (1, 0.1, 0.1)])
def test_fetch_and_answer_end_before_the_function_does(seconds, fetch, read):
    budget = Budget.of(seconds)
    assert (budget.fetch, budget.read) == pytest.approx((fetch, read))
    assert budget.fetch + budget.attempt < max(seconds, 1.3)


def test_an_endpoint_that_nobody_listens_at_gets_503(predict, jpeg, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    assert predict({"image": encoded(jpeg)})["statusCode"] == 503


def test_without_an_endpoint_name_the_answer_is_503(predict, jpeg, monkeypatch):
    monkeypatch.delenv("ENDPOINT_NAME")
    reply = predict({"image": encoded(jpeg)})
    assert reply["statusCode"] == 503
    assert "ENDPOINT_NAME" in reply["error"]["message"]


@pytest.mark.parametrize("floor", ["30", "-0.1", "nan", "a third"])
def test_a_floor_that_is_no_probability_is_named(predict, jpeg, monkeypatch, floor):
    monkeypatch.setenv("CONFIDENCE_FLOOR", floor)
    reply = predict({"image": encoded(jpeg)})
    assert (reply["statusCode"], reply["error"]["code"]) == (500, "Misconfigured")
    assert f"CONFIDENCE_FLOOR is '{floor}'" in reply["error"]["message"]


def test_a_defect_is_answered_with_500_and_logged_without_what_it_quotes(
    predict, predict_handler, jpeg, monkeypatch, printed
):
    def broken(*_):
        try:
            raise ValueError("https://dogs.example/secret-path")
        except ValueError as error:
            raise RuntimeError("secret-detail") from error

    monkeypatch.setattr(predict_handler, "classify", broken)
    reply = predict({"image": encoded(jpeg)})
    assert (reply["statusCode"], reply["error"]["code"]) == (500, "InternalError")
    out = printed()
    assert "secret" not in json.dumps(reply) + out
    logged = next(line for line in map(json.loads, out.splitlines()) if line.get("message") == "unexpected failure")
    assert logged["traceback"][0].startswith("RuntimeError at test_predict.py:")
    assert "handler.py" in logged["traceback"][0]
    assert logged["traceback"][1].startswith("ValueError at")


def test_the_log_names_what_aws_answered(predict, endpoint, jpeg, printed):
    endpoint.fails(424, "ModelError", OriginalStatusCode=500)
    predict({"image": encoded(jpeg)})
    endpoint.fails(403, "AccessDeniedException")
    predict({"image": encoded(jpeg)})
    causes = [line["cause"] for line in map(json.loads, printed().splitlines()) if "cause" in line]
    assert causes == ["ModelError (500)", "AccessDeniedException"]


@pytest.fixture
def served_picture(tmp_path, jpeg, predict_handler, monkeypatch):
    """https://dogs.example/dog.jpg, fetched through the guard from this machine."""
    server_side, trust = certificate(tmp_path, HOST)
    scripts = {"/dog.jpg?token=secret-token": answer(jpeg), "/page": answer(b"<html>", "text/html")}
    server = ScriptedServer(scripts, server_side)
    net = TestNetwork(server, server, trust)
    monkeypatch.setattr(predict_handler, "fetch", functools.partial(guard.fetch, network=net.network))
    yield net
    server.close()


def test_the_picture_behind_a_url_is_fetched_and_classified(predict, endpoint, served_picture, jpeg):
    reply = predict(as_function_url(json.dumps({"url": f"https://{HOST}/dog.jpg?token=secret-token"})))
    assert reply["statusCode"] == 200
    assert endpoint.requests == [("/endpoints/dogs/invocations", "image/jpeg", jpeg)]


@pytest.mark.parametrize(
    "url, status",
    [
        ("http://dogs.example/dog.jpg", 400),
        ("https://127.0.0.1/", 400),
        ("https://169.254.169.254/latest/meta-data/", 400),
        ("https://nobody.example/", 422),
        ("https://dogs.example/page", 415),
    ],
)
def test_a_url_that_the_guard_refuses_never_reaches_the_endpoint(predict, endpoint, served_picture, url, status):
    assert predict({"url": url})["statusCode"] == status
    assert endpoint.requests == []


def test_logs_carry_the_request_id_and_neither_url_nor_picture(predict, served_picture, jpeg, printed, context):
    predict({"url": f"https://{HOST}/dog.jpg?token=secret-token"})
    predict({"url": "https://user:secret-password@dogs.example/secret-path"})
    predict({"image": encoded(jpeg)})
    out = printed()
    lines = [json.loads(line) for line in out.splitlines()]
    logged = [line for line in lines if "level" in line]
    assert [line["message"] for line in logged] == ["answered", "refused", "answered"]
    assert {line["function_request_id"] for line in logged} == {context.aws_request_id}
    assert any(line.get("UrlRefused") == [1.0] for line in lines), "a metric in embedded metric format"
    assert "secret" not in out
    assert HOST not in out
    assert encoded(jpeg)[:40] not in out


def test_the_log_event_setting_of_the_environment_does_not_put_pictures_into_logs(monkeypatch, predict, printed, jpeg):
    monkeypatch.setenv("POWERTOOLS_LOGGER_LOG_EVENT", "true")
    predict({"image": encoded(jpeg)})
    out = printed()
    assert "answered" in out
    assert encoded(jpeg)[:40] not in out


@pytest.mark.parametrize("function", ["deploy", "predict", "retrain"])
def test_a_function_starts_from_its_own_folder_alone(function, tmp_path):
    """As Lambda starts it: the folder's content as the task root, nothing else of ours on the path."""
    for module in (FUNCTIONS / function).glob("*.py"):
        (tmp_path / module.name).write_bytes(module.read_bytes())
    code = "import handler, sys\nassert not {'torch', 'sagemaker', 'PIL', 'numpy'} & set(sys.modules)"
    environment = {"AWS_DEFAULT_REGION": "us-east-1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=HANG
    )
    assert done.returncode == 0, done.stderr
