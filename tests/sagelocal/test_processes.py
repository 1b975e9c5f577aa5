"""Starting, following and ending processes, cold and from the warm worker."""

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from sagelocal.core import lifecycle
from sagelocal.core.context import Context
from sagelocal.runtime import process, warm
from sagelocal.runtime.launch import ProcessSpec
from tests.waiting import HANG, is_gone, until

COLD_AND_WARM = pytest.mark.parametrize("from_warm", [False, True], ids=["cold", "warm"])
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the warm worker forks, which is safe on Linux only")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    made = tmp_path / "job" / "ml"
    made.mkdir(parents=True)
    return made


@pytest.fixture
def run(context: Context, tree: Path):
    """run(source, warm) -> (exit code, output lines) of a Python script."""

    def run_script(source: str, from_warm: bool = False, **env: str) -> tuple[int | None, list[str]]:
        (tree / "script.py").write_text(source)
        if from_warm:
            assert warm.worker(context).usable(HANG), "the process would be started cold"
        lines: list[str] = []
        spec = ProcessSpec(
            argv=["python3", "/opt/ml/script.py", "--flag", "a b"],
            env=process.base_environment(context, tree.parent) | env,
            opt_ml=tree,
            on_line=lines.append,
            warm=from_warm,
        )
        return process.start(context, spec).wait(HANG), lines

    return run_script


def running(word: str) -> list[int]:
    """The processes that have a word on their command line; in their sandboxes they have other numbers."""
    alive = [each for each in psutil.process_iter(["cmdline", "status"]) if each.info["status"] != "zombie"]
    return [each.pid for each in alive if word in (each.info["cmdline"] or ())]


@COLD_AND_WARM
def test_a_script_gets_its_arguments_and_its_own_directory_on_the_path(run, from_warm):
    code, lines = run(
        "import os, sys; print(sys.argv[1:], sys.path[0] == os.path.dirname(__file__), __name__)", from_warm
    )
    assert (code, lines) == (0, ["['--flag', 'a b'] True __main__"])


@COLD_AND_WARM
@pytest.mark.parametrize(
    "source, code, last_line",
    [
        ("pass", 0, None),
        ("import sys; sys.exit(7)", 7, None),
        ("import sys; sys.exit('no more')", 1, "no more"),
        ("raise ValueError('wrong')", 1, "ValueError: wrong"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -9, process.KILLED),
        ("import sys; sys.exit(137)", 137, None),
        ("import atexit; atexit.register(print, 'bye')", 0, "bye"),
        (
            "import threading, time; threading.Thread(target=lambda: (time.sleep(.05), print('late'))).start()",
            0,
            "late",
        ),
    ],
)
def test_a_script_ends_as_it_would_under_python(run, from_warm, source, code, last_line):
    ended, lines = run(source, from_warm)
    assert (ended, lines[-1] if lines else None) == (code, last_line)


@LINUX
def test_a_traceback_from_the_warm_worker_shows_only_the_script(run):
    _, lines = run("def inner():\n    1 / 0\ninner()", True)
    files = [line.strip() for line in lines if line.strip().startswith("File")]
    assert files == [
        f'File "{path}", line {n}, in {where}'
        for path, n, where in [("/opt/ml/script.py", 3, "<module>"), ("/opt/ml/script.py", 2, "inner")]
    ]


@COLD_AND_WARM
def test_nothing_of_the_users_environment_reaches_a_process(run, from_warm, monkeypatch, tmp_path):
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(
        "[default]\naws_access_key_id = REAL\naws_secret_access_key = REAL\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MY_SECRET", "hunter2")
    source = """
import os, sys
sys.stdout.write(chr(10).join(f"{k}={v}" for k, v in os.environ.items()) + chr(10))
import botocore.session
print(botocore.session.get_session().get_credentials().access_key)
"""
    code, lines = run(source, from_warm)
    assert code == 0
    assert not [line for line in lines if "MY_SECRET" in line or f"HOME={tmp_path}" == line]
    assert lines[-1].startswith("ASIA")


@LINUX
def test_a_warm_script_finds_torch_imported_and_its_thread_limit_obeyed(run):
    source = "import sys; there = 'torch' in sys.modules; import torch; print(there, torch.get_num_threads())"
    assert run(source, True, OMP_NUM_THREADS="1") == (0, ["True 1"])


@LINUX
def test_a_warm_script_makes_its_temporary_files_where_its_environment_says(run):
    code, lines = run("import os, tempfile; print(tempfile.mkdtemp().startswith(os.environ['TMPDIR'] + '/'))", True)
    assert (code, lines) == (0, ["True"])


@LINUX
def test_two_warm_jobs_draw_different_random_numbers(run):
    source = "import random, numpy; print(random.random(), numpy.random.rand())"
    first, second = run(source, True), run(source, True)
    assert first[0] == second[0] == 0
    assert not set(first[1][0].split()) & set(second[1][0].split())


@LINUX
def test_a_warm_script_needs_a_fraction_of_the_work_that_importing_torch_is(run):
    source = "import time, torch; torch.zeros(1); print(time.process_time())"
    (_, [cold]), (_, [from_warm]) = run(source, False), run(source, True)
    assert float(from_warm) < float(cold) / 3


