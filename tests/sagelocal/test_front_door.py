"""What a web page, another user of the machine, and a function's page get from the server: nothing."""

import base64
import json
import os
import stat
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from sagelocal.core import lifecycle, secret
from sagelocal.core.caller import Caller
from sagelocal.core.errors import AwsError
from sagelocal.services.iam import enforcement, sessions
from sagelocal.services.iam.policy import Call
from tests.function_urls import ask
from tests.signing import signed
from tests.waiting import HANG

NOBODY = 65534
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
PAGE = {
    "Origin": "https://evil.example",
    "Referer": "https://evil.example/",
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "no-cors",
    "Content-Type": "text/plain;charset=UTF-8",
}
TRUST = (
    '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},'
    '"Action":"sts:AssumeRole"}}'
)


def code(marker: Path) -> bytes:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("h.py", f"def go(e, c):\n    open({str(marker)!r}, 'w').write('owned')\n    return 1\n")
    return packed.getvalue()


def actions(marker: Path) -> list[list[str]]:
    """[method, path, body] of what an intruder would send; no more than a page may send without a preflight."""
    signed_in_query = "?X-Amz-Credential=x/20260101/us-east-1/{}/aws4_request"
    old = f"?AWSAccessKeyId=AKIAEXAMPLE&Signature=x&Expires={int(time.time()) + 600}"
    full = signed_in_query + "&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20260101T000000Z&X-Amz-Expires=60"
    full += "&X-Amz-SignedHeaders=host&X-Amz-Signature=x"
    function = {
        "FunctionName": "evil",
        "Runtime": "python3.12",
        "Handler": "h.go",
        "Role": "arn:aws:iam::123456789012:role/evil",
        "Code": {"ZipFile": base64.b64encode(code(marker)).decode()},
    }
    sent = []
    for query in (signed_in_query, full):
        role = f"Action=CreateRole&Version=2010-05-08&RoleName=evil&AssumeRolePolicyDocument={TRUST}"
        sent += [
            ["POST", "/" + query.format("iam"), role],
            ["POST", "/2015-03-31/functions" + query.format("lambda"), json.dumps(function)],
            ["POST", "/2015-03-31/functions/evil/invocations" + query.format("lambda"), "{}"],
            ["GET", "/victim/photo" + query.format("s3"), ""],
        ]
    return [
        *sent,
        ["POST", "/", f"Action=CreateRole&Version=2010-05-08&RoleName=evil&AssumeRolePolicyDocument={TRUST}"],
        ["GET", "/victim/photo", ""],
        ["GET", "/victim/photo" + old, ""],
        ["GET", "/victim?list-type=2", ""],
        ["GET", "/", ""],
        ["POST", "/victim?delete", "<Delete><Object><Key>photo</Key></Object></Delete>"],
        ["POST", "/_sagelocal/stop", ""],
        ["POST", "/_sagelocal/clock?speed=100", ""],
        ["GET", "/_sagelocal/iam/used", ""],
        ["POST", "/moto-api/reset", ""],
    ]


@pytest.fixture(scope="module")
def victim(client) -> None:
    client("s3").create_bucket(Bucket="victim")
    client("s3").put_object(Bucket="victim", Key="photo", Body=b"photo")


def nothing_happened(client, server: lifecycle.Running, marker: Path) -> bool:
    """The server lives at its own pace, the photo is there, there is no role, no function, and none was run."""
    assert client("s3").get_object(Bucket="victim", Key="photo")["Body"].read() == b"photo"
    assert client("lambda").list_functions()["Functions"] == []
    assert client("iam").list_roles()["Roles"] == []
    assert json.loads(server.ask("GET", "/_sagelocal/clock")) == {"speed": 1.0}
    return not marker.exists()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "rebound.evil.example"])
@pytest.mark.parametrize(
    "origin", [PAGE, {}, {"Origin": "http://localhost:8888", "Sec-Fetch-Site": "same-site"}, {"Origin": "null"}]
)
def test_a_page_gets_nothing_done(server, client, victim, tmp_path, host: str, origin: dict[str, str]):
    port = urlsplit(server.url).port
    for method, path, body in actions(tmp_path / "marker"):
        headers = {"Content-Type": "text/plain", **origin, "Host": f"{host}:{port}"}
        answer = requests.request(method, server.url + path, data=body, headers=headers, timeout=HANG)
        assert answer.status_code in (400, 403), (method, path, answer.text)
        assert b"photo" not in answer.content or b"Resource" in answer.content
    assert nothing_happened(client, server, tmp_path / "marker")


