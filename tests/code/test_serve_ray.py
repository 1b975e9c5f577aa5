"""The model archive under Ray Serve, asked as the adapter of AWS's image asks, and compared with serve.py.

The tests marked `ray` need .venv/ray, which `make test-ray` makes: Ray and torch in the versions of AWS's image.
"""

import base64
import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest
import yaml
from packaging.requirements import Requirement
from PIL import Image

from tests.locks import versions
from tests.waiting import HANG, until

ROOT = Path(__file__).resolve().parents[2]
RAY = Path(__file__).parent / "ray"
RAY_PYTHON = ROOT / ".venv" / "ray" / "bin" / "python"
MAX_QUEUE = 4
LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    @property
    def json(self):
        return json.loads(self.body)


@dataclass(frozen=True)
class Server:
    """Where a server takes pings and requests, and what starting it took."""

    port: int
    ping_path: str
    invocations_path: str
    start_seconds: float
    first_healthy_seconds: float  # when Ray's own proxy first said yes
    pid: int
    first_answers: tuple[float, ...] = ()  # seconds of each of the first ten after ping's first yes

    def ping(self) -> Answer:
        return ask(self.port, "GET", self.ping_path)

    def invoke(self, body: bytes, content_type: str) -> Answer:
        """Only these headers come through AWS's adapter."""
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        return ask(self.port, "POST", self.invocations_path, body, headers)


def ask(port: int, method: str, path: str, body: bytes | None = None, headers: dict | None = None) -> Answer:
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        content = answer.read()
        return Answer(answer.status, dict(answer.getheaders()), content, time.perf_counter() - began)
    finally:
        connection.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def first_yes(process: subprocess.Popen, port: int, path: str, log: Path, began: float) -> float:
    """Seconds since `began` until GET answers 200."""

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return ask(port, "GET", path).status == 200
        except OSError:
            return False

    until(answers)
    return time.monotonic() - began


def end(process: subprocess.Popen) -> None:
    """As Ctrl-C does; whatever of Ray is left after that is killed."""
    if process.poll() is not None:
        return
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, left = psutil.wait_procs([psutil.Process(process.pid), *family], timeout=HANG)
    for child in left:
        child.kill()


@pytest.fixture(scope="module")
def archive(small_model, tmp_path_factory) -> Path:
    """The content of model.tar.gz where no repository is around it."""
    return Path(shutil.copytree(small_model.model, tmp_path_factory.mktemp("opt") / "model"))


@pytest.fixture(scope="module")
def with_ray(archive, small_model, tmp_path_factory):
    if not RAY_PYTHON.exists():
        pytest.skip("Ray is not installed: make test-ray does it")
    port, log = free_port(), tmp_path_factory.mktemp("log") / "ray.log"
    own = {name: value for name, value in os.environ.items() if not name.startswith(("SM_", "RAY_", "OMP_"))}
    environment = {
        **own,
        "PYTHONPATH": os.pathsep.join([str(RAY / "loopback"), str(archive)]),
        "SM_MODEL_DIR": str(archive),
        "PAWLINE_MAX_QUEUE": str(MAX_QUEUE),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # the way on every system to keep Ray on the loopback address
    }
    # Not below pytest's folder: Ray puts sockets there, whose paths may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        began = time.monotonic()
        command = [RAY_PYTHON, RAY / "start.py", archive / "config.yaml", str(port), folder]
        with log.open("w") as output:
            process = subprocess.Popen(
                command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            healthy = first_yes(process, port, "/-/healthz", log, began)
            warm = first_yes(process, port, "/replica/-/healthz", log, began)
            server = Server(port, "/replica/-/healthz", "/replica/", warm, healthy, process.pid)
            photo = small_model.picture.read_bytes()
            early = tuple(server.invoke(photo, "image/jpeg").seconds for _ in range(10))
            yield replace(server, first_answers=early)
        finally:
            end(process)


@pytest.fixture(scope="module")
def plain(archive, tmp_path_factory):
    port, log = free_port(), tmp_path_factory.mktemp("log") / "serve.log"
    environment = {**os.environ, "SM_MODEL_DIR": str(archive), "SAGEMAKER_BIND_TO_PORT": str(port)}
    environment["PAWLINE_MAX_QUEUE"] = str(MAX_QUEUE)
    began = time.monotonic()
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, archive / "code" / "serve.py"], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        warm = first_yes(process, port, "/ping", log, began)
        yield Server(port, "/ping", "/invocations", warm, warm, process.pid)
    finally:
        process.terminate()
        process.wait(HANG)


def encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def as_json(*images: bytes) -> bytes:
    return json.dumps({"images": [base64.b64encode(image).decode() for image in images]}).encode()


def as_multipart(*images: bytes) -> bytes:
    parts = [b'--line\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + image + b"\r\n" for image in images]
    return b"".join([*parts, b"--line--\r\n"])


def assert_same_predictions(one: list, other: list) -> None:
    """Breeds in the same order, and probabilities apart by no more than another release of torch may put them."""
    assert [p["breed"] for p in one] == [p["breed"] for p in other]
    assert [p["probability"] for p in one] == pytest.approx([p["probability"] for p in other], abs=0.02)


def test_the_archive_has_at_its_root_what_the_image_looks_for(archive):
    [application] = yaml.safe_load((archive / "config.yaml").read_text())["applications"]
    module, _, name = application["import_path"].partition(":")
    assert application["route_prefix"] == "/"
    assert re.search(rf"^{name} = ", (archive / f"{module}.py").read_text(), re.MULTILINE)


def test_the_locked_environment_meets_what_the_archive_asks_the_image_to_install(archive):
    locked = versions(RAY / "requirements.lock")
    asked = [Requirement(line) for line in (archive / "code" / "requirements.txt").read_text().splitlines()]
    assert asked
    for requirement in asked:
        assert requirement.specifier.contains(locked[requirement.name]), requirement


@pytest.mark.ray
def test_a_photo_gets_the_answer_that_serve_py_gives(with_ray, plain, small_model):
    photo = small_model.picture.read_bytes()
    answer, expected = with_ray.invoke(photo, "image/jpeg"), plain.invoke(photo, "image/jpeg")
    assert (answer.status, expected.status) == (200, 200)
    assert_same_predictions(answer.json["predictions"], expected.json["predictions"])
    assert answer.json["predictions"][0]["breed"] == "red circle"
    assert answer.json["model"] == expected.json["model"]


@pytest.mark.ray
@pytest.mark.parametrize(
    ("pack", "content_type"), [(as_json, "application/json"), (as_multipart, "multipart/form-data; boundary=line")]
)
def test_a_batch_is_answered_image_by_image_as_by_serve_py(with_ray, plain, small_model, pack, content_type):
    photo = small_model.picture.read_bytes()
    body = pack(photo, b"not a picture", encoded(Image.new("RGB", (80, 60), "blue"), "PNG"))
    answer, expected = with_ray.invoke(body, content_type), plain.invoke(body, content_type)
    assert (answer.status, expected.status) == (200, 200)
    given, wanted = answer.json["predictions"], expected.json["predictions"]
    assert len(given) == 3
    assert given[1] == wanted[1] and "error" in given[1]
    for i in (0, 2):
        assert_same_predictions(given[i], wanted[i])


@pytest.mark.ray
@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"hello", "text/plain", 415),
        (b"", "image/jpeg", 400),
        (b"hello", "image/jpeg", 400),
        (b'{"images": 3}', "application/json", 400),
        (as_json(*[b"x"] * 65), "application/json", 413),
        (b"\xff" * (10 * 1024 * 1024 + 1), "image/jpeg", 413),
        (encoded(Image.new("1", (8000, 8000)), "PNG"), "image/png", 413),
    ],
    ids=["type", "empty", "no-picture", "no-list", "many-images", "many-bytes", "many-pixels"],
)
def test_a_bad_request_is_refused_in_the_words_of_serve_py(with_ray, plain, body, content_type, status):
    answer, expected = with_ray.invoke(body, content_type), plain.invoke(body, content_type)
    assert (answer.status, answer.json) == (expected.status, expected.json)
    assert answer.status == status


