"""A small file system that is really full for seconds: what runs goes on, or has failed and can be retried."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sagelocal.core import lifecycle
from tests.faults import lab
from tests.waiting import until

SECONDS_FULL = 6
MIB = 1 << 20


def in_a_namespace(directory: Path, *command: str) -> subprocess.Popen[bytes] | None:
    """A command that has a small file system of its own at `directory`; None where that cannot be had here."""
    unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    mount = f"mount -t tmpfs -o size=48m tmpfs '{directory}' && exec \"$@\""
    if not shutil.which("unshare") or subprocess.run([*unshare, "sh", "-c", mount, "sh", "true"]).returncode:
        return None
    environment = {**os.environ, "SAGELOCAL_IMAGES": ""}
    return subprocess.Popen(
        [*unshare, "sh", "-c", mount, "sh", *command],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def fill(path: Path) -> None:
    """Take the last byte of the file system that `path` is on."""
    with path.open("wb", buffering=0) as file:
        for size in (MIB, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.1, 0.5, 1.0, 1.8, 2.5, 3.2, 4.0])
def test_a_small_file_system_that_is_full_for_seconds_leaves_nothing_stuck(prepared, tmp_path, delay):
    directory = tmp_path / "small"
    directory.mkdir()
    inside = directory / "state"
    program = "import sys; from sagelocal.cli import main; sys.exit(main())"
    start = f'cp -a {prepared[0]} {inside} && exec {sys.executable} -c "{program}" up --foreground --state-dir {inside}'
    server = in_a_namespace(directory, "sh", "-c", start)
    if server is None:
        pytest.skip("no mount namespace here")
    try:
        seen = Path(f"/proc/{server.pid}/root{directory}")
        running = until(lambda: lifecycle.find(seen / "state"))
        client = lab.clients(running)
        arn = lab.begin(client)
        time.sleep(delay)
        fill(seen / "ballast")
        time.sleep(SECONDS_FULL)
        (seen / "ballast").unlink()
        status = lab.end_of(client, arn)
        if status == "Failed":
            client("sagemaker").retry_pipeline_execution(PipelineExecutionArn=arn)
            assert lab.end_of(client, arn) == "Succeeded"
        assert lab.etags(client) == []
        shutil.copytree(seen / "state", tmp_path / "after", symlinks=True)  # SQLite cannot open a path through /proc
        assert lab.problems(tmp_path / "after", arn) == []
        print(f"full after {delay} s, for {SECONDS_FULL} s: {status} by itself")
    finally:
        server.terminate()
        server.wait()
