"""What a job must not be able to do, started cold and from the warm worker, as root and as an ordinary user."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

from sagelocal.runtime import isolation, sandbox
from tests.sagelocal import as_nobody, escapes

TRIES = escapes.ATTEMPTS.split("tries = {")[1].split("\n}")[0]
NAMES = [line.split('"')[1] for line in TRIES.splitlines() if line.startswith('    "')]
pytestmark = pytest.mark.skipif(isolation.mode() == sandbox.NONE, reason="this machine allows no namespaces")


@pytest.fixture(scope="module")
def said():
    """said(user) -> what each attempt gave to a user's jobs."""
    folders = []

    @cache
    def run(user: str) -> dict:
        folder = tempfile.mkdtemp(dir="/var/tmp")
        folders.append(folder)
        command = [sys.executable, escapes.__file__, folder]
        if user == "nobody":
            if os.geteuid() != 0:
                pytest.skip("needs root to become somebody else")
            os.chown(folder, as_nobody.NOBODY, as_nobody.NOBODY)
            command = [sys.executable, as_nobody.__file__, *command]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=Path(escapes.__file__).parents[2])
        return json.loads(done.stdout)

    yield run
    for folder in folders:
        shutil.rmtree(folder)


@pytest.mark.parametrize("user", ["myself", "nobody"])
@pytest.mark.parametrize("start", ["cold", "warm"])
@pytest.mark.parametrize("name", NAMES)
def test_a_job_cannot(said, name, start, user):
    assert "got" not in said(user)[start][name]


@pytest.mark.parametrize("user", ["myself", "nobody"])
def test_after_all_attempts_the_object_is_what_it_was(said, user):
    assert said(user)["object"] == "precious"


@pytest.mark.parametrize("user", ["myself", "nobody"])
@pytest.mark.parametrize("start", ["cold", "warm"])
def test_what_a_container_lets_a_job_do_works(said, start, user):
    assert said(user)[start]["works"] == []
