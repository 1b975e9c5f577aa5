"""The audit of the lock files, against a database of advisories on this machine that speaks OSV's protocol."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTROL = {"pillow==9.0.0": ["GHSA-8vj2-vxx3-667w"]}


class Database:
    """`known`: package → ids. `pages`: of how many ids a page is. `answer`: what it says in place of an answer."""

    def __init__(self, known: dict[str, list[str]]):
        self.known, self.pages, self.answer, self.asked = known, 10, None, []
        database = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
                status, body = database.answer or (200, {"results": [database.result(query) for query in queries]})
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)

    def result(self, query: dict) -> dict:
        assert query["package"]["ecosystem"] == "PyPI"
        package = f"{query['package']['name']}=={query['version']}"
        self.asked.append(package)
        start = int(query.get("page_token", 0))
        ids = self.known.get(package, [])
        found = {
            "vulns": [{"id": each, "modified": "2026-01-01T00:00:00Z"} for each in ids[start : start + self.pages]]
        }
        more = {"next_page_token": str(start + self.pages)} if start + self.pages < len(ids) else {}
        return {**found, **more} if ids else {}


@pytest.fixture
def database():
    made = Database(dict(CONTROL))
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def lock(tmp_path) -> Path:
    path = tmp_path / "requirements.lock"
    path.write_text("requests==2.32.0 \\\n    --hash=sha256:0a \\\n    --hash=sha256:0b\npillow==12.0.0\n")
    return path


def audit(*words: object, url: str) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / ".ci" / "audit.py", *words]
    return subprocess.run([*map(str, command)], env={**os.environ, "OSV_URL": url}, capture_output=True, text=True)


def url(database: Database) -> str:
    return f"http://127.0.0.1:{database.server.server_port}/v1/querybatch"


def test_packages_of_which_nothing_is_known_pass_where_the_control_is_found(database, lock):
    done = audit(lock, url=url(database))
    assert done.returncode == 0, done.stderr
    assert database.asked == ["requests==2.32.0", "pillow==12.0.0", "pillow==9.0.0"]
    assert "2 packages asked about, 0 advisories; the control was found" in done.stdout


def test_an_advisory_fails_the_audit_and_names_package_and_lock(database, lock):
    database.known["requests==2.32.0"] = ["GHSA-9wx4-h78v-vm56"]
    done = audit(lock, url=url(database))
    assert done.returncode == 1
    assert f"requests==2.32.0 has GHSA-9wx4-h78v-vm56 (in {lock})" in done.stdout


def test_a_database_that_does_not_know_the_control_is_no_pass(database, lock):
    database.known.clear()
    for words in ([lock], ["--if-reachable", lock]):
        done = audit(*words, url=url(database))
        assert done.returncode == 2
        assert "The audit cannot see" in done.stderr and "pillow==9.0.0" in done.stderr


@pytest.mark.parametrize("body", [b"<html>log in</html>", {"results": []}, {"results": [{}]}, [], {"results": None}])
def test_an_answer_that_is_none_is_no_pass(database, lock, body):
    database.answer = (200, body)
    done = audit("--if-reachable", lock, url=url(database))
    assert (done.returncode, "The audit cannot see" in done.stderr) == (2, True)


def test_without_an_answer_it_says_so_and_ci_goes_on(database, lock):
    database.answer = (503, b"")
    for where in (url(database), "http://127.0.0.1:1/"):
        done = audit(lock, url=where)
        assert (done.returncode, "NOT AUDITED" in done.stderr, done.stdout) == (3, True, "")
        done = audit("--if-reachable", lock, url=where)
        assert (done.returncode, "no pass" in done.stderr, done.stdout) == (0, True, "")


def test_the_second_page_of_an_answer_is_read_too(database, lock):
    database.pages = 1
    database.known["requests==2.32.0"] = ["GHSA-8qvm-5x2c-j2w7", "GHSA-second"]
    done = audit(lock, url=url(database))
    assert done.returncode == 1 and "has GHSA-second" in done.stdout


def test_more_packages_than_a_question_may_have_are_all_asked_about(database, tmp_path):
    (tmp_path / "many.lock").write_text("".join(f"p{number}==1\n" for number in range(2500)))
    assert audit(tmp_path / "many.lock", url=url(database)).returncode == 0
    assert len(database.asked) == 2501


def test_accepted_advisories_pass_with_their_reason_and_are_named_once_they_are_gone(database, lock):
    database.known["pillow==12.0.0"] = ["GHSA-8qvm-5x2c-j2w7"]
    done = audit(lock, url=url(database))
    assert done.returncode == 0
    assert "accepted: GHSA-8qvm-5x2c-j2w7: protobuf 3.20.3" in done.stdout
    assert "no longer found, so no longer to be accepted in audit.py: GHSA-7gcm-g887-7qv7" in done.stdout
