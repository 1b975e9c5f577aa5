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


@pytest.fixture
def state_dir(tmp_path: Path):
    yield tmp_path / "state"
    lifecycle.stop(tmp_path / "state")


def test_commands_that_start_at_the_same_time_end_up_with_one_server(state_dir):
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: lifecycle.ensure(state_dir), range(4)))
    assert len(found) == 1
    assert lifecycle.ensure(state_dir) == found.pop()


def test_a_server_listens_on_this_machine_only(state_dir):
    running = lifecycle.ensure(state_dir)
    listening = [c.laddr.ip for c in psutil.Process(running.pid).net_connections() if c.status == psutil.CONN_LISTEN]
    assert listening == ["127.0.0.1"]


def test_a_stopped_server_is_gone_and_the_next_one_has_its_state(state_dir):
    first = lifecycle.ensure(state_dir)
    assert lifecycle.stop(state_dir)
    assert not psutil.pid_exists(first.pid) or psutil.Process(first.pid).status() == psutil.STATUS_ZOMBIE
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
    psutil.Process(first.pid).wait(5) if psutil.pid_exists(first.pid) else None
    assert lifecycle.ensure(state_dir).pid != first.pid


def test_a_busy_port_is_said_to_be_busy(state_dir):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(lifecycle.PortBusy, match=f"Port {taken.getsockname()[1]} is busy"):
            lifecycle.ensure(state_dir, port=taken.getsockname()[1])
