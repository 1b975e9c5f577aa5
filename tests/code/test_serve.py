"""serve.py as an endpoint runs it: a process of its own, from the model archive's code, asked over HTTP."""

import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port: int, method: str, path: str, body: bytes | None = None, content_type: str | None = None):
    """(status, JSON body or None) of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
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
    for _ in range(600):
        assert server.poll() is None, server.stderr.read()
        try:
            if ask(port, "GET", "/ping")[0] == 200:
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the server did not become ready")


@pytest.fixture(scope="module")
def port(small_model):
    chosen = free_port()
    server = start(small_model.model, chosen)
    wait_until_ready(server, chosen)
    yield chosen
    server.terminate()
    assert server.wait(20) in (0, -signal.SIGTERM)


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


@pytest.mark.parametrize("content_type", ["image/png", "application/x-image", "IMAGE/PNG; charset=binary"])
def test_png_and_any_image_are_accepted(port, small_model, content_type):
    with Image.open(small_model.picture) as picture:
        body = encoded(picture, "PNG")
    assert ask(port, "POST", "/invocations", body, content_type)[0] == 200


def test_serving_and_evaluating_give_the_same_probabilities(port, small_model):
    from breeds import inference

    status, answer = ask(port, "POST", "/invocations", small_model.picture.read_bytes(), "image/jpeg")
    with Image.open(small_model.picture) as picture:
        expected = inference.load(small_model.model).predict(picture)
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
    assert status == 400
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
    while not answers:
        time.sleep(0.001)
    server.terminate()
    for thread in threads:
        thread.join()
    assert answers == [200] * 6
    assert server.wait(20) in (0, -signal.SIGTERM)


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
