"""The one way in: who is let in, how errors look in each protocol, and where unexpected ones are logged."""

import json
import logging
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest
from botocore.credentials import Credentials
from werkzeug.test import Client, TestResponse

from sagelocal.core import registry
from sagelocal.core.caller import Caller
from sagelocal.core.context import Context, one_per_server
from sagelocal.core.store import Store
from sagelocal.gateway.protocols import cbor
from sagelocal.gateway.server import Application
from sagelocal.services.awslambda.api import URL
from sagelocal.services.iam import sessions
from sagelocal.services.s3 import reading
from tests.signing import signed

ROLE = "arn:aws:iam::123456789012:role/r"


class Account:
    """A server without a socket: requests go straight to its application."""

    def __init__(self, context: Context):
        self.context = context
        self.stops = 0
        self.client = Client(Application(context, on_stop=self._stop))

    def _stop(self) -> None:
        self.stops += 1

    def ask(self, path: str = "/", method: str = "GET", service: str = "", **more) -> TestResponse:
        """One request, signed for `service` if it is given; `by`: whose signature it is, the owner's if nothing is
        said. `form`, `data`: its body."""
        headers, by = more.pop("headers", {}), more.pop("by", None)
        if "form" in more:
            more |= {"data": urlencode(more.pop("form")), "content_type": "application/x-www-form-urlencoded"}
        host = headers.get("Host", self.context.url.removeprefix("http://"))
        if service:
            body = more.get("data", b"")
            headers |= signed(
                method,
                f"http://{host}{path}",
                service,
                body.encode() if isinstance(body, str) else body,
                {name: value for name, value in headers.items() if name.startswith("X-Amz")},
                by,
            )
        return self.client.open(path, method=method, base_url=self.context.url, headers=headers, **more)

    def list_models(self, **headers: str) -> TestResponse:
        return self.ask(
            "/", "POST", "sagemaker", data="{}", headers={"X-Amz-Target": "SageMaker.ListModels", **headers}
        )


@pytest.fixture
def account(context) -> Account:
    return Account(context)


def session_that_may(account: Account, actions: list[str]) -> Credentials:
    """The keys of a role that may do so much."""
    trusted = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = {"Version": "2012-10-17", "Statement": [trusted]}
    account.context.call("iam", "CreateRole", RoleName="r", AssumeRolePolicyDocument=json.dumps(trust))
    if actions:
        allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
        account.context.call("iam", "PutRolePolicy", RoleName="r", PolicyName="p", PolicyDocument=json.dumps(allowed))
    given = sessions.of_service(account.context, Caller(ROLE))
    return Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])


def put_url(context: Context, identifier: str, **config: object) -> dict[str, str]:
    """The headers that name a public function URL whose function does not exist."""
    arn = context.arn("lambda", "function:f")
    body = {"AuthType": "NONE", "_Id": identifier, "_Function": "f", "_Qualifier": None, "FunctionArn": arn}
    context.store.put(URL, identifier, body | config)
    return {"Host": f"{identifier}.lambda-url.us-east-1.localhost:1"}


@pytest.mark.parametrize(
    "host", ["127.0.0.1:1", "localhost:1", "LOCALHOST:1", "[::1]:1", "bucket.localhost:1", "127.8.8.8:1"]
)
def test_a_name_of_this_machine_with_the_servers_port_is_answered(account, host):
    assert account.list_models(Host=host).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.com", "evil.com:1", "127.0.0.1", "127.0.0.1:2", "localhost.evil.com:1", "10.0.0.1:1", "127.0.0.1:x"]
)
def test_any_other_host_is_refused_with_the_address_to_use(account, host):
    refused = account.ask("/", "POST", data="{}", headers={"X-Amz-Target": "SageMaker.ListModels", "Host": host})
    assert (refused.status_code, json.loads(refused.text)["__type"]) == (403, "AccessDenied")
    assert account.context.url in json.loads(refused.text)["message"] and host in json.loads(refused.text)["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.com"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://127.0.0.1.evil.com"},
        {"Origin": "http://localhost:8888", "Sec-Fetch-Site": "same-site"},
        {"Origin": "http://localhost:1"},
        {"Origin": "https://127.0.0.1:1"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "made-up"},
    ],
)
def test_a_page_that_another_address_gave_is_refused(account, headers):
    assert account.list_models(**headers).status_code == 403


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}]
)
def test_a_page_of_this_address_and_a_typed_address_are_answered(account, headers):
    assert account.list_models(**headers).status_code == 200