@pytest.mark.ray
def test_past_the_queue_requests_get_503_with_retry_after_and_ping_still_answers(with_ray, small_model):
    batch = as_json(*[small_model.picture.read_bytes()] * 64)
    with ThreadPoolExecutor(4 * MAX_QUEUE) as clients:
        asked = [clients.submit(with_ray.invoke, batch, "application/json") for _ in range(4 * MAX_QUEUE)]
        until(lambda: any(each.done() for each in asked))  # the queue is full
        assert with_ray.ping().status == 200
        answers = [future.result() for future in asked]
    refused = [answer for answer in answers if answer.status != 200]
    assert refused and len(refused) < len(answers)
    for answer in refused:
        assert answer.status == 503
        assert int({name.lower(): value for name, value in answer.headers.items()}["retry-after"]) >= 1
        assert "try again" in answer.json["error"]


@pytest.mark.ray
def test_ray_listens_on_this_machine_alone(with_ray):
    starter = psutil.Process(with_ray.pid)
    family = [starter, *starter.children(recursive=True)]
    addresses = {
        (process.name(), connection.laddr.ip)
        for process in family
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses
    assert not {pair for pair in addresses if pair[1] not in LOOPBACK}


@pytest.mark.ray
def test_the_first_answer_after_ping_is_as_fast_as_the_tenth(with_ray):
    first, *others = with_ray.first_answers
    assert first < 3 * statistics.median(others) + 0.05


@pytest.mark.ray
def test_ping_says_yes_later_than_rays_own_proxy_which_does_not_wait_for_the_model(with_ray):
    assert with_ray.first_healthy_seconds < with_ray.start_seconds


@pytest.mark.ray
def test_the_weights_answer_the_same_with_the_torch_of_the_image(archive, plain, small_model, tmp_path):
    model = Path(shutil.copytree(archive, tmp_path / "model", ignore=shutil.ignore_patterns("openvino")))
    script = (
        "import json, pathlib, sys, torch; sys.path.insert(0, sys.argv[1] + '/code')\n"
        "from breeds.serving import inference\n"
        "predictor = inference.load(pathlib.Path(sys.argv[1]))\n"
        "found = predictor.predict(pathlib.Path(sys.argv[2]).read_bytes())\n"
        "print(json.dumps([torch.__version__, predictor.network.form, [vars(p) for p in found]]))"
    )
    command = [RAY_PYTHON, "-c", script, model, small_model.picture]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 0, done.stderr
    version, form, predictions = json.loads(done.stdout.splitlines()[-1])
    assert version.startswith("2.10.") and form.startswith("pytorch")
    expected = plain.invoke(small_model.picture.read_bytes(), "image/jpeg").json["predictions"]
    assert_same_predictions(predictions, expected)


@pytest.mark.ray
def test_every_request_of_a_short_load_is_answered(with_ray, plain, small_model):
    photo = small_model.picture.read_bytes()
    for name, server in (("serve.py", plain), ("Ray Serve", with_ray)):
        print(f"\n{name}: warm after {server.start_seconds:.1f} s, {load(server, photo)}", end="")
    print(f"\nRay's own proxy: healthy after {with_ray.first_healthy_seconds:.1f} s")


def load(server: Server, photo: bytes) -> str:
    """The figures of 100 requests one after another and of 200 by as many clients as may wait."""
    alone = sorted(server.invoke(photo, "image/jpeg").seconds for _ in range(100))
    began = time.monotonic()
    with ThreadPoolExecutor(MAX_QUEUE) as clients:
        answers = list(clients.map(lambda _: server.invoke(photo, "image/jpeg"), range(200)))
    rate = len(answers) / (time.monotonic() - began)
    assert {answer.status for answer in answers} == {200}
    return (
        f"p50 {1000 * statistics.median(alone):.1f} ms, p99 {1000 * alone[98]:.1f} ms alone, "
        f"{rate:.0f} requests/s with {MAX_QUEUE} clients"
    )
