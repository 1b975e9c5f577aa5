"""`sagelocal doctor`: whether this machine can run the server, and what its jobs get here."""

import argparse
import os
import shutil
import socket
import sys
import tempfile
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from sagelocal.cli.common import command, tell
from sagelocal.cli.up import PORT_VARIABLE
from sagelocal.core import lifecycle, snapshots
from sagelocal.runtime import isolation, memory, sandbox

OLDEST_PYTHON = (3, 11)
LITTLE_DISK, TOO_LITTLE_DISK = 5 << 30, 1 << 30  # bytes


@dataclass(frozen=True)
class Check:
    """One finding. `level`: pass, warn or fail; `fix`: what to do, empty for pass."""

    name: str
    level: str
    said: str
    fix: str = ""


def run(arguments: argparse.Namespace) -> int:
    """The exit code is 1 where something fails."""
    state_dir: Path = arguments.state_dir
    checks = [python(), writable(state_dir), disk(state_dir), state(state_dir), port(state_dir)]
    checks += [kept_apart(), limited(), tuning()]
    lines = []
    for check in checks:
        lines.append(f"{check.level:4}  {check.name}: {check.said}")
        lines += [f"      {check.fix}"] if check.fix else []
    tell(arguments, [asdict(check) for check in checks], "\n".join(lines))
    return int(any(check.level == "fail" for check in checks))


def python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        return Check("Python", "fail", version, "Use Python 3.11 or newer.")
    return Check("Python", "pass", version)


def writable(state_dir: Path) -> Check:
    """By writing a file where the state is, or would be made."""
    try:
        with tempfile.NamedTemporaryFile(dir=_nearest(state_dir)):
            return Check("state directory", "pass", f"{state_dir} can be written")
    except OSError as problem:
        said = f"{state_dir} cannot be written: {problem.strerror}"
        return Check("state directory", "fail", said, "Choose another with --state-dir or SAGELOCAL_STATE_DIR.")


def disk(state_dir: Path) -> Check:
    free = shutil.disk_usage(_nearest(state_dir)).free
    said = f"{free / (1 << 30):.1f} GiB free at {state_dir}"
    fix = "Free some, or choose a directory on another disk with --state-dir: objects, models and logs are kept there."
    if free < LITTLE_DISK:
        return Check("disk", "fail" if free < TOO_LITTLE_DISK else "warn", said, fix)
    return Check("disk", "pass", said)


def state(state_dir: Path) -> Check:
    """Whether state.db is sound, as far as is known, and how old the copy is that it could be made again from."""
    if snapshots.suspect(state_dir).exists():
        said = "state.db was found damaged while the server ran"
        return Check(
            "state", "fail", said, f"Start the server anew, which makes it sound: {command('down', state_dir)}"
        )
    if not (state_dir / "state.db").exists():
        return Check("state", "pass", "there is none yet")
    aside = sorted((state_dir / "damaged").glob("*"))
    if aside:
        said = f"state.db was damaged and made again on {snapshots.moment(aside[-1].name):%Y-%m-%d %H:%M} UTC"
        return Check("state", "warn", said, f"If nothing is missing, remove what is kept of it: {aside[-1].parent}")
    found = snapshots.newest(snapshots.folder(state_dir))
    if not found:
        return Check("state", "warn", "there is no snapshot of state.db yet", "A running server takes one soon.")
    return Check("state", "pass", f"snapshot of state.db of {snapshots.moment(found[0].stem):%Y-%m-%d %H:%M} UTC")


def port(state_dir: Path) -> Check:
    """The port that SAGELOCAL_PORT names, or any: free, or this directory's own server's."""
    server = lifecycle.find(state_dir)
    if server:
        return Check("port", "pass", f"the server runs at {server.url}")
    wanted = os.environ.get(PORT_VARIABLE) or "0"
    if not wanted.isdecimal() or int(wanted) > 65535:
        return Check("port", "fail", f"{PORT_VARIABLE} is {wanted!r}, which is no port", "Give a number up to 65535.")
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            tried.bind(("127.0.0.1", int(wanted)))
        except OSError as problem:
            said = f"127.0.0.1:{wanted} cannot be had: {problem.strerror}"
            return Check("port", "fail", said, f"Set {PORT_VARIABLE} to another port, or unset it for any free one.")
    free = f"{wanted} is free" if wanted != "0" else "any free one; none is asked for"
    return Check("port", "pass", f"{free}; start the server with {command('up', state_dir)}")


def kept_apart() -> Check:
    """What a job is kept apart by; it always has its own environment variables and home."""
    layer = isolation.layer()
    if isolation.mode() == sandbox.NONE:
        fix = "On Linux allow user namespaces; elsewhere take paths from SM_CHANNEL_… and SM_MODEL_DIR."
        return Check("isolation", "warn", " ".join((f"{layer.name}.", *layer.missing)), fix)
    said = "each job has its own /opt/ml, processes and /tmp, and sees no home and no state directory"
    return Check("isolation", "pass", " ".join((f"{layer.name}: {said}.", *layer.missing)))


def limited() -> Check:
    """What keeps a job within the memory of its instance type."""
    if memory.find().folder is None:
        said = "no control groups: each process of a job has a limit of its own, and none is named OutOfMemory"
        return Check(
            "memory", "warn", said, "Root on Linux may make some, and so may a session that systemd delegates."
        )
    return Check(
        "memory", "pass", "control groups: a job that uses more than its instance type has ends as OutOfMemory"
    )


def tuning() -> Check:
    if find_spec("optuna") is None:
        return Check("tuning", "warn", "optuna is missing: tuning jobs are refused", "pip install 'sagelocal[tuning]'")
    return Check("tuning", "pass", "optuna is there")


def _nearest(path: Path) -> Path:
    """The directory itself, or the nearest one above it that is there."""
    return next(folder for folder in (path, *path.parents) if folder.exists())
