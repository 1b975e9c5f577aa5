"""What a server does for its own directory: its log, the space that it keeps back, and a disk that is full."""

import ctypes
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sagelocal.core import lifecycle, log, reserve, upkeep
from sagelocal.runtime import service_calls
from tests.waiting import until

ROOT = Path(__file__).parents[2]
SMALL = 40 << 20  # bytes of the disk that is filled


@pytest.fixture
def disk(tmp_path: Path):
    """A disk of its own, which a test may fill."""
    where = tmp_path / "disk"
    where.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.platform != "linux" or libc.mount(b"tmpfs", bytes(where), b"tmpfs", 0, b"size=%d" % SMALL):
        pytest.skip("only root may mount a disk")
    yield where
    lifecycle.stop(where / "state")
    libc.umount2(bytes(where), 2)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue


def test_a_log_that_is_large_is_put_aside_and_a_few_are_kept(tmp_path):
    script = (
        "import pathlib, subprocess, sys; from sagelocal.core import log; log.LARGEST = 1000; log.set_up();"
        "path = pathlib.Path(sys.argv[1])\n"
        "for number in range(60):\n"
        "    log.logger.info('%s %s', number, 'x' * 90); print('printed', number, flush=True); log.rotate(path)\n"
        "subprocess.run(['echo', 'a child'])"
    )
    path = tmp_path / "server.log"
    with path.open("ab") as out:
        subprocess.run([sys.executable, "-c", script, path], stdout=out, stderr=out, cwd=ROOT, check=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["server.log", *(f"server.log.{n}" for n in (1, 2, 3))]
    assert all(1000 <= (tmp_path / f"server.log.{n}").stat().st_size < 1300 for n in (1, 2, 3))
    text = "".join(
        (tmp_path / name).read_text() for name in ("server.log.3", "server.log.2", "server.log.1", "server.log")
    )
    numbers = [int(line.split()[1]) for line in text.splitlines() if line.startswith("printed")]
    assert numbers == list(range(numbers[0], 60))
    assert path.read_text().endswith("a child\n")


def test_a_log_that_this_process_does_not_write_is_not_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(log, "LARGEST", 10)
    (tmp_path / "server.log").write_text("x" * 100)
    log.rotate(tmp_path / "server.log")
    log.rotate(tmp_path / "none.log")
    assert os.listdir(tmp_path) == ["server.log"]


def test_what_cannot_be_written_is_dropped_and_raises_nothing(disk):
    fill(disk / "ballast")
    with (disk / "server.log").open("w") as full:
        stream = log.Unfailing(full)
        for _ in range(1000):
            print("x" * 1000, file=stream, flush=True)
        (disk / "ballast").unlink()
        print("again", file=stream, flush=True)
    assert (disk / "server.log").read_text().endswith("again\n")


def test_a_job_goes_on_where_its_log_cannot_be_written(context):
    write = service_calls.log_writer(context, "/aws/sagemaker/TrainingJobs", "job/algo-1")
    write("first")
    log_file = context.state_dir / "logs" / "aws" / "sagemaker" / "TrainingJobs" / "job" / "algo-1.log"
    log_file.rename(log_file.with_suffix(".kept"))
    log_file.mkdir()
    write("lost")
    log_file.rmdir()
    write("last")
    assert log_file.read_text().endswith("\tlast\n")


def test_the_reserve_has_real_room_and_gives_it_to_whoever_needs_it(disk):
    assert reserve.renew(disk) and reserve.renew(disk)
    assert (disk / "reserve").stat().st_blocks * 512 >= reserve.SIZE
    fill(disk / "ballast")
    with pytest.raises(OSError):
        (disk / "needed").write_bytes(b"x" * (1 << 20))
    assert reserve.release(disk)
    (disk / "needed").write_bytes(b"x" * (1 << 20))
    assert not reserve.release(disk)
    assert not reserve.renew(disk), "there is no room for it"
    assert not list(disk.glob("reserve*"))
    (disk / "ballast").unlink()
    assert reserve.renew(disk)


def test_a_start_on_a_full_disk_is_one_clear_sentence_and_the_next_finds_all(disk):
    lifecycle.ensure(disk / "state")
    lifecycle.stop(disk / "state")
    reserve.release(disk / "state")
    fill(disk / "ballast")
    with pytest.raises(lifecycle.CannotStart) as refused:
        lifecycle.ensure(disk / "state")
    assert str(refused.value).startswith(f"The disk of {disk / 'state'} is full. Free some space, then try again")
    (disk / "ballast").unlink()
    assert lifecycle.ensure(disk / "state")


def test_a_server_keeps_the_reserve_and_outlives_a_full_disk(disk):
    running = lifecycle.ensure(disk / "state")
    until(lambda: (disk / "state" / "reserve").exists())
    fill(disk / "ballast")
    assert shutil.disk_usage(disk).free == 0
    assert lifecycle.find(disk / "state") == running
    (disk / "ballast").unlink()
    assert lifecycle.stop(disk / "state")


def test_a_task_that_fails_says_so_once_and_does_not_hold_up_the_others(monkeypatch, caplog):
    monkeypatch.setattr(upkeep, "EVERY_SECONDS", 0.0)
    stopping, done = threading.Event(), []

    def fail() -> None:
        raise OSError("the disk is away")

    def count() -> None:
        done.append(1)
        if len(done) == 20:
            stopping.set()

    upkeep.watch(stopping, [fail, count])
    assert len(done) == 20
    assert [record.exc_info[1].args for record in caplog.records] == [("the disk is away",)]
