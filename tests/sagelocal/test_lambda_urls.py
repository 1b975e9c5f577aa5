"""Function URLs as curl, a browser and a signing client see them."""

import base64
import functools
import json
import shutil
import subprocess
import uuid

import boto3
import pytest
from botocore.exceptions import ClientError

from sagelocal.core import lifecycle
from tests.function_urls import ask
from tests.sagelocal.lambda_functions import ROLE, packed
from tests.signing import signed

CODE = """
import base64, os, time
def handler(event, context):
    path = event["rawPath"]
    if path == "/plain":
        return {"message": "Hello"}
    if path == "/text":
        return "Hello"
    if path == "/full":
        return {"statusCode": 201, "headers": {"Content-Type": "text/plain", "X-Own": "1"}, "body": "made",
                "cookies": ["a=1; Path=/", "b=2"]}
    if path == "/bytes":
        return {"statusCode": 200, "headers": {"content-type": "image/png"}, "isBase64Encoded": True,
                "body": base64.b64encode(bytes(range(256))).decode()}
    if path == "/split":
        return {"statusCode": 200, "headers": {"X-A\\r\\nSet-Cookie": "b=1"}}
    if path == "/broken":
        return {"statusCode": "many"}
    if path == "/fails":
        raise ValueError("a secret reason")
    if path == "/slow":
        time.sleep(3600)
    return {"statusCode": 200, "body": __import__("json").dumps(event)}
"""
PUBLIC = (
    {"StatementId": "url", "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
    {"StatementId": "invoke", "Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True},
)


@pytest.fixture
def make(create_function):
    """make() -> the name of a new function."""
    return functools.partial(create_function, packed({"app.py": CODE}))


@pytest.fixture
def public(functions, make):
    """The URL of a function that everybody may call."""
    return open_to_all(functions, make())


def open_to_all(functions, name: str, **more) -> str:
    url = functions.create_function_url_config(FunctionName=name, AuthType="NONE", **more)["FunctionUrl"]
    for statement in PUBLIC:
        functions.add_permission(FunctionName=name, Principal="*", **statement)
    return url


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed here")
def test_curl_gets_an_answer(public):
    said = subprocess.run(["curl", "-sS", "-X", "POST", "-d", "hi", f"{public}dogs/1?a=1&a=2"], capture_output=True)
    event = json.loads(said.stdout)
    assert (event["rawPath"], event["requestContext"]["http"]["method"]) == ("/dogs/1", "POST")


def test_the_event_has_payload_format_2(public):
    headers = {
        "Content-Type": "application/json",
        "Cookie": "a=1; b=2",
    }
    _, _, body = ask(f"{public}a%20b/c?x=1&x=2&y=&z=%C3%A9", "PUT", '{"k": "é"}'.encode(), headers)
    event = json.loads(body)
    assert (event["version"], event["routeKey"], event["rawPath"]) == ("2.0", "$default", "/a%20b/c")
    assert event["rawQueryString"] == "x=1&x=2&y=&z=%C3%A9"
    assert event["queryStringParameters"] == {"x": "1,2", "y": "", "z": "é"}
    assert event["cookies"] == ["a=1", "b=2"] and "cookie" not in event["headers"]
    assert event["headers"]["content-type"] == "application/json"
    assert (event["body"], event["isBase64Encoded"]) == ('{"k": "é"}', False)
    about = event["requestContext"]
    assert (about["accountId"], about["stage"], about["http"]["method"]) == ("anonymous", "$default", "PUT")
    assert about["http"]["sourceIp"] == "127.0.0.1" and "authorizer" not in about


def test_a_picture_arrives_as_base64_and_a_request_without_a_body_has_none(public):
    photo = bytes(range(256)) * 8
    event = json.loads(ask(public, "POST", photo, {"Content-Type": "image/jpeg"})[2])
    assert event["isBase64Encoded"] and base64.b64decode(event["body"]) == photo
    assert "body" not in json.loads(ask(public)[2])


def test_an_answer_without_a_status_is_the_body_itself(public):
    status, headers, body = ask(f"{public}plain")
    assert (status, headers["Content-Type"], json.loads(body)) == (200, "application/json", {"message": "Hello"})
    assert ask(f"{public}text")[2] == b'"Hello"'


def test_an_answer_with_a_status_says_headers_cookies_and_bytes(public):
    status, headers, body = ask(f"{public}full")
    assert (status, headers["X-Own"], headers["Content-Type"], body) == (201, "1", "text/plain", b"made")
    assert headers.get_all("Set-Cookie") == ["a=1; Path=/", "b=2"]
    status, headers, body = ask(f"{public}bytes")
    assert (headers["Content-Type"], body) == ("image/png", bytes(range(256)))


@pytest.mark.parametrize(("path", "more"), [("fails", {}), ("broken", {}), ("split", {}), ("slow", {"Timeout": 1})])
def test_a_function_that_fails_is_a_502_that_says_nothing_of_why(functions, make, path: str, more: dict):
    status, headers, body = ask(f"{open_to_all(functions, make(**more))}{path}")
    assert (status, body) == (502, b"Internal Server Error")
    assert headers["x-amzn-RequestId"]


@pytest.mark.parametrize("sent", ["Bearer token", "Basic YTpi", "AWS x", "AWS4-HMAC-SHA256 Credential=x"])
def test_a_public_url_has_its_own_kind_of_authorization(public, sent: str):
    status, _, body = ask(f"{public}?X-Amz-Signature=a&AWSAccessKeyId=b&Signature=c", headers={"Authorization": sent})
    assert (status, json.loads(body)["headers"]["authorization"]) == (200, sent)


@pytest.mark.parametrize("sent", ["Bearer token", "AWS x:y", "AWS4-HMAC-SHA256 Credential=x"])
def test_with_iam_another_kind_of_authorization_is_refused(functions, make, sent: str):
    url = functions.create_function_url_config(FunctionName=make(), AuthType="AWS_IAM")["FunctionUrl"]
    assert ask(url, headers={"Authorization": sent})[0] in (400, 403)


def test_a_throttled_call_is_a_429(functions, make):
    name = make()
    url = open_to_all(functions, name)
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    status, headers, body = ask(url)
    assert (status, headers["x-amzn-ErrorType"]) == (429, "TooManyRequestsException")
    assert json.loads(body) == {"Message": "Rate Exceeded."}


def test_a_body_that_is_too_large_is_a_413(public):
    assert ask(public, "POST", b"x" * (6 << 20), {"Content-Type": "text/plain"})[0] == 413


def test_nobody_is_let_in_whom_the_functions_policy_does_not_name(functions, make):
    name = make()
    url = functions.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"]
    assert ask(url)[0] == 403
    for statement in PUBLIC:
        assert ask(url)[0] == 403
        functions.add_permission(FunctionName=name, Principal="*", **statement)
    assert ask(url)[0] == 200
    functions.update_function_url_config(FunctionName=name, AuthType="AWS_IAM")
    status, _, body = ask(url)
    assert status == 403 and json.loads(body)["Message"].startswith("Forbidden")


def session(client, *actions: str, resource: str = "*"):
    """Credentials of a new role that may do that."""
    iam, name = client("iam"), f"role-{uuid.uuid4().hex[:10]}"
    trust = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "sts:AssumeRole"}
    arn = iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )["Role"]["Arn"]
    if actions:
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": resource}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document)
    given = client("sts").assume_role(RoleArn=arn, RoleSessionName="me")["Credentials"]
    keys = (given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    return arn, boto3.Session(*keys).get_credentials()


def test_with_iam_a_role_needs_both_permissions_on_this_function(functions, client, make):
    name = make()
    made = functions.create_function_url_config(FunctionName=name, AuthType="AWS_IAM")
    url, arn = made["FunctionUrl"], made["FunctionArn"]
    assert ask(url)[0] == 403
    for actions in ((), ("lambda:InvokeFunctionUrl",), ("lambda:InvokeFunction",)):
        assert ask(url, headers=signed("GET", url, "lambda", by=session(client, *actions)[1]))[0] == 403
    both = ("lambda:InvokeFunctionUrl", "lambda:InvokeFunction")
    assert (
        ask(url, headers=signed("GET", url, "lambda", by=session(client, *both, resource=f"{arn}-other")[1]))[0] == 403
    )
    role, credentials = session(client, *both, resource=arn)
    status, _, body = ask(url, headers=signed("GET", url, "lambda", by=credentials))
    event = json.loads(body)
    who = event["requestContext"]["authorizer"]["iam"]
    assert status == 200 and who["accessKey"] == credentials.access_key and who["userArn"].endswith("/me")
    assert role.rpartition("/")[2] in who["userArn"]
    assert not {"authorization", "x-amz-security-token"} & set(event["headers"])


def test_with_iam_the_functions_own_policy_lets_a_role_in_too(functions, client, make):
    name = make()
    url = functions.create_function_url_config(FunctionName=name, AuthType="AWS_IAM")["FunctionUrl"]
    role, credentials = session(client)
    for number, action in enumerate(("lambda:InvokeFunctionUrl", "lambda:InvokeFunction")):
        assert ask(url, headers=signed("GET", url, "lambda", by=credentials))[0] == 403
        functions.add_permission(FunctionName=name, StatementId=f"s{number}", Action=action, Principal=role)
    assert ask(url, headers=signed("GET", url, "lambda", by=credentials))[0] == 200


def test_with_iam_a_key_that_nobody_has_is_refused(functions, make):
    url = functions.create_function_url_config(FunctionName=make(), AuthType="AWS_IAM")["FunctionUrl"]
    stranger = boto3.Session("ASIAEMBEDNOBODY", "s", "t").get_credentials()
    assert ask(url, headers=signed("GET", url, "lambda", by=stranger))[0] == 403


def test_an_alias_has_a_url_of_its_own_and_a_version_has_none(functions, make):
    name = make(Publish=True)
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    made = functions.create_function_url_config(FunctionName=name, Qualifier="live", AuthType="NONE")
    for statement in PUBLIC:
        functions.add_permission(FunctionName=name, Qualifier="live", Principal="*", **statement)
    assert made["FunctionArn"].endswith(f"{name}:live") and ask(made["FunctionUrl"])[0] == 200
    with pytest.raises(ClientError):
        functions.create_function_url_config(FunctionName=name, Qualifier="1", AuthType="NONE")


def test_a_url_is_kept_changed_listed_and_deleted(functions, make):
    name = make()
    asked = {"FunctionName": name}
    url = functions.create_function_url_config(**asked, AuthType="AWS_IAM")["FunctionUrl"]
    assert functions.get_function_url_config(**asked)["AuthType"] == "AWS_IAM"
    with pytest.raises(ClientError, match="ResourceConflictException"):
        functions.create_function_url_config(**asked, AuthType="NONE")
    with pytest.raises(ClientError, match="must be BUFFERED"):
        functions.update_function_url_config(**asked, InvokeMode="RESPONSE_STREAM")
    changed = functions.update_function_url_config(**asked, Cors={"AllowOrigins": ["*"]})
    assert (changed["AuthType"], changed["Cors"], changed["FunctionUrl"]) == ("AWS_IAM", {"AllowOrigins": ["*"]}, url)
    assert [each["FunctionUrl"] for each in functions.list_function_url_configs(**asked)["FunctionUrlConfigs"]] == [url]
    functions.delete_function_url_config(**asked)
    assert ask(url)[0] == 404
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        functions.get_function_url_config(**asked)


def test_browsers_are_told_which_pages_may_call(functions, make):
    cors = {"AllowOrigins": ["https://*.example.com"], "AllowMethods": ["POST"], "AllowHeaders": ["x-mine"]}
    url = open_to_all(functions, make(), Cors=cors | {"MaxAge": 60, "ExposeHeaders": ["x-own"]})
    page = {"Origin": "https://dogs.example.com", "Access-Control-Request-Method": "POST"}
    status, headers, body = ask(url, "OPTIONS", headers=page)
    assert (status, headers["Access-Control-Allow-Origin"], body) == (200, "https://dogs.example.com", b"")
    assert (headers["Access-Control-Allow-Methods"], headers["Access-Control-Max-Age"]) == ("POST", "60")
    headers = ask(url, "POST", b"{}", {"Origin": "https://dogs.example.com"})[1]
    assert headers["Access-Control-Allow-Origin"] == "https://dogs.example.com"
    assert headers["Access-Control-Expose-Headers"] == "x-own"
    assert "Access-Control-Allow-Origin" not in ask(url, "POST", b"{}", {"Origin": "https://evil.com"})[1]


def test_a_url_works_after_the_server_starts_again(tmp_path):
    def functions_of(running: lifecycle.Running):
        return boto3.client("lambda", endpoint_url=running.url, region_name="us-east-1")

    functions = functions_of(lifecycle.ensure(tmp_path))
    functions.create_function(
        **{"FunctionName": "f", "Role": ROLE, "Runtime": "python3.12", "Handler": "app.handler"},
        **{"Code": {"ZipFile": packed({"app.py": CODE})}},
    )
    open_to_all(functions, "f")
    lifecycle.stop(tmp_path)
    try:
        functions = functions_of(lifecycle.ensure(tmp_path))
        assert ask(functions.get_function_url_config(FunctionName="f")["FunctionUrl"])[0] == 200
    finally:
        lifecycle.stop(tmp_path)
