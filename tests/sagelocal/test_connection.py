"""The socket in front of everything: what is read as a request, how large it may be, and who is waited for."""

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import psutil
import pytest
from botocore.exceptions import ClientError

from sagelocal.cli import common
from sagelocal.core import lifecycle
from sagelocal.gateway import connection, listener
from sagelocal.gateway.listener import Connections, Server
from sagelocal.gateway.server import Application
from tests.signing import signed
from tests.waiting import HANG

MIB = 1 << 20
HEALTH = "/_sagelocal/health"


@pytest.fixture
def port(context) -> Iterator[int]:
    """A server of this process, so that a test can shorten what it waits for."""
    server = Server(0, Application(context, on_stop=lambda: None))
    context.url = f"http://127.0.0.1:{server.port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server.port
    server.shutdown()
    server.server_close()
    thread.join()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=HANG)


def head(port: int, *lines: str, first: str = f"GET {HEALTH} HTTP/1.1", service: str = "", body: bytes = b"") -> bytes:
    """The head of a request, signed for `service` if it is given; `body`: what is to follow."""
    method, target = first.split()[:2]
    if service:
        amazons = dict(line.split(": ", 1) for line in lines if line.lower().startswith("x-amz"))
        sent = signed(method, f"http://127.0.0.1:{port}{target}", service, body, amazons)
        plain = [line for line in lines if line.partition(":")[0] not in amazons]
        lines = (*plain, *(f"{name}: {value}" for name, value in sent.items()))
    return "\r\n".join([first, f"Host: 127.0.0.1:{port}", *lines, "", ""]).encode()


def until_closed(sock: socket.socket) -> bytes:
    with contextlib.suppress(ConnectionError):
        return b"".join(iter(lambda: sock.recv(65536), b""))
    return b""


def ask(port: int, sent: bytes) -> bytes:
    """All that is answered to `sent` on a connection of its own, until the server closes it."""
    with connect(port) as sock:
        sock.sendall(sent)
        return until_closed(sock)


def status(answer: bytes) -> int:
    return int(answer.split()[1]) if answer else 0


def answers(port: int) -> bool:
    """Whether the server answers somebody else."""
    return status(ask(port, head(port, "Connection: close"))) == 200


MALFORMED = {
    "two lengths": ["Content-Length: 2", "Content-Length: 30"],
    "the same length twice": ["Content-Length: 2", "Content-Length: 2"],
    "a list of lengths": ["Content-Length: 2, 2"],
    "a negative length": ["Content-Length: -5"],
    "a length with a sign": ["Content-Length: +2"],
    "a length with an underscore": ["Content-Length: 1_0"],
    "a length in other digits": ["Content-Length: \u0662"],
    "an empty length": ["Content-Length:"],
    "a length and chunks": ["Content-Length: 3", "Transfer-Encoding: chunked"],
    "chunks and a length": ["Transfer-Encoding: chunked", "Content-Length: 3"],
    "an unknown coding": ["Transfer-Encoding: xchunked"],
    "chunks within identity": ["Transfer-Encoding: chunked, identity"],
    "compressed chunks": ["Transfer-Encoding: gzip, chunked"],
    "chunks twice": ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
    "two codings": ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
    "a coding with a control character": ["Transfer-Encoding: \x0bchunked"],
    "a space before the colon": ["Content-Length : 5"],
    "a folded line": ["X: a", " b"],
    "a line without a colon": ["Nothing"],
    "a header without a name": [": a"],
    "a name with a space": ["X Y: a"],
    "a NUL": ["X: a\0b"],
    "a carriage return alone": ["X: a\rY: b"],
    "a line feed alone": ["X: a\nY: b"],
    "two hosts": ["Host: evil.example"],
}


@pytest.mark.parametrize("lines", MALFORMED.values(), ids=MALFORMED)
def test_a_head_that_can_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_read(port, lines):
    behind = b"2\r\n{}\r\n0\r\n\r\n" + head(port)
    answer = ask(port, head(port, *lines, first=f"POST {HEALTH} HTTP/1.1") + behind)
    assert status(answer) == 400 and b"Connection: close" in answer
    assert answer.count(b"HTTP/1.1 ") == 1 and b"version" not in answer


