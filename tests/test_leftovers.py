"""What the check after each module of tests sees: here it is given something to find."""

import subprocess
import sys

import pytest

from tests import leftovers
from tests.waiting import is_gone, until

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives an orphan to whoever asks for it")


@linux
def test_an_orphan_in_a_session_of_its_own_without_our_environment_is_found_named_and_ended(monkeypatch):
    monkeypatch.setattr(leftovers, "GRACE_SECONDS", 0)
    known = set(leftovers.running())
    script = "env -i setsid sleep 3600 >/dev/null 2>&1 & echo $!"
    started = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, text=True)
    until(
        lambda: (
            f"{started.stdout.strip()}: sleep 3600" in [leftovers.command_line(each) for each in leftovers.running()]
        )
    )
    assert leftovers.end(known) == [f"{started.stdout.strip()}: sleep 3600"]
    assert leftovers.end(known) == [] and is_gone(int(started.stdout))


def test_what_ends_by_itself_is_waited_for():
    known = set(leftovers.running())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert process.pid in [each.pid for each in leftovers.running()]
        process.stdin.close()
        assert leftovers.end(known) == []
