"""The files that a job wrote, for the server to read: never through a link, which could lead anywhere."""

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from sagelocal.runtime.cluster import JobFailed
from sagelocal.runtime.sandbox import OPT_ML

MESSAGE_LIMIT = 1024  # characters AWS keeps of FailureReason and ExitMessage
NOT_THE_JOBS = (errno.ELOOP, errno.ENOTDIR, errno.ENXIO)  # a link, or what is neither a folder nor a file


def place(tree: Path, path: str) -> Path:
    """Where a tree has what a request calls by a path under /opt/ml. Raises JobFailed when it leads elsewhere."""
    wanted = PurePosixPath(path)
    if not wanted.is_relative_to(OPT_ML) or ".." in wanted.parts:
        raise JobFailed(f"ClientError: {path} is not below {OPT_ML}, which is all that a job shares with this server.")
    return tree / wanted.relative_to(OPT_ML)


def files_under(tree: Path, directory: Path) -> Iterable[tuple[Path, str]]:
    """(path, path relative to the directory) of each regular file of a tree's directory, sorted."""
    if any(path.is_symlink() for path in (directory, *directory.parents) if path != tree and path.is_relative_to(tree)):
        return
    for folder, subfolders, names in os.walk(directory):
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


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False
