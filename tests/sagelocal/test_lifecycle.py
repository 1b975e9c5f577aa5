"""One server per state directory: found, started, joined, stopped."""

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import psutil
import pytest

from sagelocal.core import lifecycle
from tests import leftovers
from tests.waiting import is_gone, until


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


def test_a_server_that_is_gone_before_it_answers_the_stop_request_is_stopped(state_dir):
    state_dir.mkdir()
    lock = lifecycle.hold_lock(state_dir)

    class Hasty(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"version": "1"}')

        def do_POST(self):
            os.close(lock)  # and the connection ends without an answer

    with HTTPServer(("127.0.0.1", 0), Hasty) as server:
        Thread(target=server.serve_forever).start()
        lifecycle.announce(state_dir, f"http://127.0.0.1:{server.server_port}")
        assert lifecycle.stop(state_dir)
        server.shutdown()


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
