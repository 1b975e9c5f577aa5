"""The state that an earlier version kept in .embedded becomes that of .sagelocal, once."""

import json
import os
import re
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from sagelocal.core import lock

NAME, EARLIER_NAME = ".sagelocal", ".embedded"
PATIENCE = 2.0  # seconds


class StillRunning(Exception):
    """A server of the earlier version has the directory; the message says how to end it."""


def take_over(state_dir: Path) -> str | None:
    """Rename the earlier version's directory beside `state_dir`, if there is one and `state_dir` is not there yet.

    Returns the line that says so, None where there is nothing to take over. Raises StillRunning.
    """
    earlier = state_dir.with_name(EARLIER_NAME)
    if state_dir.name != NAME or state_dir.exists() or not (earlier / "state.db").is_file():
        return None
    with suppress(FileNotFoundError):  # another command was faster
        held = _hold(earlier)
        try:
            _correct_paths(earlier / "state.db", state_dir)
            earlier.rename(state_dir)
        finally:
            os.close(held)
        return f"{earlier} was taken over: its state is in {state_dir} now."
    return None


def _hold(earlier: Path) -> int:
    """Waits a moment: another command may have the directory only for as long as it takes it over."""
    deadline = time.monotonic() + PATIENCE
    while (held := lock.hold(earlier)) is None:
        if time.monotonic() > deadline:
            raise StillRunning(
                f"A server of an earlier version still runs in {earlier}. Stop it first: {_stop(earlier)}"
            )
        time.sleep(0.05)
    return held


def _stop(earlier: Path) -> str:
    try:
        return f"kill {json.loads((earlier / 'server.json').read_text())['pid']}"
    except (OSError, ValueError, KeyError):
        return f"kill the process that has {earlier / 'server.lock'} open"


def _correct_paths(database: Path, state_dir: Path) -> None:
    """A function's `_Code`, where its code is unpacked, is the only path that documents hold."""
    new = json.dumps(str(state_dir))[1:-1]
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True)) as connection, connection:
        held = connection.execute("SELECT name, body FROM documents WHERE kind = 'lambda-function'").fetchall()
        for name, body in held:
            corrected = re.sub(
                rf'("_Code": ")[^"]*/{re.escape(EARLIER_NAME)}/', lambda found: f"{found[1]}{new}/", body
            )
            connection.execute(
                "UPDATE documents SET body = ? WHERE kind = 'lambda-function' AND name = ?", (corrected, name)
            )