FIRST_LINES = {
    f"GET {HEALTH} HTTP/2.0": 505,
    f"GET {HEALTH} HTTP/1.1 ": 400,
    f"GET  {HEALTH} HTTP/1.1": 400,
    f"GET {HEALTH}": 400,
    f"GET {HEALTH} http/1.1": 400,
    f"G@T {HEALTH} HTTP/1.1": 400,
    f"GET {HEALTH}\x00 HTTP/1.1": 400,
    "GET health HTTP/1.1": 400,
    "CONNECT evil.example:443 HTTP/1.1": 400,
    f"GET {HEALTH}?{'x' * (17 << 10)} HTTP/1.1": 414,
}


@pytest.mark.parametrize("line", FIRST_LINES, ids=lambda line: ascii(line[:30]))
def test_a_first_line_that_is_none_is_refused(port, line):
    assert status(ask(port, head(port, first=line))) == FIRST_LINES[line]


def test_the_first_version_of_http_needs_no_host_and_has_no_chunks(port):
    assert status(ask(port, f"GET {HEALTH} HTTP/1.0\r\n\r\n".encode())) == 200
    assert status(ask(port, f"POST {HEALTH} HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode())) == 400
    assert status(ask(port, f"GET {HEALTH} HTTP/1.1\r\n\r\n".encode())) == 400


def test_the_authority_of_an_absolute_target_stands_for_the_host(port):
    named = f"GET http://127.0.0.1:{port}{HEALTH} HTTP/1.1"
    assert b'"version"' in ask(port, head(port, "Connection: close", first=named))
    assert status(ask(port, head(port, "Connection: close", first=f"GET http://evil.example{HEALTH} HTTP/1.1"))) == 403


def test_too_many_and_too_long_headers_are_refused(port):
    assert status(ask(port, head(port, *(f"X-{n}: 1" for n in range(300))))) == 431
    assert status(ask(port, head(port, f"X: {'x' * (65 << 10)}"))) == 431
    assert status(ask(port, head(port, "Connection: close", *(f"X-{n}: {'x' * 200}" for n in range(200))))) == 200


BAD_CHUNKS = {
    "no number": b"x\r\n{}\r\n0\r\n\r\n",
    "a sign": b"+2\r\n{}\r\n0\r\n\r\n",
    "a prefix": b"0x2\r\n{}\r\n0\r\n\r\n",
    "an underscore": b"0_2\r\n{}\r\n0\r\n\r\n",
    "nothing": b"\r\n{}\r\n0\r\n\r\n",
    "negative": b"-2\r\n{}\r\n0\r\n\r\n",
    "a line feed alone": b"2\n{}\r\n0\r\n\r\n",
    "too little": b"1\r\n{}\r\n0\r\n\r\n",
    "more than 2^60": b"ffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    "a long extension": b"2;" + b"x" * 2000 + b"\r\n{}\r\n0\r\n\r\n",
    "a malformed trailer": b"2\r\n{}\r\n0\r\nX : a\r\n\r\n",
}


@pytest.mark.parametrize("body", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
def test_a_malformed_chunk_is_refused_and_nothing_behind_it_is_read(port, body):
    target = ["X-Amz-Target: SageMaker.ListModels", "Transfer-Encoding: chunked"]
    answer = ask(port, head(port, *target, first="POST / HTTP/1.1", service="sagemaker") + body + head(port))
    assert status(answer) == 400 and answer.count(b"HTTP/1.1 ") == 1


def test_chunks_with_extensions_and_trailers_are_one_body_and_the_connection_stays_open(port):
    target = ["X-Amz-Target: SageMaker.ListModels", "Transfer-Encoding: chunked"]
    body = b'1;a="b"\r\n{\r\n01\r\n}\r\n0\r\nX-Sum: 1\r\n\r\n'
    sent = head(port, *target, first="POST / HTTP/1.1", service="sagemaker", body=b"{}")
    answer = ask(port, sent + body + head(port, "Connection: close"))
    assert answer.count(b"HTTP/1.1 200 OK") == 2 and b'{"Models": []}' in answer and b"version" in answer


def test_a_body_that_breaks_off_is_refused_as_incomplete(port):
    for framing in ("Content-Length: 10", "Transfer-Encoding: chunked"):
        with connect(port) as sock:
            sock.sendall(head(port, framing, first="PUT /bucket?tagging HTTP/1.1", service="s3") + b"9\r\n<a")
            sock.shutdown(socket.SHUT_WR)
            assert status(until_closed(sock)) in (400, 404)
    assert answers(port)


TOO_LARGE = [  # service, first line, headers, bytes that are too many, AWS's code
    ("sagemaker", "POST / HTTP/1.1", ["X-Amz-Target: SageMaker.CreatePipeline"], 7 * MIB,
     "RequestEntityTooLargeException"),
    ("iam", "POST / HTTP/1.1", [], 7 * MIB, "RequestEntityTooLargeException"),
    ("monitoring", "POST /service/GraniteServiceVersion20100801/operation/PutMetricData HTTP/1.1",
     ["Content-Type: application/cbor"], 7 * MIB, "RequestEntityTooLargeException"),
    ("sqs", "POST / HTTP/1.1", ["X-Amz-Target: AmazonSQS.SendMessage"], 33 * MIB, "RequestEntityTooLargeException"),
    ("sagemaker", "POST /endpoints/e/invocations HTTP/1.1", [], 26 * MIB, "ValidationError"),
    ("lambda", "POST /2015-03-31/functions/f/invocations HTTP/1.1", [], 7 * MIB, "RequestTooLargeException"),
    ("lambda", "POST /2015-03-31/functions/f/invocations HTTP/1.1", ["X-Amz-Invocation-Type: Event"], 2 * MIB,
     "RequestTooLargeException"),
    ("lambda", "POST /2015-03-31/functions HTTP/1.1", [], 67 * MIB, "RequestEntityTooLargeException"),
    ("lambda", "PUT /2015-03-31/functions/f/code HTTP/1.1", [], 67 * MIB, "RequestEntityTooLargeException"),
    ("lambda", "PUT /2015-03-31/functions/f/configuration HTTP/1.1", [], 2 * MIB, "RequestEntityTooLargeException"),
    ("s3", "PUT /bucket/key HTTP/1.1", [], (5 << 30) + 1, "EntityTooLarge"),
    ("s3", "POST /bucket?delete HTTP/1.1", [], 9 * MIB, "MaxMessageLengthExceeded"),
    ("s3", "PUT /bucket?policy HTTP/1.1", [], 9 * MIB, "MaxMessageLengthExceeded"),
    ("s3", "PUT /bucket/key?tagging HTTP/1.1", [], 9 * MIB, "MaxMessageLengthExceeded"),
]  # fmt: skip


@pytest.mark.parametrize(("service", "first", "lines", "size", "code"), TOO_LARGE, ids=lambda value: str(value)[:40])
def test_a_body_that_says_it_is_too_large_is_refused_before_it_comes(port, service, first, lines, size, code):
    answer = ask(port, head(port, f"Content-Length: {size}", *lines, first=first, service=service))
    assert status(answer) in (400, 413) and code.encode() in answer and b"Connection: close" in answer


@pytest.mark.parametrize(
    ("service", "first", "lines", "size", "code"), TOO_LARGE[:1] + TOO_LARGE[5:7] + TOO_LARGE[11:12]
)
def test_a_body_that_does_not_say_its_size_is_counted(port, service, first, lines, size, code):
    ask(port, head(port, "Connection: close", first="PUT /bucket HTTP/1.1", service="s3"))
    sent = head(port, "Transfer-Encoding: chunked", "Connection: close", *lines, first=first, service=service)
    answer = ask(port, sent + b"%x\r\n%s\r\n0\r\n\r\n" % (size, b" " * size))
    assert status(answer) in (400, 413) and code.encode() in answer


def test_a_huge_body_costs_no_memory_and_its_client_gets_the_answer(server, client):
    process = psutil.Process(server.pid)
    port = int(server.url.rpartition(":")[2])
    before = process.memory_info().rss
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG)
    asked.putrequest("POST", "/")
    asked.putheader("Content-Length", str(500 * MIB))
    target = {"X-Amz-Target": "SageMaker.CreatePipeline"}
    for name, value in signed("POST", f"{server.url}/", "sagemaker", headers=target).items():
        asked.putheader(name, value)
    asked.endheaders()
    for _ in range(500):
        asked.send(b" " * MIB)
    answer = asked.getresponse()
    assert (answer.status, json.loads(answer.read())["__type"]) == (413, "RequestEntityTooLargeException")
    client("s3").create_bucket(Bucket="large")
    client("s3").put_object(Bucket="large", Key="k", Body=b" " * (150 * MIB))
    assert client("s3").head_object(Bucket="large", Key="k")["ContentLength"] == 150 * MIB
    assert process.memory_info().rss - before < 50 * MIB


def test_clients_see_the_refusal_of_a_large_body_as_a_client_error(client):
    with pytest.raises(ClientError, match="RequestTooLargeException"):
        client("lambda").invoke(FunctionName="f", Payload=b" " * (20 * MIB))
    with pytest.raises(ClientError, match="ValidationError"):
        client("sagemaker-runtime").invoke_endpoint(EndpointName="e", Body=b" " * (80 * MIB))


def test_headers_that_come_too_slowly_are_given_up(port, monkeypatch):
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.3)
    with connect(port) as sock:
        with contextlib.suppress(OSError):
            for letter in f"GET {HEALTH} HTTP/1.1\r\nX: " + "x" * 1000:
                sock.send(letter.encode())
                time.sleep(0.02)
                if letter == "x" and sock.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK):
                    break
        assert status(until_closed(sock)) == 408


