"""What of this machine a job may see: by the plan of its sandbox, or by Landlock where there is no sandbox."""

import os
import pwd
import site
import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from sagelocal.core.json import Json
from sagelocal.runtime import images, kernel, sandbox
from sagelocal.runtime.sandbox import lies_in

PRIVATE = ("/home", "/root", "/run", *sandbox.TEMPORARY)
SYSTEM = ("/bin", "/dev", "/etc", "/lib", "/proc", "/sbin", "/sys", "/usr")  # nobody's home, whatever passwd says
NEEDED = ("/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager/resolv.conf", "/run/nvidia-persistenced")
ALL_RIGHTS = -1


def plan(state_dir: Path, mode: str, opt_ml: Path | None, own: list[Path], shown: Iterable[Path]) -> Json:
    """The plan of a sandbox (sandbox.py says what is in it), without `read_only`.

    `own`: folders that the job may write, the last one for temporary files; `shown`: others that it reads.
    """
    hosts = opt_ml.parent / sandbox.HOSTS_FILE if opt_ml else None
    return {
        "opt_ml": os.path.realpath(opt_ml) if opt_ml else "",
        "hidden": hidden_folders(state_dir),
        "shown": [*_python(state_dir, _stamps(state_dir)), *(os.path.realpath(path) for path in shown)],
        "writable": [os.path.realpath(path) for path in own],
        "temporary": os.path.realpath(own[-1]) if own else "",
        "hosts": os.path.realpath(hosts) if hosts and hosts.exists() else "",
        "own_proc": mode != sandbox.USER_SHARED_PROC,
    }


def rights(state_dir: Path, own: Iterable[Path], shown: Iterable[Path]) -> dict[str, int]:
    """Landlock's rules for a job without a sandbox: it reads all but what is private, and writes what is its own."""
    secret = [path for path in hidden_folders(state_dir) if path not in sandbox.TEMPORARY]
    readable = [*_around("/", secret), *_python(state_dir, _stamps(state_dir)), *map(str, shown)]
    devices = kernel.LANDLOCK_READ | 1 << 1 | 1 << 15  # to write a file, and to control a device
    return {
        **dict.fromkeys(readable, kernel.LANDLOCK_READ),
        "/dev": devices,
        **{path: ALL_RIGHTS for place in (*sandbox.TEMPORARY, "/dev/shm") for path in _around(place, secret)},
        **{os.path.realpath(path): ALL_RIGHTS for path in own},
    }


def hidden_folders(state_dir: Path) -> list[str]:
    """The folders that no job sees: the state directory, homes, and where other programs have files and sockets."""
    return _hidden(state_dir, os.environ.get("HOME", ""))


@lru_cache
def _hidden(state_dir: Path, home: str) -> list[str]:
    try:
        homes = [home, pwd.getpwuid(os.geteuid()).pw_dir]
    except KeyError:
        homes = [home]
    real = [os.path.realpath(path) for path in homes if path]
    homes = [path for path in real if path != "/" and not _in_any(path, SYSTEM)]
    found = {os.path.realpath(path) for path in (*PRIVATE, *homes, str(state_dir))}
    return sorted(path for path in found if os.path.isdir(path))


def _stamps(state_dir: Path) -> tuple[tuple[Path, int], ...]:
    return tuple((path, path.stat().st_mtime_ns) for path in images.files(state_dir) if path.exists())


@lru_cache
def _python(state_dir: Path, files: tuple[tuple[Path, int], ...]) -> list[str]:
    """What every job needs of the hidden folders: this Python, its packages, and the programs of the images files."""
    paths = [path for path, _ in files]
    beside = [path.parent for path in paths]
    programs = [word for image in images.known(paths) for word in image.evaluate if os.path.isabs(word)]
    links = [entry.path for folder in beside for entry in os.scandir(folder) if entry.is_symlink()]
    package = Path(__file__).parents[1]
    wanted = [sys.prefix, sys.base_prefix, *site.getsitepackages(), *filter(None, sys.path)]
    wanted += map(str, (sys.executable, package, *beside, *programs, *links, *NEEDED))
    hidden = hidden_folders(state_dir)
    found = {
        path for name in wanted for path in (os.path.abspath(name), os.path.realpath(name)) if os.path.exists(path)
    }
    # A folder that has the state directory in it is shown without that; a home, or what is above one, never.
    others = [path for path in hidden if path != os.path.realpath(state_dir)]
    below = sorted(path for path in found if path not in hidden and _in_any(path, hidden))
    kept = [path for path in below if not any(lies_in(home, path) for home in others)]
    return [path for path in kept if not _seen_in(path, kept, hidden)]


def _seen_in(path: str, shown: list[str], hidden: list[str]) -> bool:
    """Whether another shown folder shows it too."""
    return any(
        lies_in(path, other) and not any(lies_in(cover, other) and _in_any(path, [cover]) for cover in hidden)
        for other in shown
    )


def _around(folder: str, secret: list[str]) -> list[str]:
    """The entries at and below a folder that together are all of it but what is secret."""
    if folder in secret or not os.path.isdir(folder):
        return []
    if not any(lies_in(path, folder) for path in secret):
        return [folder]
    with os.scandir(folder) as entries:
        names = sorted(entry.path for entry in entries if not entry.is_symlink())
    found: list[str] = []
    for name in names:
        found += _around(name, secret) if os.path.isdir(name) else [name]
    return found


def _in_any(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or lies_in(path, folder) for folder in folders)
