"""`pawline load-test`: real requests of a real load generator to a small endpoint on the embedded server."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from PIL import Image

from pipeline import settings
from pipeline.cloud import Cloud
from pipeline.errors import UserError
from pipeline.load_test import clock, command, ladder, plan
from pipeline.load_test.measured import percentile
from sagelocal.core import lifecycle
from tests.pipeline.stand_in import deploy
from tests.waiting import HANG

ROOT = Path(__file__).parents[2]
SERVE = """
import http.server, os, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200, b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not body.startswith(bytes([255, 216, 255])):
            return self.answer(415, b"no JPEG")
        time.sleep(0.005)
        self.answer(200, b"{}")

    def log_message(self, *arguments):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def cloud(bare: Cloud) -> Cloud:
    return bare


@pytest.fixture(scope="module")
def endpoint(cloud: Cloud) -> str:
    return deploy(cloud, "pawline", SERVE)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "dog.jpg"
    Image.new("RGB", (64, 64), "peru").save(path)
    return path


def start(server: lifecycle.Running, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", "load-test", *words],
        cwd=ROOT,
        env={**os.environ, "AWS_ENDPOINT_URL": server.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(server: lifecycle.Running, *words: str) -> tuple[int, str, str]:
    with start(server, *words) as process:
        out, err = process.communicate(timeout=HANG)
    return process.returncode, out, err


def test_a_ladder_measures_each_level_and_recommends_a_target(server, endpoint: str, photo: Path, tmp_path: Path):
    words = ["--levels", "1 2", "--seconds", "1", "--photo", str(photo), "--folder", str(tmp_path / "out")]
    code, out, err = run(server, *words, "--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["status"] == "complete" and [level["users"] for level in report["levels"]] == [1, 2]
    for level in report["levels"]:
        assert level["errors"] == {} and level["requests"] > 0
        assert level["requests_per_second"] == pytest.approx(level["requests"] / level["seconds"], rel=0.01)
        assert 5 <= level["p50_ms"] <= level["p90_ms"] <= level["p99_ms"]
    assert report["target_invocations_per_instance"] == round(report["knee"]["requests_per_second"] * 60 * 0.5)
    written = json.loads((tmp_path / "out" / "load-test.json").read_text())
    assert written == report and report["instances"] == 1
    picture = (tmp_path / "out" / "load-test.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) < 150_000


def test_the_table_names_the_knee_and_the_exact_parameter(server, endpoint: str, photo: Path, tmp_path: Path):
    words = ["--levels", "1", "--seconds", "0.5", "--photo", str(photo), "--folder", str(tmp_path)]
    code, _, err = run(server, *words)
    assert code == 0 and "requests/s" in err and "knee" in err
    target = json.loads((tmp_path / "load-test.json").read_text())["target_invocations_per_instance"]
    assert f"-m pipeline run TargetInvocationsPerInstance={target}" in err


def said_until(words: str, process: subprocess.Popen) -> str:
    """What the command said until it said `words`."""
    said = ""
    while words not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    return said


def after_the_first_level(process: subprocess.Popen) -> str:
    return said_until("requests/s, p50", process)


def test_ctrl_c_keeps_what_was_measured(server, endpoint: str, photo: Path, tmp_path: Path):
    words = ["--levels", "1 2 4", "--seconds", "4", "--photo", str(photo), "--folder", str(tmp_path)]
    with start(server, *words) as process:
        after_the_first_level(process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=HANG)
    assert process.returncode == 130 and "You stopped the load test" in err and "Traceback" not in err
    levels = json.loads((tmp_path / "load-test.json").read_text())["levels"]
    assert levels[0]["users"] == 1 and levels[0]["requests"] > 0 and len(levels) < 3
    assert (tmp_path / "load-test.png").exists()


def test_a_server_that_is_killed_ends_the_test_with_what_was_measured(photo: Path, tmp_path: Path):
    running = lifecycle.ensure(tmp_path / "state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", running.url)
        deploy(Cloud(settings.from_environment({}), boto3.Session(region_name="us-east-1")), "pawline", SERVE)
    words = ["--levels", "1 2", "--seconds", "4", "--photo", str(photo), "--folder", str(tmp_path / "out")]
    with start(running, *words) as process:
        after_the_first_level(process)
        os.kill(running.pid, signal.SIGKILL)
        _, err = process.communicate(timeout=HANG)
    lifecycle.ensure(tmp_path / "state")
    lifecycle.stop(tmp_path / "state")
    assert process.returncode == 1 and "does not answer any more" in err and "Traceback" not in err
    report = json.loads((tmp_path / "out" / "load-test.json").read_text())
    assert report["status"] == "gone" and report["levels"][0]["requests"] > 0 and report["levels"][1]["errors"]


def test_requests_end_at_the_number_allowed(server, endpoint: str, photo: Path, tmp_path: Path):
    words = ["--levels", "4", "--seconds", "100", "--max-requests", "100", "--photo", str(photo)]
    code, out, err = run(server, *words, "--folder", str(tmp_path), "--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["status"] == "enough" and 0 < report["levels"][0]["requests"] <= 100


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--levels", "one"], "--levels is 'one'"),
        (["--levels", "0 1"], "--levels is '0 1'"),
        (["--levels", ""], "--levels is ''"),
        (["--levels", "1000"], "from 1 to 512"),
        (["--levels", "128"], "128 users at a time. If you mean it, say so with --yes"),
        (["--seconds", "200"], "800 s of load"),
        (["--seconds", "nan"], "--seconds is nan"),
        (["--max-requests", "0"], "--max-requests is 0"),
        (["--endpoint", "nobody"], "There is no endpoint nobody."),
        (["--photo", "/nowhere.jpg"], "There is no photo at /nowhere.jpg"),
        (["--photo", __file__], "is no JPEG or PNG"),
        (["--target", "bucket"], "--target is 'bucket'"),
        (["--target", "function", "--endpoint", "pawline"], "Leave one of them out"),
        (["--folder", __file__], "cannot be used"),
        ([], "-m pipeline load-test --photo dog.jpg"),
    ],
)
def test_what_cannot_be_tested_is_named_before_any_request(server, endpoint: str, words: list[str], said: str):
    code, out, err = run(server, *words)
    assert code == 2 and out == "" and "Traceback" not in err
    assert said in " ".join(err.split())


def test_an_endpoint_that_is_not_in_service_is_refused_with_its_state(cloud: Cloud, tmp_path: Path, photo: Path):
    deploy(cloud, "broken", "raise SystemExit('no weights')")
    with pytest.raises(UserError, match="endpoint broken is Failed, not in service.*no weights"):
        climb(cloud, "broken", photo, tmp_path)


def test_an_endpoint_that_refuses_the_photo_is_not_tested(cloud: Cloud, endpoint: str, tmp_path: Path):
    Image.new("RGB", (8, 8)).save(tmp_path / "dog.png")
    with pytest.raises(UserError, match="does not answer the photo.*no JPEG"):
        climb(cloud, endpoint, tmp_path / "dog.png", tmp_path)


def test_nothing_is_sent_to_an_account_that_pays_unless_somebody_agrees(
    cloud: Cloud, endpoint: str, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(UserError, match=r"requests are real.*1 x ml\.m5\.large: \$0\.12 an hour.*--yes"):
        climb(cloud, endpoint, photo, tmp_path, ask=True)
    assert list(tmp_path.glob("load-test.*")) == []


def climb(cloud: Cloud, endpoint: str, photo: Path, folder: Path, *, ask: bool = False) -> dict:
    chosen = command.Chosen(endpoint=endpoint, photo=photo, folder=folder, ask=ask, quiet=True)
    phases = plan.ladder([1], 0.5, max_requests=100, yes=False)
    return command.climb(cloud, chosen, target="endpoint", phases=phases, max_requests=100)


def level(users: int, rate: float, p99: float | None, **errors: int) -> dict:
    return {"users": users, "requests_per_second": rate, "p99_ms": p99, "errors": errors}


ONE = plan.Serving("pawline", "AllTraffic", 1, "ml.m5.large")
LEVELS = [level(1, 10, 100), level(2, 19, 150), level(4, 22, 190), level(8, 23, 400)]


def test_the_knee_is_the_highest_level_within_twice_the_first_p99():
    advice = ladder.advise(LEVELS, ONE)
    assert (advice.knee, advice.target) == (LEVELS[2], 22 * 60 * 0.5)


def test_the_target_is_per_instance():
    assert ladder.advise(LEVELS, plan.Serving("pawline", "AllTraffic", 2, "ml.m5.large")).target == 22 / 2 * 30


def test_a_given_bound_replaces_twice_the_first_p99():
    assert ladder.advise(LEVELS, ONE, 160).knee == LEVELS[1]
    refused = ladder.advise(LEVELS, ONE, 20)
    assert (refused.knee, refused.target) == (None, None) and "No level had a p99 of at most 20.0 ms" in refused.why


def test_a_level_with_errors_is_no_knee():
    failing = [LEVELS[0], level(2, 19, 150), level(4, 22, 190, ModelError=1)]
    assert ladder.advise(failing, ONE).knee == failing[1]
    assert ladder.advise([level(1, 0, None, ModelError=5)], ONE).target is None


def test_a_serverless_endpoint_and_a_function_get_no_target():
    assert ladder.advise(LEVELS, plan.Serving("pawline", "AllTraffic", None)).target is None
    assert "--target endpoint" in ladder.advise(LEVELS, None).why


def test_percentiles_are_nearest_rank():
    values = [float(n) for n in range(1, 201)]
    assert [percentile(values, share) for share in (50, 90, 99)] == [100, 180, 198]
    assert percentile([7.0], 99) == 7.0 and percentile([], 50) is None


DIMENSION = {"ServiceNamespace": "sagemaker", "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}


def track(cloud: Cloud, endpoint: str, target: float) -> None:
    variant = {**DIMENSION, "ResourceId": f"endpoint/{endpoint}/variant/AllTraffic"}
    scaling = cloud.client("application-autoscaling")
    scaling.register_scalable_target(**variant, MinCapacity=1, MaxCapacity=3)
    scaling.put_scaling_policy(
        **{**variant, "PolicyName": "track", "PolicyType": "TargetTrackingScaling"},
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": target,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
            **{"ScaleInCooldown": 120, "ScaleOutCooldown": 60},
        },
    )


def test_a_step_load_scales_out_and_in_by_the_policy_and_the_clock_is_put_back(
    server, cloud: Cloud, photo: Path, tmp_path: Path
):
    track(cloud, deploy(cloud, "scaled", SERVE), 300)
    words = ["--scaling", "--speed", "100", "--endpoint", "scaled", "--photo", str(photo), "--folder", str(tmp_path)]
    code, out, err = run(server, *words, "--json")
    assert code == 0, err
    report = json.loads(out)
    assert (report["from"], report["highest"], report["last"]) == (1, 3, 1)
    counts = [activity["description"].rstrip(".")[-1] for activity in report["activities"]]
    assert counts[0] == "3" and counts[-1] == "1"
    assert all("triggered policy track" in activity["cause"] for activity in report["activities"])
    assert sum(sum(tick["errors"].values()) for tick in report["load"]) == 0
    assert json.loads((tmp_path / "scaling.json").read_text()) == report
    picture = (tmp_path / "scaling.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) < 150_000
    assert clock.speed_now() == 1.0


def test_ctrl_c_while_scaling_puts_the_clock_back_and_keeps_what_was_seen(
    server, cloud: Cloud, photo: Path, tmp_path: Path
):
    track(cloud, deploy(cloud, "stopped", SERVE), 300)
    words = ["--scaling", "--speed", "60", "--endpoint", "stopped", "--photo", str(photo), "--folder", str(tmp_path)]
    with start(server, *words) as process:
        said_until("times the target of one instance", process)
        assert clock.speed_now() == 60.0
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=HANG)
    assert process.returncode == 130 and "You stopped the load test" in err and "Traceback" not in err
    assert json.loads((tmp_path / "scaling.json").read_text())["instances"]
    assert clock.speed_now() == 1.0


def test_an_endpoint_without_a_policy_and_a_speed_that_cannot_be_are_refused(server, endpoint: str, photo: Path):
    common = ["--scaling", "--photo", str(photo), "--folder", str(photo.parent)]
    code, _, err = run(server, *common)
    assert code == 2 and "The endpoint pawline has no target tracking policy" in " ".join(err.split())
    for speed in ("0", "-1", "nan", "1e9"):
        code, _, err = run(server, *common, "--speed", speed)
        assert code == 2 and "--speed" in err and "Traceback" not in err
    assert clock.speed_now() == 1.0
