"""The commands of `sagelocal`, as a user calls them, the wrong ways too."""

import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest

from sagelocal import VERSION
from sagelocal.cli import COMMANDS
from sagelocal.core import lifecycle

ROOT = Path(__file__).parents[2]


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SAGELOCAL_"))}
    return kept | {"PYTHONPATH": str(ROOT)}


def sagelocal(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """`sagelocal WORDS` in `folder`, with nothing of these tests' in its environment; `more`: variables."""
    command = [sys.executable, "-m", "sagelocal", *words]
    quiet = subprocess.DEVNULL
    return subprocess.run(command, cwd=folder, env=environment() | more, stdin=quiet, capture_output=True, text=True)


def owners(folder: Path, service: str) -> Any:
    """A client with the keys that `sagelocal env` prints."""
    named = json.loads(sagelocal(folder, "env", "--json").stdout)
    return boto3.client(
        service,
        endpoint_url=named["AWS_ENDPOINT_URL"],
        region_name=named["AWS_REGION"],
        aws_access_key_id=named["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=named["AWS_SECRET_ACCESS_KEY"],
    )


def refused(done: subprocess.CompletedProcess[str], *said: str) -> None:
    """Exit code 2 with a headline and a way out, and no traceback."""
    assert done.returncode == 2, done
    assert not done.stdout
    assert len(done.stderr.strip().splitlines()) == 2, done.stderr
    for words in said:
        assert words in done.stderr


@pytest.fixture
def folder(tmp_path: Path):
    yield tmp_path
    lifecycle.stop(tmp_path / ".sagelocal")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory):
    """A folder in which `sagelocal up` was called, shared by the tests that only ask."""
    folder = tmp_path_factory.mktemp("up")
    assert sagelocal(folder, "up").returncode == 0
    yield folder
    assert sagelocal(folder, "down").returncode == 0


def test_the_help_names_every_command_with_what_it_does(tmp_path):
    done = sagelocal(tmp_path, "--help")
    assert done.returncode == 0
    assert all(f"    {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_of_its_own(name, tmp_path):
    done = sagelocal(tmp_path, name, "--help")
    assert done.returncode == 0
    assert "--state-dir DIR" in done.stdout


def test_an_unknown_command_is_refused_with_those_there_are(tmp_path):
    done = sagelocal(tmp_path, "start")
    assert done.returncode == 2
    assert "choose from" in done.stderr and "'up'" in done.stderr


def test_the_line_that_up_prints_points_a_shell_to_the_server(folder):
    done = sagelocal(folder, "up")
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    line = last.partition(": ")[2]
    assert line == 'eval "$(sagelocal env)"'
    (folder / "sagelocal").write_text(f'#!/bin/sh\nexec {sys.executable} -m sagelocal "$@"\n')
    (folder / "sagelocal").chmod(0o755)
    show = 'import boto3; print(boto3.client("sts").get_caller_identity()["Account"])'
    shell = f'PATH="$PWD:$PATH"\n{line}\n"{sys.executable}" -c \'{show}\''
    stale = environment() | {"AWS_PROFILE": "nobody", "AWS_SESSION_TOKEN": "stale"}
    asked = subprocess.run(["sh", "-c", shell], cwd=folder, env=stale, capture_output=True, text=True)
    assert asked.stdout.strip() == "123456789012", asked.stderr


def test_up_joins_the_server_that_runs(up):
    first, second = (json.loads(sagelocal(up, "up", "--json").stdout) for _ in range(2))
    assert first == second
    assert first["version"] == VERSION


def test_two_that_start_at_the_same_time_end_up_with_one_server(folder):
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: sagelocal(folder, "up", "--json"), range(2)))
    assert [one.returncode for one in done] == [0, 0], done
    assert done[0].stdout == done[1].stdout


