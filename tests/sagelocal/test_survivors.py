"""What a job started ends with it, whichever process is killed: the job, its init, the keeper, the server."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from sagelocal.runtime import isolation, keeper, orphans, sandbox
from tests.sagelocal import survivors
from tests.waiting import until

SEED = 13
SANDBOX = pytest.mark.skipif(isolation.mode() == sandbox.NONE, reason="this machine allows no namespaces")


class Server:
    """survivors.py, with short words for what the tests do."""

    def __init__(self, folder: Path, **environment: str):
        folder.mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, survivors.__file__, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "SAGELOCAL_IMAGES": "", **environment},
        )

    def job(self, start: str) -> dict:
        """Start a job: the process ids of its init and of the keeper, its namespace, the mark of all processes."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{start}\n")
        self.process.stdin.flush()
        told = json.loads(self.process.stdout.readline())
        return told | {"namespace": namespace_of(told["init"])}

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def serving(folder: Path, **environment: str) -> Iterator[Server]:
    server = Server(folder, **environment)
    try:
        yield server
    finally:
        server.end()


def namespace_of(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


def number_in_sandbox(pid: int) -> int:
    """The process id that a process has for itself."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return int(next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[-1])


def members(namespace: str) -> list[int]:
    return [pid for pid in psutil.pids() if namespace_of(pid) == namespace]


def marked(mark: str) -> list[psutil.Process]:
    return [each for each in psutil.process_iter() if orphans.mark_of(each) == mark]


def kill_in_job(server: Server, start: str, victim: str, pick: random.Random) -> None:
    job = server.job(start)
    inside = [pid for pid in members(job["namespace"]) if pid != job["init"]]
    assert len(inside) >= 4
    os.kill(job["init"] if victim == "init" else next(pid for pid in inside if number_in_sandbox(pid) == keeper.JOB), 9)
    until(lambda: not members(job["namespace"]))


def kill_around(folder: Path, victims: list[str]) -> None:
    with serving(folder) as server:
        jobs = [server.job("cold"), server.job("warm")]
        pids = {"server": server.process.pid, "keeper": jobs[0]["keeper"]}
        for victim in victims:
            os.kill(pids[victim], 9)
        until(lambda: not any(members(job["namespace"]) for job in jobs))
        until(lambda: not marked(jobs[0]["mark"]) or "server" not in victims)


@SANDBOX
def test_nothing_outlives_a_job_whose_process_or_init_is_killed(tmp_path):
    pick = random.Random(SEED)
    with serving(tmp_path) as server:
        for start in ("cold", "warm"):
            for victim in ("job", "init", "job", "init"):
                kill_in_job(server, start, victim, pick)


@SANDBOX
@pytest.mark.parametrize("victims", [["server"], ["keeper"], ["server", "keeper"]], ids="+".join)
def test_nothing_outlives_a_server_or_a_keeper_that_is_killed(tmp_path, victims):
    kill_around(tmp_path, victims)


@SANDBOX
@pytest.mark.slow
def test_nothing_outlives_two_hundred_kills(tmp_path):
    pick = random.Random(SEED)
    with serving(tmp_path / "jobs") as server:
        for _ in range(170):
            kill_in_job(server, pick.choice(("cold", "warm")), pick.choice(("job", "init")), pick)
    for number in range(30):
        kill_around(tmp_path / str(number), pick.choice((["server"], ["keeper"], ["server", "keeper"])))


@pytest.mark.skipif(sys.platform != "linux", reason="a system without subreapers finds them by its mark only")
@pytest.mark.parametrize("start", ["cold", "warm"])
def test_without_namespaces_what_a_job_left_ends_with_it(tmp_path, start):
    with serving(tmp_path, **{isolation.VARIABLE: "none"}) as server:
        job = server.job(start)
        before = {each.pid for each in marked(job["mark"])}
        os.kill(job["init"], 9)
        until(lambda: len(marked(job["mark"])) <= (3 if start == "warm" else 1))
        assert job["init"] in before


def test_without_namespaces_the_next_start_ends_what_a_killed_server_left(tmp_path):
    with serving(tmp_path, **{isolation.VARIABLE: "none"}) as server:
        job = server.job("cold")
        os.kill(server.process.pid, 9)
        os.kill(job["keeper"], 9)
    with serving(tmp_path, **{isolation.VARIABLE: "none"}) as server:
        server.job("cold")
        until(lambda: not marked(job["mark"]))