def test_a_module_runs_from_the_warm_worker(context, tree):
    lines: list[str] = []
    env = process.base_environment(context, tree.parent)
    argv = ["python3", "-m", "json.tool", "--help"]
    spec = ProcessSpec(argv=argv, env=env, opt_ml=tree, on_line=lines.append, warm=True)
    assert process.start(context, spec).wait(HANG) == 0
    assert lines[0].startswith("usage: ")


def test_options_of_python_that_need_a_new_interpreter_are_not_run_warm():
    assert warm.is_python_program([sys.executable, "-u", "a.py"])
    assert not warm.is_python_program([sys.executable, "-X", "importtime", "a.py"])
    assert not warm.is_python_program([sys.executable, "-c", "pass"])
    assert not warm.is_python_program(["/bin/sh", "a.sh"])


def test_a_command_that_does_not_exist_ends_with_127_and_says_so(context, tree):
    lines: list[str] = []
    spec = ProcessSpec(argv=["no-such-program"], env={"PATH": "/bin"}, opt_ml=tree, on_line=lines.append)
    assert process.start(context, spec).wait(HANG) == 127
    assert lines == ["no-such-program: No such file or directory"]


@COLD_AND_WARM
def test_terminate_ends_the_whole_group_and_kills_what_ignores_it(context, tree, from_warm):
    (tree / "stubborn.py").write_text(
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3600)', 'stubborn'])\n"
        "print('begun', flush=True)\n"
        "time.sleep(3600)\n"
    )
    lines: list[str] = []
    env = process.base_environment(context, tree.parent)
    argv = ["python3", "/opt/ml/stubborn.py"]
    spec = ProcessSpec(argv=argv, env=env, opt_ml=tree, on_line=lines.append, warm=from_warm)
    started = process.start(context, spec)
    until(lambda: lines and running("stubborn"))
    assert started.poll() is None
    assert started.terminate(grace_seconds=0.3) == -9
    until(lambda: not running("stubborn"))


@COLD_AND_WARM
def test_a_stop_that_comes_at_once_is_not_lost(context, tree, from_warm):
    (tree / "script.py").write_text("import time; time.sleep(600)")
    assert not from_warm or warm.worker(context).usable(HANG)
    for _ in range(5):
        spec = ProcessSpec(
            argv=["python3", "/opt/ml/script.py"],
            env=process.base_environment(context, tree.parent),
            opt_ml=tree,
            on_line=lambda _: None,
            warm=from_warm,
        )
        assert process.start(context, spec).terminate(grace_seconds=HANG) == -signal.SIGTERM


def test_what_a_process_leaves_running_ends_with_it(context, tree):
    lines: list[str] = []
    command = "setsid sleep 3599.5 & sleep 3599.5 & sleep 0.1; echo $!"
    argv, env = ["/bin/sh", "-c", command], {"PATH": "/bin:/usr/bin"}
    spec = ProcessSpec(argv=argv, env=env, opt_ml=tree, on_line=lines.append)
    assert process.start(context, spec).wait(HANG) == 0
    until(lambda: not running("3599.5"))


def test_a_line_without_end_arrives_in_pieces(context, tree):
    lines: list[str] = []
    argv = ["python3", "-c", "print('x' * 200_000)"]
    spec = ProcessSpec(argv=argv, env={}, opt_ml=tree, on_line=lines.append)
    assert process.start(context, spec).wait(HANG) == 0
    assert sum(len(line) for line in lines) == 200_000 and max(len(line) for line in lines) <= process.LINE_LIMIT


def test_a_server_that_was_killed_leaves_no_process_behind_after_its_restart(tmp_path):
    import boto3

    state_dir = tmp_path / "state"
    server = lifecycle.ensure(state_dir)
    client = boto3.client("sagemaker", endpoint_url=server.url, region_name="us-east-1")
    client.create_processing_job(
        ProcessingJobName="long",
        RoleArn="arn:aws:iam::123456789012:role/job",
        AppSpecification={
            "ImageUri": "python:3.12",
            "ContainerEntrypoint": ["/bin/sh", "-c", "sleep 3598.5 & echo begun; sleep 3598.5; true"],
        },
        ProcessingResources={"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}},
    )
    log = state_dir / "logs" / "aws" / "sagemaker" / "ProcessingJobs" / "long"
    until(lambda: list(log.glob("*.log")) and "begun" in next(log.glob("*.log")).read_text())
    until(lambda: len(running("3598.5")) >= 2)

    os.kill(server.pid, 9)
    until(lambda: is_gone(server.pid))
    restarted = lifecycle.ensure(state_dir)
    try:
        client = boto3.client("sagemaker", endpoint_url=restarted.url, region_name="us-east-1")
        job = client.describe_processing_job(ProcessingJobName="long")
        assert job["ProcessingJobStatus"] == "Failed"
        assert job["FailureReason"] == "The embedded SageMaker stopped while the job ran."
        until(lambda: not running("3598.5"))
    finally:
        lifecycle.stop(state_dir)