AS_ANOTHER_USER = """
import encodings.idna, json, os, sys, http.client, pathlib
os.chdir(pathlib.Path(sys.argv[3]).parent)
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
port, state, actions = int(sys.argv[2]), pathlib.Path(pathlib.Path(sys.argv[3]).name), json.load(sys.stdin)
done = []
assert os.stat(state).st_uid == 0
for method, path, body in actions:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body)
    if connection.getresponse().status < 400:
        done.append([method, path])
def allowed(what, path):
    try:
        what(path)
        done.append([what.__name__, str(path)])
    except OSError:
        pass
def read(path): path.read_bytes()
def listing(path): list(path.iterdir())
def write(path): path.write_text("x")
for name in ("owner.json", "state.db", "state.db-wal", "server.log", "server.json", "server.lock", "s3/victim/photo"):
    allowed(read, state / name)
allowed(listing, state)
allowed(write, state / "planted")
print(json.dumps(done))
"""


@AS_ROOT
def test_another_user_of_the_machine_gets_nothing_done(server, client, victim, state_dir, tmp_path):
    state_dir.parent.chmod(0o755)  # what keeps them out must be the state directory's own mode
    port = str(urlsplit(server.url).port)
    words = [sys.executable, "-c", AS_ANOTHER_USER, str(NOBODY), port, str(state_dir)]
    sent = json.dumps(actions(tmp_path / "marker"))
    done = subprocess.run(words, input=sent, capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
    assert nothing_happened(client, server, tmp_path / "marker")


def test_nobody_else_may_read_anything_below_the_state_directory(server, client, victim, state_dir):
    client("s3").upload_fileobj(BytesIO(b"x" * 100), "victim", "a/b/c")
    client("sqs").create_queue(QueueName="q")
    for path in (state_dir, *state_dir.rglob("*")):
        mode = path.lstat().st_mode
        assert stat.S_ISLNK(mode) or not mode & 0o077, f"{path} is {oct(mode)}"


def test_a_directory_that_was_open_to_others_is_closed(tmp_path):
    state = tmp_path / "state"
    state.mkdir(mode=0o755)
    state.chmod(0o755)
    lifecycle.prepare(state)
    assert state.stat().st_mode & 0o777 == 0o700
    (state / secret.NAME).chmod(0o644)
    secret.of(state)
    assert (state / secret.NAME).stat().st_mode & 0o777 == 0o600


def test_the_keys_are_made_once_however_many_start_at_a_time(tmp_path, monkeypatch):
    monkeypatch.undo()
    made = iter(secret.Keys(f"AKIA{n}", "s") for n in range(100))
    monkeypatch.setattr(secret, "new_keys", lambda: next(made))
    with ThreadPoolExecutor(16) as threads:
        found = set(threads.map(lambda _: secret.of(tmp_path), range(64)))
    assert len(found) == 1
    assert [path.name for path in tmp_path.iterdir()] == [secret.NAME]


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"AccessKeyId": "a", "SecretAccessKey": ""}', '{"AccessKeyId": "a"}']
)
def test_keys_that_cannot_be_read_stop_the_start_with_a_way_out(tmp_path, text: str):
    (tmp_path / secret.NAME).write_text(text)
    with pytest.raises(lifecycle.CannotStart, match=r"owner\.json cannot be used .* Delete the file"):
        lifecycle.prepare(tmp_path)


def test_the_secret_is_shown_by_nothing_that_prints_a_server(server):
    assert server.owner.secret_key not in f"{server!r} {server.owner!r} {sessions.Identity('a', 'b', 'c', None)!r}"
    assert "'b'" not in repr(sessions.Identity("a", "b", "c", None))


def test_the_log_holds_no_keys(server, client, state_dir):
    client("sts").get_caller_identity()
    log = (state_dir / "server.log").read_text()
    assert server.owner.secret_key not in log and server.owner.access_key not in log