def test_up_takes_the_port_that_is_asked_for(folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert json.loads(sagelocal(folder, "up", "--port", str(port), "--json").stdout)["url"].endswith(f":{port}")
    refused(sagelocal(folder, "up", SAGELOCAL_PORT="1"), "runs already, at http://127.0.0.1:", "sagelocal down")


def test_a_port_that_is_taken_is_refused(folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused(sagelocal(folder, "up", "--port", port), f"Port {port} is busy", "Choose another with --port")
        doctor = sagelocal(folder, "doctor", SAGELOCAL_PORT=port)
    assert doctor.returncode == 1
    assert f"fail  port: 127.0.0.1:{port} cannot be had" in doctor.stdout


@pytest.mark.parametrize("port", ["http", "-1", "65536", "²"])
def test_what_is_no_port_is_refused(port, tmp_path):
    refused(sagelocal(tmp_path, "up", f"--port={port}"), "is no port", "up to 65535")


def test_a_directory_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    refused(sagelocal(tmp_path, "up", "--state-dir", "file/state"), "cannot be used", "SAGELOCAL_STATE_DIR")
    doctor = sagelocal(tmp_path, "doctor", SAGELOCAL_STATE_DIR=str(tmp_path / "file" / "state"))
    assert doctor.returncode == 1
    assert "fail  state directory" in doctor.stdout


def test_an_images_file_that_is_missing_or_wrong_is_refused(folder):
    refused(sagelocal(folder, "up", "--images", "gone.toml"), "There is no images file gone.toml")
    (folder / "wrong.toml").write_text("[[image]\n")
    refused(sagelocal(folder, "up", "--images", "wrong.toml"), "wrong.toml is not valid TOML", "Correct it")
    refused(sagelocal(folder, "images", SAGELOCAL_IMAGES="wrong.toml"), "wrong.toml is not valid TOML")


def test_images_are_listed_with_the_file_that_each_comes_from(folder):
    (folder / "mine.toml").write_text(
        'preload = ["json"]\n[[image]]\npattern = "mine:*"\nruns = ["serving"]\nserve = ["python3", "serve.py"]\n'
    )
    assert sagelocal(folder, "up", "--images", "mine.toml").returncode == 0
    listed = json.loads(sagelocal(folder, "images", "--json").stdout)
    mine = {"pattern": "mine:*", "runs": {"serving": "python3 serve.py"}, "file": str(folder / "mine.toml")}
    assert listed["images"][0] == mine
    assert listed["preload"] == ["json"]
    shown = sagelocal(folder, "images").stdout
    assert "*pytorch*" in shown and "images.toml" in shown
    (folder / "other.toml").write_text("")
    refused(sagelocal(folder, "up", "--images", "other.toml"), "started without the images file", "sagelocal down")


@pytest.mark.parametrize("words", [["env"], ["env", "--json"], ["logs", "/aws/sagemaker/TrainingJobs"], ["prune"]])
def test_a_command_that_needs_a_server_says_how_to_start_one(words, tmp_path):
    refused(sagelocal(tmp_path, *words), "No server runs for", "Start it: sagelocal up")


def test_a_way_out_names_the_directory_that_was_named(tmp_path):
    refused(sagelocal(tmp_path, "env", "--state-dir", "a b"), f"sagelocal up --state-dir '{tmp_path}/a b'")


def test_down_stops_the_server_and_keeps_its_state(folder):
    sagelocal(folder, "up")
    owners(folder, "s3").create_bucket(Bucket="kept")
    assert sagelocal(folder, "down").stdout.startswith("Stopped")
    assert json.loads(sagelocal(folder, "down", "--json").stdout) == {"stopped": False}
    sagelocal(folder, "up")
    listed = owners(folder, "s3").list_buckets()["Buckets"]
    assert [bucket["Name"] for bucket in listed] == ["kept"]


def test_status_tells_a_script_by_its_exit_code_whether_a_server_runs(up, tmp_path):
    none = sagelocal(tmp_path, "status")
    assert none.returncode == 1 and "Start it: sagelocal up" in none.stdout
    assert json.loads(sagelocal(tmp_path, "status", "--json").stdout)["running"] is False
    found = sagelocal(up, "status", "--json")
    assert found.returncode == 0
    assert json.loads(found.stdout)["state_dir"] == str(up / ".sagelocal")


def test_a_server_that_hangs_is_told_with_the_way_to_stop_it(folder):
    pid = json.loads(sagelocal(folder, "up", "--json").stdout)["pid"]
    os.kill(pid, signal.SIGSTOP)
    status = sagelocal(folder, "status")
    assert status.returncode == 1
    assert f"(pid {pid}) does not answer" in status.stdout and "Stop it if it hangs: sagelocal down" in status.stdout
    assert sagelocal(folder, "down").stdout.startswith("Stopped")
    assert "No server runs" in sagelocal(folder, "status").stdout


def test_status_and_logs_show_what_runs_and_what_it_printed(folder):
    sagelocal(folder, "up")
    sagemaker = owners(folder, "sagemaker")
    assert "Nothing runs on it." in sagelocal(folder, "status").stdout
    job = "print('hello from the job', flush=True); import time; time.sleep(600)"
    sagemaker.create_processing_job(
        ProcessingJobName="talks",
        RoleArn="arn:aws:iam::123456789012:role/any",
        AppSpecification={"ImageUri": "python:3", "ContainerEntrypoint": ["python3", "-c", job]},
        ProcessingResources={"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}},
    )
    active = json.loads(sagelocal(folder, "status", "--json").stdout)["active"]
    assert active == [{"kind": "processing job", "name": "talks", "status": "InProgress"}]
    command = [sys.executable, "-m", "sagelocal", "logs", "--follow"]
    for name in ("talks", "/aws/sagemaker/ProcessingJobs", "/aws/sagemaker/ProcessingJobs/talks"):
        follows = subprocess.Popen([*command, name], cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True)
        assert follows.stdout and follows.stdout.readline() == "hello from the job\n"
        follows.kill()
        follows.communicate()
    refused(sagelocal(folder, "logs", "speaks"), "No log group or stream is named speaks", "ProcessingJobs")


def test_logs_without_a_name_is_the_servers_log(up, tmp_path):
    assert f"state in {up / '.sagelocal'}" in sagelocal(up, "logs").stdout
    refused(sagelocal(tmp_path, "logs"), "There is no server log", "sagelocal up")


def test_reset_removes_all_state_but_not_without_a_yes(folder):
    sagelocal(folder, "up")
    (folder / ".sagelocal" / "images.toml").write_text("")
    refused(sagelocal(folder, "reset"), "Nothing was removed", "sagelocal reset --yes")
    assert sagelocal(folder, "status").returncode == 0
    assert sagelocal(folder, "reset", "--yes").returncode == 0
    assert [path.name for path in (folder / ".sagelocal").iterdir()] == ["images.toml"], "the user's own settings stay"
    assert sagelocal(folder, "status").returncode == 1
    assert sagelocal(folder, "reset", "--yes", "--state-dir", "gone").stdout.startswith("There is no state")


def test_reset_does_not_touch_a_directory_that_is_none_of_the_servers(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "dog.jpg").touch()
    refused(sagelocal(tmp_path, "reset", "--yes", "--state-dir", "photos"), "is no state directory")
    assert (tmp_path / "photos" / "dog.jpg").exists()


def test_doctor_passes_here_and_says_what_jobs_are_kept_apart_by(up):
    done = sagelocal(up, "doctor", "--json")
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert done.returncode == 0
    assert set(checks) == {
        *("Python", "state directory", "disk", "state", "port", "isolation", "memory", "tuning"),
    }
    assert checks["port"]["said"].startswith("the server runs at http://127.0.0.1:")
    assert all(check["fix"] for check in checks.values() if check["level"] != "pass")


def test_doctor_tells_of_a_state_that_is_or_was_damaged(tmp_path):
    def told() -> list[str]:
        checks = json.loads(sagelocal(tmp_path, "doctor", "--json", "--state-dir", ".").stdout)
        return next([check["level"], check["said"]] for check in checks if check["name"] == "state")

    assert told() == ["pass", "there is none yet"]
    (tmp_path / "state.db").touch()
    assert told() == ["warn", "there is no snapshot of state.db yet"]
    (tmp_path / "damaged" / "20300102T030405.000006Z").mkdir(parents=True)
    assert told() == ["warn", "state.db was damaged and made again on 2030-01-02 03:04 UTC"]
    (tmp_path / "suspect").touch()
    assert told() == ["fail", "state.db was found damaged while the server ran"]


def test_prune_shows_what_is_old_and_removes_it_with_yes(folder):
    assert sagelocal(folder, "up").returncode == 0
    assert sagelocal(folder, "prune").stdout == "Nothing is old enough.\n"
    aside = folder / ".sagelocal" / "damaged" / "20260102T030405.000006Z"
    aside.mkdir(parents=True)
    (aside / "state.db").write_bytes(b"x" * 2000)
    shown = sagelocal(folder, "prune", "--older-than", "0h").stdout
    assert f"damaged state {aside.name}: 2,000 bytes" in shown
    assert "Nothing was removed. To remove it: sagelocal prune --older-than 0h --keep 10 --yes" in shown
    assert aside.exists()
    assert json.loads(sagelocal(folder, "prune", "--older-than", "0h", "--yes", "--json").stdout)["bytes"] == 2000
    assert not aside.exists()


@pytest.mark.parametrize(("word", "way_out"), [("--older-than=-1d", "Write 12h"), ("--keep=-1", "Give a whole number")])
def test_what_is_no_age_or_number_is_refused_by_prune(word, way_out, tmp_path):
    refused(sagelocal(tmp_path, "prune", word), word.partition("=")[0], way_out)


def test_up_in_the_foreground_serves_until_it_is_ended(folder):
    command = [sys.executable, "-m", "sagelocal", "up", "--foreground"]
    serving = subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True)
    assert serving.stdout and serving.stdout.readline().startswith("sagelocal at http://127.0.0.1:")
    assert sagelocal(folder, "status").returncode == 0
    serving.terminate()
    assert serving.wait() == 0
    serving.stdout.close()
    assert sagelocal(folder, "status").returncode == 1


def test_lint_checks_a_file_or_standard_input_and_tells_with_local_what_is_not_run_here(tmp_path):
    definitions = ROOT / "tests" / "definitions" / "base"
    text = (definitions / "transform.json").read_text()
    clean = sagelocal(tmp_path, "lint", str(definitions / "transform.json"))
    assert (clean.returncode, clean.stdout) == (0, "0 errors, 0 warnings.\n")
    local = sagelocal(tmp_path, "lint", "--local", "--json", str(definitions / "transform.json"))
    rules = {finding["rule"] for finding in json.loads(local.stdout)["findings"]}
    assert local.returncode == 1 and rules == {"step_types_run_here", "images_run_here"}
    command = [sys.executable, "-m", "sagelocal", "lint", "-"]
    broken = text.replace('"2020-12-01"', '"2021-12-01"')
    done = subprocess.run(command, cwd=tmp_path, env=environment(), input=broken, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout.startswith("error    Version: is '2021-12-01'.")
    refused(sagelocal(tmp_path, "lint", "nowhere.json"), "nowhere.json cannot be read", "Give the path")
    assert not (tmp_path / ".sagelocal").exists()
