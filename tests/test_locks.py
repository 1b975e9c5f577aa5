"""The lock files: every package by version and hash, and nothing about where it came from."""

import pytest

from tests.locks import LOCKS, ROOT, entries


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.relative_to(ROOT)))
def test_a_lock_has_name_version_and_hashes_of_each_package_and_nothing_else(lock):
    found = entries(lock)
    assert len({name for name, _, _ in found}) == len(found) > 10
    assert all(hashes for _, _, hashes in found)


def test_every_lock_of_the_repository_is_among_them():
    patterns = ("*.lock", *(f"{folder}/**/*.lock" for folder in ("infra", "benchmarks", "tests", "sagelocal")))
    found = {path for pattern in patterns for path in ROOT.glob(pattern)}
    assert found == set(LOCKS)
