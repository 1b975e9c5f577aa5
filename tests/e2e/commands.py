"""Runs a command as a user would: a new process, an environment of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def pawline(state_dir: Path, *words: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    """`python -m pipeline WORDS` on the embedded SageMaker of `state_dir`."""
    return subprocess.run(
        _command(words), env=_environment(state_dir) | (environment or {}), cwd=ROOT, capture_output=True, text=True
    )


def pawline_in_background(state_dir: Path, *words: str) -> subprocess.Popen:
    """The same, without waiting for it."""
    quiet = subprocess.DEVNULL
    return subprocess.Popen(_command(words), env=_environment(state_dir), cwd=ROOT, stdout=quiet, stderr=quiet)


def _command(words: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "pipeline", *words]


def _environment(state_dir: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(state_dir), "SAGELOCAL_STATE_DIR": str(state_dir)}


def last_json(done: subprocess.CompletedProcess) -> dict:
    """The line of JSON that `--json` ends with."""
    assert done.stdout.strip(), done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])
