"""How well jobs are kept apart on this machine: found out by trying, and said in plain words."""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sagelocal.runtime import kernel, sandbox

VARIABLE = "SAGELOCAL_ISOLATION"  # "none": jobs get no namespaces, as on a machine that has none
PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]); from sagelocal.runtime import keeper; keeper.try_out(*sys.argv[2:])"
)


@dataclass(frozen=True)
class Layer:
    """What keeps jobs apart, and a sentence for each thing that is therefore not promised."""

    name: str
    missing: tuple[str, ...] = ()


@cache
def mode() -> str:
    """The strongest mode of sandbox.py that works here."""
    if sys.platform != "linux" or os.environ.get(VARIABLE) == "none":
        return sandbox.NONE
    for tried in (sandbox.ROOT, *sandbox.USER_MODES) if os.geteuid() == 0 else sandbox.USER_MODES:
        if works(tried):
            return tried
    return sandbox.NONE


def works(tried: str) -> bool:
    """Whether a process can be put into a sandbox that way: one is."""
    with tempfile.TemporaryDirectory() as tree:
        Path(tree, "probe").touch()
        command = [sys.executable, "-I", "-S", "-c", PROGRAM, str(Path(__file__).parents[2]), tried, tree]
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def has_landlock() -> bool:
    return sys.platform == "linux" and kernel.landlock_version() > 0


def layer() -> Layer:
    """The mode in words."""
    found = mode()
    if found == sandbox.NONE:
        missing = ["Jobs see no /opt/ml of their own: one that names a path under it in its source is refused."]
        if not has_landlock():
            missing.append("A job can read and write what this user can: home, state directory, other jobs' files.")
        else:
            missing.append("/tmp is the machine's, and a job sees which other processes run.")
        missing.append("A process that a job put into the background may live on until the next start.")
        return Layer("Landlock and process groups" if has_landlock() else "process groups", tuple(missing))
    name = "namespaces, as root" if found == sandbox.ROOT else "user namespaces"
    if found == sandbox.USER_SHARED_PROC:
        return Layer(name, ("/proc is the machine's: a job sees which other processes run.",))
    return Layer(name)


def described() -> str:
    """One line for the server's log."""
    found = layer()
    return " ".join([f"Jobs are kept apart by {found.name}.", *(f"Not promised: {text}" for text in found.missing)])
