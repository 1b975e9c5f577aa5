"""serve.py as an endpoint runs it: a process of its own, from the model archive's code, asked over HTTP."""

import base64
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import uvicorn
from breeds.base.container import InputError
from PIL import Image

from tests.waiting import HANG, until


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port: int, method: str, path: str, body: bytes | None = None, content_type: str | None = None):
    """(status, JSON body or None) of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG)
    try:
        connection.request(method, path, body, {"Content-Type": content_type} if content_type else {})
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if content else None
    finally:
        connection.close()


def start(model, port: int) -> subprocess.Popen:
    env = {**os.environ, "SM_MODEL_DIR": str(model), "SAGEMAKER_BIND_TO_PORT": str(port), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(model / "code" / "serve.py")]
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def wait_until_ready(server: subprocess.Popen, port: int) -> None:
    def is_ready() -> bool:
        assert server.poll() is None, server.stderr.read()
        try:
            return ask(port, "GET", "/ping")[0] == 200
        except OSError:
            return False

    until(is_ready)


@pytest.fixture(scope="module")
def port(small_model):
    chosen = free_port()
    server = start(small_model.model, chosen)
    wait_until_ready(server, chosen)
    yield chosen
    server.terminate()
    assert server.wait(HANG) in (0, -signal.SIGTERM)


def encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def test_a_picture_is_answered_with_its_breeds_most_probable_first(port, small_model):
    status, answer = ask(port, "POST", "/invocations", small_model.picture.read_bytes(), "image/jpeg")
    assert status == 200
    probabilities = [p["probability"] for p in answer["predictions"]]
    assert answer["predictions"][0]["breed"] == "red circle"
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-4)
    assert set(answer["model"]) == {"backbone", "trained_at", "validation_accuracy"}
    assert answer["known"] is (answer["unknown_score"] <= 0)


@pytest.mark.parametrize("content_type", ["image/png", "application/x-image", "IMAGE/PNG; charset=binary"])
def test_png_and_any_image_are_accepted(port, small_model, content_type):
    with Image.open(small_model.picture) as picture:
        body = encoded(picture, "PNG")
    assert ask(port, "POST", "/invocations", body, content_type)[0] == 200


def test_serving_and_evaluating_give_the_same_probabilities(port, small_model):
    from breeds.serving import inference

    status, answer = ask(port, "POST", "/invocations", small_model.picture.read_bytes(), "image/jpeg")
    expected = inference.load(small_model.model).predict(small_model.picture.read_bytes())
    assert [p["breed"] for p in answer["predictions"]] == [p.breed for p in expected]
    assert [p["probability"] for p in answer["predictions"]] == pytest.approx(
        [p.probability for p in expected], abs=0.02
    )


@pytest.mark.parametrize(
    ("body", "content_type", "status", "reason"),
    [
        (b"hello", "text/plain", 415, "text/plain"),
        (b"hello", None, 415, "(none)"),
        (b"", "image/jpeg", 400, "no body"),
        (b"hello", "image/jpeg", 400, "not a readable image"),
        (b"\xff" * (10 * 1024 * 1024 + 1), "image/jpeg", 413, "larger than 10 MiB"),
    ],
)
def test_a_bad_request_is_refused_with_its_reason_as_json(port, body, content_type, status, reason):
    answered, content = ask(port, "POST", "/invocations", body, content_type)
    assert answered == status
    assert reason in content["error"]


def test_a_truncated_jpeg_is_refused(port, small_model):
    half = small_model.picture.read_bytes()
    status, content = ask(port, "POST", "/invocations", half[: len(half) // 2], "image/jpeg")
    assert status == 400
    assert "not a readable image" in content["error"]


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(port):
    bomb = encoded(Image.fromarray(np.zeros((8000, 8000), np.uint8)), "PNG")
    assert len(bomb) < 1024 * 1024
    status, content = ask(port, "POST", "/invocations", bomb, "image/png")
    assert status == 413
    assert "pixels" in content["error"]


def test_many_requests_at_once_are_all_answered_alike(port, small_model):
    body = small_model.picture.read_bytes()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(port, "POST", "/invocations", body, "image/jpeg"), range(24)))
    assert {status for status, _ in answers} == {200}
    assert len({json.dumps(answer) for _, answer in answers}) == 1


def test_an_unknown_path_and_a_wrong_method_are_refused(port):
    assert ask(port, "GET", "/docs")[0] == 404
    assert ask(port, "GET", "/invocations")[0] == 405


def test_sigterm_lets_running_requests_finish(small_model):
    chosen = free_port()
    server = start(small_model.model, chosen)
    wait_until_ready(server, chosen)
    answers: list[int] = []
    body = small_model.picture.read_bytes()

    def worker() -> None:
        answers.append(ask(chosen, "POST", "/invocations", body, "image/jpeg")[0])

    threads = [threading.Thread(target=worker) for _ in range(6)]
    for thread in threads:
        thread.start()
    until(lambda: answers, pause=0.001)
    server.terminate()
    for thread in threads:
        thread.join()
    assert answers == [200] * 6
    assert server.wait(HANG) in (0, -signal.SIGTERM)


def test_a_server_without_a_model_says_so_and_ends(script, tmp_path):
    done = script("serve", "--model-dir", tmp_path, "--port", free_port())
    assert done.returncode == 1
    assert "holds no model" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_model_ends_the_server_with_the_reason(script, small_model, tmp_path):
    (tmp_path / "model.json").write_text((small_model.model / "model.json").read_text())
    (tmp_path / "model.pth").write_bytes(b"damaged")
    done = script("serve", "--model-dir", tmp_path, "--port", free_port())
    assert done.returncode == 1
    assert "model.pth cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


def as_json(*entries) -> bytes:
    listed = [base64.b64encode(entry).decode() if isinstance(entry, bytes) else entry for entry in entries]
    return json.dumps({"images": listed}).encode()


def as_multipart(*contents: bytes) -> bytes:
    head = (
        b'--frontier\r\nContent-Disposition: form-data; name="f"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    )
    return b"".join(head + content + b"\r\n" for content in contents) + b"--frontier--\r\n"


BATCHES = {
    "application/json": as_json,
    "multipart/form-data; boundary=frontier": as_multipart,
    'multipart/form-data; boundary="frontier"': as_multipart,
}


@pytest.mark.parametrize("content_type", BATCHES)
def test_a_batch_is_answered_image_by_image_and_one_that_cannot_be_read_is_named_in_its_place(
    port, small_model, content_type
):
    picture = small_model.picture.read_bytes()
    alone = ask(port, "POST", "/invocations", picture, "image/jpeg")[1]
    body = BATCHES[content_type](picture, b"no image", picture)
    status, answer = ask(port, "POST", "/invocations", body, content_type)
    assert status == 200
    first, broken, last = answer["predictions"]
    assert "not a readable image" in broken["error"]
    assert [p["breed"] for p in first] == [p["breed"] for p in alone["predictions"]]
    assert first == last
    assert answer["model"] == alone["model"]
    assert answer["known"] == [alone["known"], None, alone["known"]]
    assert answer["unknown_score"] == pytest.approx([alone["unknown_score"], None, alone["unknown_score"]], abs=0.01)


def test_an_entry_that_is_no_base64_is_named_in_its_place(port, small_model):
    body = as_json("%%%", 7, small_model.picture.read_bytes())
    status, answer = ask(port, "POST", "/invocations", body, "application/json")
    assert status == 200
    assert [type(entry) for entry in answer["predictions"]] == [dict, dict, list]


MULTIPART = "multipart/form-data; boundary=frontier"


@pytest.mark.parametrize(
    ("body", "content_type", "status", "reason"),
    [
        (b"{", "application/json", 400, "not JSON"),
        (b"[" * 100_000, "application/json", 400, "not JSON"),
        (b"[]", "application/json", 400, '{"images"'),
        (b'{"images": "abc"}', "application/json", 400, '{"images"'),
        (as_json(), "application/json", 400, "no image"),
        (as_json(*[b"x"] * 65), "application/json", 413, "at most 64"),
        (b" " * (25 * 1024 * 1024 + 1), "application/json", 413, "larger than 25 MiB"),
        (as_multipart(b"x"), "multipart/form-data", 400, "boundary"),
        (as_multipart(b"x")[:-20], MULTIPART, 400, "closing boundary"),
        (b"--frontier\r\nno headers\r\n--frontier--\r\n", MULTIPART, 400, "headers"),
        (as_multipart(), MULTIPART, 400, "no image"),
        (as_multipart(*[b"x"] * 65), MULTIPART, 413, "at most 64"),
        (b"x" * (24 * 1024 * 1024), "text/plain", 415, "text/plain"),
    ],
)
def test_a_bad_batch_is_refused_with_its_reason(port, body, content_type, status, reason):
    answered, content = ask(port, "POST", "/invocations", body, content_type)
    assert answered == status
    assert reason in content["error"]


def test_an_image_of_a_batch_may_hold_any_bytes_the_boundary_but_for_its_line_start(port, small_model):
    picture = small_model.picture.read_bytes() + b"--frontier and \r\n-frontier"
    status, answer = ask(port, "POST", "/invocations", as_multipart(picture), MULTIPART)
    assert status == 200
    assert answer["predictions"][0][0]["breed"] == "red circle"


class Held:
    """A service whose answers wait until they are let go."""

    def __init__(self):
        self.begun, self.let_go = 0, threading.Event()

    def answer(self, body, content_type):
        self.begun += 1
        self.let_go.wait(HANG)
        return 200, {"length": len(body)}


@contextmanager
def served(scripts, service, **limits):
    """create_app with one worker behind a real server in a thread of this process."""
    serve = scripts("serve")
    port = free_port()
    app = serve.create_app(service, 1, serve.Limits(**limits))
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        yield port
    finally:
        server.should_exit = True
        thread.join()


def test_past_its_queue_a_request_is_told_to_come_back_and_the_others_are_answered(scripts):
    service = Held()
    with served(scripts, service, max_queue=2) as port, ThreadPoolExecutor(8) as pool:

        def post(_):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG)
            connection.request("POST", "/invocations", b"x" * 200_000, {"Content-Type": "image/jpeg"})
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.headers.get("Retry-After")

        asked = [pool.submit(post, i) for i in range(8)]
        until(lambda: sum(each.done() for each in asked) == 5)
        assert {each.result() for each in asked if each.done()} == {(503, "1")}
        assert ask(port, "GET", "/ping")[0] == 200
        service.let_go.set()
        answers = [each.result()[0] for each in asked]
        assert sorted(answers) == [200] * 3 + [503] * 5
        assert ask(port, "POST", "/invocations", b"x", "image/jpeg") == (200, {"length": 1})


def test_past_its_deadline_a_request_gets_504_and_what_had_not_begun_never_does(scripts):
    service = Held()
    with served(scripts, service, max_queue=9, deadline_seconds=2) as port, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: ask(port, "POST", "/invocations", b"x", "image/jpeg"), range(4)))
        assert {status for status, _ in answers} == {504}
        assert "2 s" in answers[0][1]["error"]
        service.let_go.set()
        assert ask(port, "POST", "/invocations", b"x", "image/jpeg")[0] == 200
        assert service.begun == 2


def test_a_body_that_stalls_ends_at_the_deadline_and_leaves_the_queue(scripts):
    service = Held()
    service.let_go.set()
    with served(scripts, service, max_queue=0, deadline_seconds=2) as port:
        with socket.create_connection(("127.0.0.1", port)) as stalled:
            head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: 100\r\n\r\n"
            stalled.sendall(head + b"half")
            assert b" 504 " in stalled.recv(1000)
        assert service.begun == 0
        assert ask(port, "POST", "/invocations", b"x", "image/jpeg")[0] == 200


def test_a_client_that_leaves_before_its_body_is_whole_frees_its_place_without_a_traceback(scripts, caplog):
    service = Held()
    service.let_go.set()
    asked: list[int] = []
    with served(scripts, service, max_queue=0) as port:

        def another() -> int:
            asked.append(ask(port, "POST", "/invocations", b"x", "image/jpeg")[0])
            return asked[-1]

        with socket.create_connection(("127.0.0.1", port)) as leaving:
            head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: 100\r\n\r\n"
            leaving.sendall(head + b"half")
            until(another, lambda status: status == 503)
        until(another, lambda status: status == 200)
        assert service.begun == asked.count(200)
    assert not caplog.records


@pytest.mark.parametrize(
    ("variable", "value"),
    [("PAWLINE_MAX_QUEUE", "many"), ("PAWLINE_MAX_QUEUE", "-1"), ("PAWLINE_DEADLINE_SECONDS", "0")],
)
def test_limits_that_make_no_sense_are_named(scripts, variable, value):
    with pytest.raises(InputError, match=variable):
        scripts("serve").Limits.from_environment({variable: value})


def test_the_model_has_predicted_before_the_server_listens(scripts, small_model, monkeypatch):
    """The first request does not pay for what only a first prediction needs."""
    from breeds.serving import inference

    serve, done = scripts("serve"), []
    predictor = inference.load(small_model.model)
    monkeypatch.setattr(type(predictor), "predict", lambda *_: done.append("predicted"))
    monkeypatch.setattr(serve.uvicorn, "run", lambda *_, **__: done.append("listens"))
    monkeypatch.setattr(sys, "argv", ["serve", "--model-dir", str(small_model.model)])
    serve.main()
    assert done == ["predicted"] * inference.WARM_UP_ROUNDS + ["listens"]
