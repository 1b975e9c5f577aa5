"""The server killed, or the disk refusing, at every operation that lasts of a small whole pipeline.

`make test` tries a few of the points, spread evenly. All of them, or FAULT_POINTS of them, and the table of what came:

    FAULT_POINTS=200 pytest -s -m slow tests/faults --basetemp=/dev/shm/faults
"""

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults import injection, lab
from tests.faults.nursery import Nursery

SAMPLE = 12
AT_ONCE = 2


@pytest.fixture(scope="module")
def nursery():
    made = Nursery()
    yield made
    made.end()


@pytest.fixture(scope="module")
def points(nursery, tmp_path_factory) -> tuple[Path, list[tuple[str, str]]]:
    """(a state directory that has the pipeline, the points at which a run of it can be hit)."""
    directory = tmp_path_factory.mktemp("faults")
    lab.make_base(nursery, directory / "base", directory / "operations")
    return directory / "base", lab.all_points(directory / "operations")


def outcomes(nursery, base: Path, directory: Path, chosen: list[tuple[str, str]]) -> list[lab.Outcome]:
    def one(number: int) -> lab.Outcome:
        outcome = lab.try_point(nursery, base, directory / f"point{number}", *chosen[number])
        print(outcome, flush=True)
        return outcome

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, range(len(chosen))))


def test_a_server_that_is_killed_or_whose_disk_refuses_goes_on_by_itself_and_does_nothing_twice(
    nursery, points, tmp_path
):
    base, every = points
    found = outcomes(nursery, base, tmp_path, lab.spread(every, SAMPLE))
    assert {outcome.kind for outcome in found} >= {injection.KILL_BEFORE, injection.KILL_AFTER, "ENOSPC", "EIO"}
    assert [str(outcome) for outcome in found if outcome.wrong] == []
    assert [outcome.by_itself for outcome in found] == ["Succeeded"] * len(found)


@pytest.mark.slow
@pytest.mark.timeout(12 * 3600)
def test_every_point_of_the_pipeline_ends_right(nursery, points, tmp_path):
    base, every = points
    found = outcomes(nursery, base, tmp_path, lab.spread(every, int(os.environ.get("FAULT_POINTS", len(every)))))
    by_kind = Counter((outcome.kind, outcome.by_itself.partition(":")[0], bool(outcome.wrong)) for outcome in found)
    for (kind, status, wrong), count in sorted(by_kind.items()):
        print(f"{kind:12} {status:10} {'wrong' if wrong else 'right':6} {count}")
    assert [str(outcome) for outcome in found if outcome.wrong] == []
    assert sum(outcome.by_itself == "Succeeded" for outcome in found) >= 0.99 * len(found)
