"""Fork servers that are killed or stopped: jobs start all the same, and another server takes over."""

import os
import signal
import sys

import pytest

from sagelocal.core import lifecycle
from sagelocal.runtime import launch, process, warm
from sagelocal.runtime.launch import ProcessSpec
from tests.waiting import HANG, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is a warm worker on Linux only")


@pytest.fixture
def worker(context, monkeypatch):
    """A worker of this test's own, which has imported nothing."""
    monkeypatch.setenv(lifecycle.IMAGES_VARIABLE, "")
    context.parts[warm.worker] = made = warm.Worker(context)
    assert made.usable(HANG)
    return made


@pytest.fixture
def start(context, tmp_path):
    """start(source) -> (the process of a script that is to be forked from the worker, its lines)."""
    tree = tmp_path / "job" / "ml"
    tree.mkdir(parents=True)

    def begin(source: str):
        (tree / "script.py").write_text(source)
        lines: list[str] = []
        argv, env = ["python3", "/opt/ml/script.py"], process.base_environment(context, tree.parent)
        spec = ProcessSpec(argv=argv, env=env, opt_ml=tree, on_line=lines.append, warm=True)
        return process.start(context, spec), lines

    return begin


def test_a_worker_that_is_killed_is_replaced_without_a_request(worker):
    first = worker.pid
    os.kill(first, signal.SIGKILL)
    until(lambda: worker.pid not in (0, first) and worker.usable(0))


def test_a_worker_that_is_killed_takes_its_jobs_with_it_and_they_say_so(worker, start):
    job, lines = start("import time; print('begun', flush=True); time.sleep(3600)")
    until(lambda: lines)
    os.kill(worker.pid, signal.SIGKILL)
    assert job.wait(HANG) == -signal.SIGKILL and lines[-1] == process.KILLED


def test_a_worker_that_does_not_answer_is_replaced_and_a_job_starts_meanwhile(worker, start, monkeypatch):
    monkeypatch.setattr(warm, "ANSWER_SECONDS", 1.0)
    first = worker.pid
    os.kill(first, signal.SIGSTOP)
    job, lines = start("print('ran')")
    assert (job.wait(HANG), lines) == (0, ["ran"])
    until(lambda: worker.pid not in (0, first) and worker.usable(0))


def test_a_job_of_a_worker_that_does_not_answer_can_be_stopped(worker, start, monkeypatch):
    job, lines = start("import time; print('begun', flush=True); time.sleep(3600)")
    until(lambda: lines)
    monkeypatch.setattr(warm, "ANSWER_SECONDS", 1.0)
    os.kill(worker.pid, signal.SIGSTOP)
    assert job.terminate(grace_seconds=0.2) < 0


def test_a_keeper_that_is_killed_is_replaced_for_the_next_job(context, worker, start):
    os.kill(launch.keeper(context).pid, signal.SIGKILL)
    job, lines = start("print('ran')")
    assert (job.wait(HANG), lines) == (0, ["ran"])