def test_a_body_that_comes_too_slowly_is_given_up_and_a_slow_but_steady_one_is_not(port, monkeypatch):
    monkeypatch.setattr(connection, "BODY_SECONDS", 0.5)
    lines = ["Content-Length: 400", "X-Amz-Target: SageMaker.ListModels", "Connection: close"]
    body = b"{" + b" " * 398 + b"}"
    sent = head(port, *lines, first="POST / HTTP/1.1", service="sagemaker", body=body)
    with connect(port) as sock:
        sock.sendall(sent + b"{")
        answer = until_closed(sock)
        assert status(answer) == 400 and b"RequestTimeout" in answer
    with connect(port) as sock:
        sock.sendall(sent + b"{")
        for _ in range(7):
            time.sleep(0.1)
            sock.sendall(b" " * 50)
        sock.sendall(b" " * 48 + b"}")
        assert status(until_closed(sock)) == 200


def test_a_connection_that_waits_too_long_for_its_next_request_is_closed(port, monkeypatch):
    monkeypatch.setattr(connection, "IDLE_SECONDS", 0.2)
    with connect(port) as sock:
        sock.sendall(head(port))
        assert until_closed(sock).count(b"HTTP/1.1 200") == 1


def test_half_open_requests_keep_nobody_else_out(port):
    half_open = [connect(port) for _ in range(400)]
    for sock in half_open:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: a\r\n")
    assert answers(port)
    for sock in half_open:
        sock.close()


