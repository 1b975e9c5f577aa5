"""Tar archives read and written member by member: a TarFile would keep a kilobyte of each in memory."""

import io
import tarfile
from collections.abc import Iterator


def members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The archive's members in order; none is kept once the next one is asked for."""
    for member in tar:
        _forget_members(tar)
        yield member


def add_member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Append a file."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
    _forget_members(tar)


def _forget_members(tar: tarfile.TarFile) -> None:
    tar.members.clear()  # type: ignore[attr-defined]  # typeshed leaves the attribute out