def test_a_page_of_another_site_cannot_stop_the_server(account):
    evil = {"Origin": "https://evil.com"}
    assert account.ask("/_sagelocal/stop", "POST", "sagelocal", headers=evil).status_code == 403
    assert account.stops == 0
    assert account.ask("/_sagelocal/stop", "POST", "sagelocal").text == "stopping\n"
    assert account.stops == 1


def test_a_page_of_another_site_reaches_a_function_url_only_if_it_has_cors_settings(account):
    page = {"Origin": "https://dogs.example.com"}
    closed = put_url(account.context, "closed")
    open_ = put_url(account.context, "open", Cors={"AllowOrigins": ["https://dogs.example.com"]})
    assert account.ask(headers=closed | page).status_code == 403
    reached = account.ask(headers=open_ | page)
    assert (reached.status_code, reached.headers["x-amzn-ErrorType"]) == (404, "ResourceNotFoundException")
    assert reached.headers["Access-Control-Allow-Origin"] == "https://dogs.example.com"


def test_a_refusal_is_written_in_the_protocol_of_the_service(account):
    evil = {"Host": "evil.com"}
    assert account.ask("/b/k", headers=evil).text.startswith("<?xml")
    assert "<Code>AccessDenied</Code>" in account.ask("/b/k", headers=evil).text
    assert json.loads(account.ask("/", "POST", "lambda", headers=evil).text)["__type"] == "AccessDenied"
    assert "<ErrorResponse>" in account.ask("/", "POST", "iam", form={"Action": "ListRoles"}, headers=evil).text
    assert "<ErrorResponse>" in account.ask("/", "POST", "sqs", form={"Action": "ListQueues"}, headers=evil).text
    assert "<ErrorResponse>" in account.ask("/2013-04-01/hostedzone", "GET", "route53", headers=evil).text
    assert json.loads(account.ask("/", "POST", "states", headers=evil).text)["__type"] == "AccessDenied"
    below = account.ask("/_sagelocal/urls/u/", headers=evil)
    assert json.loads(below.text)["Message"].startswith("This server does not")
    of_cbor = account.ask("/", "POST", "monitoring", data=b"", content_type=cbor.CONTENT_TYPE, headers=evil)
    assert cbor.read(of_cbor.data)["__type"] == "AccessDenied"


def fail(*_: object) -> None:
    raise ZeroDivisionError("of a test")


def traceback_logged_once(caplog: pytest.LogCaptureFixture) -> bool:
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    caplog.clear()
    return [(record.name, record.exc_info[0]) for record in errors] == [("sagelocal.gateway.chain", ZeroDivisionError)]


def test_an_unexpected_error_is_logged_once_and_answered_as_the_servers_fault(account, monkeypatch, caplog):
    monkeypatch.setitem(registry.OPERATIONS, ("sagemaker", "ListModels"), fail)
    answer = account.list_models()
    assert (answer.status_code, json.loads(answer.text)["__type"]) == (500, "InternalFailure")
    assert json.loads(answer.text)["message"] == "ZeroDivisionError: of a test"
    assert traceback_logged_once(caplog)

    monkeypatch.setitem(registry.OPERATIONS, ("iam", "ListRoles"), fail)
    answer = account.ask("/", "POST", "iam", form={"Action": "ListRoles"})
    assert answer.status_code == 500 and "<Code>InternalFailure</Code>" in answer.text
    assert traceback_logged_once(caplog)

    monkeypatch.setattr(reading.metadata, "load", fail)
    account.ask("/bucket", "PUT", "s3")
    account.ask("/bucket/key", "PUT", "s3", data=b"x")
    answer = account.ask("/bucket/key", "GET", "s3")
    assert answer.status_code == 500 and "<Code>InternalError</Code>" in answer.text
    assert answer.headers["Server"] == "embedded-s3"
    assert traceback_logged_once(caplog)


def test_an_unexpected_error_of_a_function_url_says_nothing_of_why(account, monkeypatch, caplog):
    named = put_url(account.context, "u")
    monkeypatch.setattr("sagelocal.services.awslambda.urls.access.check", fail)
    monkeypatch.setattr("sagelocal.services.awslambda.urls.front.find", lambda *_: {})
    answer = account.ask(headers=named)
    assert (answer.status_code, answer.text) == (502, "Internal Server Error")
    assert answer.headers["x-amzn-RequestId"]
    assert traceback_logged_once(caplog)