def test_the_keys_of_a_role_cannot_be_computed_without_the_secret(context, tmp_path, monkeypatch):
    """Two accounts with the same role give it other keys."""
    caller = Caller("arn:aws:iam::123456789012:role/r")
    given = sessions.of_service(context, caller)
    assert sessions.of_service(context, caller) == given, "but the same ones each time"
    monkeypatch.setattr(secret, "new_keys", lambda: secret.Keys("AKIAOTHER", "another"))
    context.parts.pop(sessions.owner)
    (context.state_dir / secret.NAME).unlink()
    other = sessions.of_service(context, caller)
    assert not {*given.values()} & {other["AccessKeyId"], other["SecretAccessKey"], other["SessionToken"]}


def test_a_process_never_gets_the_owners_keys(context):
    owner = sessions.owner(context)
    unknown = context.as_role("arn:aws:iam::123456789012:role/unknown")
    for acting in (context, unknown):
        given = sessions.environment(acting)
        assert given["AWS_ACCESS_KEY_ID"] != owner.access_key and owner.secret_key not in given.values()
        caller = sessions.caller_of(context, given["AWS_ACCESS_KEY_ID"])
        assert caller is not None and caller.role in ("unknown", sessions.NO_ROLE)


def test_what_was_started_without_a_role_may_do_nothing(context):
    """A model needs no role, and whoever may make models must not get more than that by it."""
    given = sessions.environment(context)
    acting = replace(context, caller=sessions.caller_of(context, given["AWS_ACCESS_KEY_ID"]))
    with pytest.raises(AwsError, match="not authorized to perform: sagemaker:ListModels"):
        acting.call("sagemaker", "ListModels")
    assert not enforcement.may(acting, Call("s3:GetObject", "arn:aws:s3:::bucket/key"))


def test_what_a_deleted_role_left_does_not_come_back_when_its_name_is_used_again(context):
    arn = context.call("iam", "CreateRole", RoleName="gone", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    before = sessions.environment(context.as_role(arn))["AWS_ACCESS_KEY_ID"]
    context.call("iam", "DeleteRole", RoleName="gone")
    after = sessions.environment(context.as_role(arn))["AWS_ACCESS_KEY_ID"]
    assert before != after
    with pytest.raises(sessions.InvalidClientTokenId):
        sessions.caller_of(context, before)


def test_a_public_function_is_reached_by_its_own_name_only(server, functions, create_function):
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("app.py", "def handler(event, context):\n    return event['requestContext']['domainName']\n")
    name = create_function(packed.getvalue())
    url = functions.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"]
    everybody = {"FunctionName": name, "Principal": "*"}
    functions.add_permission(
        **everybody, StatementId="u", Action="lambda:InvokeFunctionUrl", FunctionUrlAuthType="NONE"
    )
    functions.add_permission(**everybody, StatementId="i", Action="lambda:InvokeFunction", InvokedViaFunctionUrl=True)
    host = urlsplit(url).netloc
    status, _, body = ask(url)
    assert (status, json.loads(body)) == (200, host)
    identifier = host.partition(".")[0]
    below = f"{server.url}/_sagelocal/urls/{identifier}/"
    status, _, body = ask(below)
    assert status == 403 and url in json.loads(body)["Message"]
    assert ask(below, headers=signed("GET", below, "lambda"))[0] == 403
    port = urlsplit(url).port
    for other in (f"{identifier}.localhost:{port}", f"{identifier}.lambda-url.us-east-1.evil.example:{port}"):
        assert ask(url, headers={"Host": other})[0] == 403
    assert ask(url, headers={"Host": f"{identifier}.lambda-url.us-east-1.localhost:1"})[0] == 403
    assert ask(url, headers={"Host": host.upper()})[0] == 200
    page = {"Origin": f"http://{host}", "Sec-Fetch-Site": "cross-site"}
    assert requests.get(f"{server.url}/", headers=page, timeout=HANG).status_code == 403, "its pages are strangers too"
    functions.update_function_url_config(FunctionName=name, AuthType="AWS_IAM")
    assert ask(url)[0] == 403
    for address in (url, below):
        assert ask(address, headers=signed("GET", address, "lambda"))[0] == 200
        assert ask(address, "POST", b"x", signed("POST", address, "lambda", b"y"))[0] == 403
        assert ask(address, headers=signed("GET", address, "s3"))[0] == 403