def test_at_the_limit_the_connection_that_waited_longest_gives_way(port, monkeypatch):
    monkeypatch.setattr(listener, "GRACE_SECONDS", 0.0)
    idle = [connect(port) for _ in range(listener.most_connections())]
    for sock in idle:
        sock.sendall(head(port))
        assert status(sock.recv(65536)) == 200
    assert answers(port)
    assert until_closed(idle[0]) == b""
    idle[-1].sendall(head(port))
    assert status(idle[-1].recv(65536)) == 200
    for sock in idle:
        sock.close()


def test_only_where_every_connection_is_at_work_the_newest_is_turned_away():
    pairs = [socket.socketpair() for _ in range(4)]
    (first, _), (second, _), (third, _), (fourth, _) = pairs
    connections = Connections(2)
    assert connections.admit(first) and connections.works(first)
    assert connections.admit(second)
    assert not connections.admit(third), "one at work, one whose first request is awaited"
    assert connections.works(second) and not connections.admit(third)
    connections.waits(first)
    assert connections.admit(third) and not connections.works(first)
    connections.gone(second)
    assert connections.admit(fourth)
    for pair in pairs:
        pair[0].close()
        pair[1].close()


def test_with_few_files_idle_connections_do_not_block_others(tmp_path):
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); "
        "from sagelocal.cli import main; sys.exit(main(['up', '--foreground', '--state-dir', sys.argv[1]]))"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "state")], stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + HANG
        while (found := lifecycle.find(tmp_path / "state")) is None and time.monotonic() < end:
            time.sleep(0.1)
        idle = [connect(int(found.url.rpartition(":")[2])) for _ in range(100)]
        time.sleep(listener.GRACE_SECONDS)
        s3 = common.client(found, "s3")
        s3.create_bucket(Bucket="bucket")
        s3.put_object(Bucket="bucket", Key="k", Body=b"x" * MIB)
        assert s3.get_object(Bucket="bucket", Key="k")["ContentLength"] == MIB
        for sock in idle:
            sock.close()
    finally:
        process.terminate()
        process.wait(HANG)