def test_moto_answers_what_nobody_else_does_with_its_own_headers(account):
    answer = account.ask("/", "POST", "sqs", data="{}", headers={"X-Amz-Target": "AmazonSQS.ListQueues"})
    assert (answer.status_code, json.loads(answer.data)) == (200, {})


LIST = {"X-Amz-Target": "secretsmanager.ListSecrets", "Content-Type": "application/x-amz-json-1.1"}
READ = "Action=GetSecretValue&SecretId=s"
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("path", "service", "headers", "data"),
    [
        (f"/?{READ}", "secretsmanager", LIST, "{}"),
        ("/?Action=GetSecretValue", "secretsmanager", LIST, '{"SecretId": "s"}'),
        ("/?%41ction=GetSecretValue", "secretsmanager", LIST, '{"SecretId": "s"}'),
        ("/?&", "secretsmanager", LIST, '{"SecretId": "s", "Name": "&Action=GetSecretValue&"}'),
        ("/", "secretsmanager", LIST | {"Action": "GetSecretValue"}, '{"SecretId": "s"}'),
        ("/", "secretsmanager", LIST | {"Content-Type": FORM}, '{"SecretId": "s", "Name": "&Action=GetSecretValue&"}'),
        ("/?Action=ListTopics&Name=t", "sns", {"Content-Type": "text/plain"}, "Action=CreateTopic&Name=t"),
        ("/", "sns", {"Content-Type": FORM, "X-Amz-Target": "x.CreateTopic"}, "Action=ListTopics&Name=t"),
        ("/?Action=CreateTopic", "sns", {"Content-Type": FORM}, "Action=ListTopics&Action=CreateTopic&Name=t"),
        ("/clusters?Action=CreateCluster", "eks", {}, '{"name": "c", "roleArn": "r", "resourcesVpcConfig": {}}'),
        ("/2013-04-01/hostedzone?Action=ListHostedZones", "route53", {}, ""),
    ],
)
def test_moto_runs_the_operation_whose_permission_was_checked(account, path, service, headers, data):
    """moto looks for its name in more places than AWS does."""
    secret = {"data": '{"Name": "s", "SecretString": "hidden"}'}
    made = {"X-Amz-Target": "secretsmanager.CreateSecret", "Content-Type": "application/x-amz-json-1.1"}
    assert account.ask("/", "POST", "secretsmanager", headers=made, **secret).status_code in (200, 400)
    listing = ["secretsmanager:ListSecrets", "sns:ListTopics", "eks:ListClusters", "route53:ListHostedZones"]
    by = session_that_may(account, listing)
    method = "GET" if service in ("eks", "route53") else "POST"
    answer = account.ask(path, method, service, headers=headers, data=data, by=by)
    assert answer.status_code in (200, 400, 403)
    assert "hidden" not in answer.text and "CreateTopicResponse" not in answer.text and '"cluster"' not in answer.text
    assert service != "route53" or "AccessDenied" in answer.text


def test_a_role_needs_permissions_for_a_service_that_botocore_has_another_name_for(account):
    by = session_that_may(account, [])
    asked = {"data": "{}", "by": by, "headers": {"X-Amz-Target": "AWSStepFunctions.ListStateMachines"}}
    refused = account.ask("/", "POST", "states", **asked)
    assert json.loads(refused.text)["__type"] == "AccessDeniedException"
    assert "states:ListStateMachines" in json.loads(refused.text)["message"]


def test_what_is_one_per_server_is_made_once_and_acts_as_the_service(context, tmp_path):
    made = []

    @one_per_server
    def thing(given: Context) -> object:
        made.append(given.caller)
        return object()

    with ThreadPoolExecutor(8) as threads:
        got = set(threads.map(lambda n: thing(context.as_role(ROLE, f"s{n}")), range(64)))
    assert (got, made) == ({thing(context)}, [None])
    other = Context(tmp_path / "other", context.url, Store(tmp_path / "other" / "state.db"))
    assert thing(other) not in got
    other.store.close()


def test_a_line_of_the_log_says_when_how_bad_and_where():
    program = (
        "import logging; from sagelocal.core import log; log.set_up(); "
        "logging.getLogger('sagelocal.a').info('started'); logging.getLogger('botocore').info('chatter')"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stderr
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO sagelocal\.a: started\n", said)
