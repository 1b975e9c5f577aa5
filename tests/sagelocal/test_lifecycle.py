"""One server per state directory: found, started, joined, stopped."""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from sagelocal.core import lifecycle, lock
from tests import leftovers
from tests.waiting import is_gone, until

ROOT = Path(__file__).parents[2]


@pytest.fixture
def state_dir(tmp_path: Path):
    yield tmp_path / "state"
    lifecycle.stop(tmp_path / "state")


def servers_of(state_dir: Path) -> list[int]:
    return [process.pid for process in leftovers.running() if str(state_dir) in process.cmdline()]


def test_commands_that_start_at_the_same_time_end_up_with_one_server(state_dir):
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: lifecycle.ensure(state_dir), range(4)))
    assert len(found) == 1
    assert lifecycle.ensure(state_dir) == found.pop()


def test_a_command_that_finds_anothers_server_ends_the_one_that_it_began(state_dir, monkeypatch):
    """The late one would serve as soon as the other stops, and nobody would know of it."""
    first = lifecycle.ensure(state_dir)
    found = iter([None, first])
    monkeypatch.setattr(lifecycle, "find", lambda _: next(found))
    assert lifecycle.ensure(state_dir) == first
    monkeypatch.undo()
    assert servers_of(state_dir) == [first.pid]


def test_a_server_that_does_not_answer_in_time_is_ended_and_said_to_be(state_dir, monkeypatch):
    monkeypatch.setattr(lifecycle, "START_SECONDS", 0.0)
    with pytest.raises(lifecycle.CannotStart, match="did not answer within 0 s"):
        lifecycle.ensure(state_dir)
    assert servers_of(state_dir) == []


def test_a_server_listens_on_this_machine_only(state_dir):
    running = lifecycle.ensure(state_dir)
    listening = [c.laddr.ip for c in psutil.Process(running.pid).net_connections() if c.status == psutil.CONN_LISTEN]
    assert listening == ["127.0.0.1"]


def test_a_stopped_server_is_gone_and_the_next_one_has_its_state(state_dir):
    first = lifecycle.ensure(state_dir)
    assert lifecycle.stop(state_dir)
    assert is_gone(first.pid)
    assert lifecycle.find(state_dir) is None
    assert not lifecycle.stop(state_dir)
    assert lifecycle.ensure(state_dir).pid != first.pid


@pytest.mark.parametrize("note", [None, "", "[]", "7", '{"url": 1}', '{"url": "http://[", "pid": "x"}', "\\x00\\xff"])
def test_a_server_whose_note_is_lost_or_garbage_tells_it_again_and_is_stopped(state_dir, note):
    first = lifecycle.ensure(state_dir)
    path = state_dir / "server.json"
    path.unlink() if note is None else path.write_text(note)
    assert lifecycle.find(state_dir) in (None, first)
    assert until(lambda: lifecycle.find(state_dir)) == first
    path.unlink()
    assert lifecycle.stop(state_dir)
    assert is_gone(first.pid)


def test_a_suspended_server_is_named_and_stopped(state_dir):
    first = lifecycle.ensure(state_dir)
    os.kill(first.pid, signal.SIGSTOP)
    assert lifecycle.find(state_dir, patience=0.1) is None
    assert lock.holder(state_dir).pid == first.pid
    assert lifecycle.stop(state_dir)
    assert is_gone(first.pid) and not lock.is_held(state_dir)


def test_a_server_that_does_not_end_is_killed(state_dir):
    """A process that holds the lock and ignores what asks it to end."""
    state_dir.mkdir()
    ignores = (
        "import pathlib, signal, sys, time; from sagelocal.core import lock; "
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); held = lock.hold(pathlib.Path(sys.argv[1])); "
        "print(held, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", ignores, state_dir], stdout=subprocess.PIPE, cwd=ROOT) as stubborn:
        assert stubborn.stdout.readline()
        assert lifecycle.stop(state_dir, timeout=0.2)
        assert stubborn.wait() == -signal.SIGKILL


def test_the_note_of_another_server_stays(state_dir):
    running = lifecycle.ensure(state_dir)
    lifecycle.withdraw(state_dir)
    assert lifecycle.find(state_dir) == running


def test_a_number_that_was_given_to_another_process_is_not_taken_for_the_holder(state_dir):
    state_dir.mkdir()
    os.close(lock.hold(state_dir))
    written = json.loads((state_dir / "server.lock").read_text())
    assert written["pid"] == os.getpid()
    (state_dir / "server.lock").write_text(json.dumps(written | {"born": "1"}))
    with (state_dir / "server.lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert lock.is_held(state_dir) and lock.holder(state_dir) is None
        with pytest.raises(lifecycle.CannotStop, match="is not to be seen from here"):
            lifecycle.stop(state_dir)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_server_whose_directory_is_removed_ends_with_all_that_it_started(state_dir, replaced):
    first = lifecycle.ensure(state_dir)
    shutil.rmtree(state_dir)
    second = lifecycle.ensure(state_dir) if replaced else None
    until(lambda: is_gone(first.pid))
    assert lifecycle.find(state_dir) == second
    assert servers_of(state_dir) == ([second.pid] if second else [])


def test_a_note_of_a_server_that_died_is_not_believed(state_dir):
    first = lifecycle.ensure(state_dir)
    psutil.Process(first.pid).kill()
    until(lambda: is_gone(first.pid))
    assert lifecycle.ensure(state_dir).pid != first.pid


def test_a_busy_port_is_said_to_be_busy(state_dir):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(lifecycle.PortBusy, match=f"Port {taken.getsockname()[1]} is busy"):
            lifecycle.ensure(state_dir, port=taken.getsockname()[1])
