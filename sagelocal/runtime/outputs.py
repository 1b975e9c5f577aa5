"""The files that a job wrote, for the server to read: never through a link, which could lead anywhere."""

import contextlib
import errno
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from sagelocal.runtime.cluster import JobFailed
from sagelocal.runtime.sandbox import OPT_ML

MESSAGE_LIMIT = 1024  # characters AWS keeps of FailureReason and ExitMessage
UNREADABLE = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG)
NOT_THE_JOBS = (errno.ELOOP, errno.ENOTDIR, errno.ENXIO)  # a link, or what is neither a folder nor a file


def place(tree: Path, path: str) -> Path:
    """Where a tree has what a request calls by a path under /opt/ml. Raises JobFailed when it leads elsewhere."""
    wanted = PurePosixPath(path)
    if not wanted.is_relative_to(OPT_ML) or ".." in wanted.parts:
        raise JobFailed(f"ClientError: {path} is not below {OPT_ML}, which is all that a job shares with this server.")
    return tree / wanted.relative_to(OPT_ML)


def files_under(tree: Path, directory: Path) -> Iterator[tuple[Path, str]]:
    """(path, path relative to the directory) of each regular file of a tree's directory, sorted.

    Raises JobFailed rather than leaving out what it cannot look into.
    """
    if any(path.is_symlink() for path in (directory, *directory.parents) if path != tree and path.is_relative_to(tree)):
        return
    for folder, subfolders, names in os.walk(directory, onerror=_refuse):
        subfolders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if _is_file(path):
                yield path, path.relative_to(directory).as_posix()


def opened(tree: Path, path: Path) -> BinaryIO:
    """Open a regular file of a tree, whatever the job puts in its place meanwhile. Raises FileNotFoundError."""
    *folders, name = path.relative_to(tree).parts
    folder = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in folders:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError as problem:
        if problem.errno in NOT_THE_JOBS:
            raise FileNotFoundError(path) from None
        raise
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(path)
    return os.fdopen(descriptor, "rb")


def take_back(directory: Path) -> None:
    """Let this user into all that its ended processes left in a folder; root may go everywhere anyway."""
    if os.geteuid() == 0 or directory.is_symlink():
        return
    folders = [directory]
    while folders:
        with contextlib.suppress(OSError):
            folder = folders.pop()
            folder.chmod(folder.stat().st_mode | stat.S_IRWXU)
            for entry in os.scandir(folder):
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                elif entry.is_file(follow_symlinks=False) and not entry.stat().st_mode & stat.S_IRUSR:
                    os.chmod(entry.path, entry.stat().st_mode | stat.S_IRUSR)


def remove(directory: Path) -> None:
    """Remove a folder that ended processes wrote in, however deep and however closed what they left is."""
    take_back(directory)
    try:
        shutil.rmtree(directory, ignore_errors=True)
    except RecursionError:
        subprocess.run(["rm", "-rf", "--", directory], stderr=subprocess.DEVNULL)


def message(trees: list[Path], relative: str) -> str:
    """What the first host that wrote the file wrote into it, cut to what AWS keeps; else ""."""
    for tree in trees:
        try:
            with opened(tree, tree / relative) as file:
                text = file.read(4 * MESSAGE_LIMIT).decode(errors="replace")[:MESSAGE_LIMIT].strip()
        except (FileNotFoundError, PermissionError):
            continue
        if text:
            return text
    return ""


def _refuse(problem: OSError) -> None:
    if problem.errno in UNREADABLE:
        raise JobFailed(f"ClientError: An output cannot be read: {problem.strerror}.")
    if not isinstance(problem, FileNotFoundError):
        raise problem


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False
