"""Nothing that a caller sent is in a log or a trace, however a request fails and whatever logging is turned on."""

import base64
import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hostile_servers import HOST
from lambda_support import picture_bytes

from tests.waiting import HANG

DRIVER = Path(__file__).parent / "every_failure.py"
EVERYTHING_ON = {
    "AWS_LAMBDA_LOG_LEVEL": "DEBUG",
    "POWERTOOLS_LOG_LEVEL": "DEBUG",
    "POWERTOOLS_LOGGER_LOG_EVENT": "true",
    "POWERTOOLS_TRACER_CAPTURE_RESPONSE": "true",
    "POWERTOOLS_TRACER_CAPTURE_ERROR": "true",
    "_X_AMZN_TRACE_ID": "Root=1-5e645f3e-1dfad076a177c5ccc5de12f5;Parent=03caaf28a4f8b1b3;Sampled=1",
    "LAMBDA_TASK_ROOT": "/var/task",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
    "PATH": "/usr/bin:/bin",
}


class TraceDaemon:
    """What Lambda runs beside a function: it takes trace segments as UDP datagrams."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(60)
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._receive, daemon=True).start()

    def _receive(self) -> None:
        try:
            while datagram := self._socket.recv(65_536):
                self.received.append(datagram)
        except OSError:
            pass


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> tuple[list[str], str, str]:
    """The outcome of each failure, what was printed, what was traced."""
    daemon = TraceDaemon()
    done = subprocess.run(
        [sys.executable, str(DRIVER), str(tmp_path_factory.mktemp("certificates"))],
        env=EVERYTHING_ON | {"AWS_XRAY_DAEMON_ADDRESS": daemon.address},
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    *printed, last = done.stdout.splitlines()
    return json.loads(last)["codes"], "\n".join(printed) + done.stderr, b"\n".join(daemon.received).decode()


def test_every_kind_of_failure_is_among_those_that_were_driven(ran):
    codes, _, _ = ran
    assert set(codes) == {
        "InvalidRequest",
        "UrlRefused",
        "UrlNotFetched",
        "OriginFailed",
        "FetchTimedOut",
        "NotAnImage",
        "UnreadableImage",
        "ImageTooLarge",
        "ModelFailed",
        "EndpointUnavailable",
        "InternalError",
        "answered",
    }
    assert codes.count("answered") == 2
    assert codes.count("InternalError") == 2


@pytest.mark.parametrize(
    "piece",
    [
        "secret-path",
        "secret-token",
        HOST,
        "JFIF",
        "\\xff\\xd8",
        base64.b64encode(picture_bytes(size=(97, 61))).decode()[:24],
    ],
    ids=["path", "query", "host", "picture", "bytes of a picture", "base64"],
)
def test_what_a_caller_sent_is_in_no_log_and_no_trace(ran, piece):
    _, logged, traced = ran
    assert piece not in logged
    assert piece not in traced


def test_there_were_logs_and_traces_to_look_at(ran):
    codes, logged, traced = ran
    lines = [json.loads(line) for line in logged.splitlines() if line.startswith('{"level"')]
    assert len([line for line in lines if line["message"] in ("answered", "refused")]) == len(codes)
    assert "unexpected failure" in [line["message"] for line in lines]
    assert '"outcome": "UrlRefused"' in traced.replace('":"', '": "')
    assert "InvokeEndpoint" in traced
