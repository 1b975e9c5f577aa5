"""How much memory a process may use: what its instance type or its function has, kept by a control group.

Where this machine lets nobody make control groups, each process of a job gets a limit of its own for its data, which
is weaker: what they use together is not counted, and going beyond it is a MemoryError. What is more than this machine
has is no limit.
"""

import contextlib
import os
import re
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from sagelocal.core.context import Context, one_per_server
from sagelocal.core.json import Json

GIB = 1 << 30
LEAST_DATA = 2 * GIB  # importing torch needs 1
CGROUPS = Path("/sys/fs/cgroup")

# GiB per vCPU of an instance family. Source: https://aws.amazon.com/sagemaker/ai/pricing/
GIB_PER_VCPU = {
    **{"t": 4.0, "m": 4, "c": 2, "r": 8, "g": 4, "p": 32 / 3, "dl": 8, "inf": 4, "trn": 4},
    **{"c4": 1.875, "c5n": 2.625, "p2": 15.25, "p3": 7.625, "p3dn": 8, "p4d": 12, "p4de": 12, "g6e": 8, "inf1": 2},
}
VCPUS = {"medium": 1, "large": 2, "xlarge": 4}  # of t.medium there are 2, with 4 GiB together


def of_instance(instance_type: str | None) -> int | None:
    """The bytes that an instance of a type has; None where that is not known."""
    found = re.fullmatch(r"ml\.(\w+)\.(\d*)(\w+)", instance_type or "")
    if not found:
        return None
    family, times, size = found.groups()
    letters = re.match("[a-z]+", family)
    ratio = GIB_PER_VCPU.get(family) or GIB_PER_VCPU.get(letters[0] if letters else "")
    if ratio is None or size not in VCPUS:
        return None
    return round(ratio * VCPUS[size] * int(times or 1) * GIB)


@dataclass(frozen=True)
class Limit:
    """One process's limit: what the request to start it says of that, and how it is seen that it was exceeded."""

    bytes: int | None = None
    data_limit: int | None = None
    group: Path | None = None
    version: int = 2

    @property
    def request(self) -> Json:
        return {"group": str(self.group or ""), "data_limit": self.data_limit}

    @property
    def exceeded(self) -> str:
        """What is said of a process that was killed for it."""
        return (
            f"OutOfMemory: it used more than the {(self.bytes or 0) / GIB:.3g} GiB it may. Please use an instance type "
            "with more memory, or reduce the size of job data processed on an instance"
        )

    def end(self) -> bool:
        """Remove the control group, whose processes have ended; whether the kernel killed one for using too much."""
        if self.group is None:
            return False
        killed = _kills(self.group / ("memory.events" if self.version == 2 else "memory.oom_control"))
        with contextlib.suppress(OSError):
            self.group.rmdir()
        return killed > 0


@dataclass(frozen=True)
class Groups:
    """The folder of control groups under which this server makes those of its jobs; None where it cannot."""

    folder: Path | None
    version: int = 2
    total: int = field(default_factory=lambda: psutil.virtual_memory().total)

    def limit(self, bytes_: int | None) -> Limit:
        if bytes_ is None or bytes_ >= self.total:
            return Limit()
        if self.folder is not None:
            with contextlib.suppress(OSError):
                return Limit(bytes_, group=make(self.folder, self.version, bytes_), version=self.version)
        return Limit(bytes_, data_limit=max(bytes_, LEAST_DATA))


def limit(context: Context, bytes_: int | None) -> Limit:
    """The limit of a process of this server that may use so many bytes."""
    return groups(context).limit(bytes_) if bytes_ else Limit()


@one_per_server
def groups(_: Context) -> Groups:
    """Where control groups can be made: found out by making one."""
    return find()


def find() -> Groups:
    for folder, version in _candidates() if sys.platform == "linux" else ():
        try:
            tried = make(folder, version, GIB)
        except OSError:
            continue
        tried.rmdir()
        _sweep(folder)
        return Groups(folder, version)
    return Groups(None)


def _sweep(folder: Path) -> None:
    """Remove what servers left that were killed."""
    for group in folder.glob("sagelocal-*"):
        if not psutil.pid_exists(int(group.name.split("-")[1])):
            with contextlib.suppress(OSError):
                group.rmdir()


def make(folder: Path, version: int, bytes_: int) -> Path:
    """A new control group with that limit. Raises OSError."""
    group = folder / f"sagelocal-{os.getpid()}-{uuid.uuid4().hex[:12]}"
    group.mkdir()
    try:
        names = (
            ("memory.max", "memory.swap.max")
            if version == 2
            else ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        )
        (group / names[0]).write_text(str(bytes_))
        with contextlib.suppress(OSError):  # a kernel that does not count swap
            (group / names[1]).write_text("0" if version == 2 else str(bytes_))
        with contextlib.suppress(OSError):
            if version == 2:
                (group / "memory.oom.group").write_text("1")
        if not os.access(group / "cgroup.procs", os.W_OK):
            raise PermissionError(group)
    except OSError:
        group.rmdir()
        raise
    return group


def _candidates() -> list[tuple[Path, int]]:
    """The groups in which one of ours may be made: with version 2 beside our own, where groups have no processes."""
    found = []
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            own = path.lstrip("/")
            if "memory" in controllers.split(","):
                found.append((CGROUPS / "memory" / own, 1))
            elif not controllers:
                root = CGROUPS / "unified" if (CGROUPS / "unified").is_dir() else CGROUPS
                found += [((root / own).parent if own else root, 2), (root / own, 2)]
    return found


def _kills(path: Path) -> int:
    with contextlib.suppress(OSError):
        for line in path.read_text().splitlines():
            name, _, number = line.partition(" ")
            if name == "oom_kill":
                return int(number)
    return 0
