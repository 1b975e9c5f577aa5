"""Calls of the Linux kernel that Python has no function for: namespaces, mounts, rights. By ctypes, nothing compiled.

Each raises OSError when the kernel refuses. The numbers of the newer calls are the same on every processor.
"""

import ctypes
import os
import struct
from collections.abc import Callable

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID = 0x00020000, 0x08000000, 0x10000000, 0x20000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_SET_SECUREBITS, PR_SET_CHILD_SUBREAPER, PR_CAPBSET_DROP = 1, 28, 36, 24
PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 2, 4
CAP_SETPCAP, CAP_SYS_CHROOT, CAP_SYS_PTRACE, CAP_SYS_ADMIN = 8, 18, 19, 21
SECUREBITS_NO_ROOT = 0x2F  # uid 0 gains nothing at exec, and that cannot be undone
CAPABILITY_VERSION_3 = 0x20080522

SYS_OPEN_TREE, SYS_MOVE_MOUNT, SYS_MOUNT_SETATTR = 428, 429, 442
SYS_LANDLOCK_CREATE_RULESET, SYS_LANDLOCK_ADD_RULE, SYS_LANDLOCK_RESTRICT_SELF = 444, 445, 446
AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE = -100, 0x1000, 0x8000
OPEN_TREE_CLONE, MOVE_MOUNT_F_EMPTY_PATH, MOUNT_ATTR_RDONLY = 1, 4, 1

# What Landlock knows of files, by the version that brought it: 13 rights, then REFER, TRUNCATE, IOCTL_DEV.
LANDLOCK_READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read a file, list a directory
LANDLOCK_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
LANDLOCK_OF_FILES = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15  # the rights that a file, no directory, can have
LANDLOCK_SCOPES = 3  # abstract sockets and signals do not leave the domain; from version 6

_libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object, about: str = "") -> int:
    """Call a function of libc. Raises OSError where it answers -1."""
    result = int(getattr(_libc, name)(*arguments))
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name} {about}: {os.strerror(number)}")
    return result


def die_with_parent(parent: int) -> None:
    """Be killed when the thread that started this process is gone; `parent`: its process id, gone already or not."""
    call("prctl", PR_SET_PDEATHSIG, 9, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(137)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends."""
    call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def unshare(flags: int) -> None:
    """Leave namespaces for new ones; with CLONE_NEWUSER this user stays who it is, and has every capability inside."""
    uid, gid = os.getuid(), os.getgid()
    call("unshare", flags)
    if flags & CLONE_NEWUSER:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)


def join(descriptor: int, flags: int) -> None:
    """Enter the namespaces of a process (a pidfd) or one namespace (a file of /proc/PID/ns)."""
    call("setns", descriptor, flags)


def fork_in(enter: Callable[[], object], own: int) -> int:
    """Fork with the child in the PID namespace that `enter` brings this process's children into; as os.fork.

    `own`: a file of this process's own one, to which it comes back: else its next child would be in there too.
    """
    enter()
    try:
        pid = os.fork()
    except OSError:
        join(own, CLONE_NEWPID)
        raise
    if pid:
        join(own, CLONE_NEWPID)
    return pid


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    texts = [text.encode() if text is not None else None for text in (source, target, kind, data)]
    call("mount", texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3], about=target)


def copy_mounts(path: str) -> int:
    """A descriptor of what is mounted at and below a path, to be attached elsewhere, however the path changes."""
    flags = OPEN_TREE_CLONE | AT_RECURSIVE | os.O_CLOEXEC
    return call("syscall", SYS_OPEN_TREE, AT_FDCWD, path.encode(), flags, about=path)


def attach(copied: int, target: str) -> None:
    """Mount what copy_mounts gave, and close it."""
    texts = (b"", AT_FDCWD, target.encode())
    call("syscall", SYS_MOVE_MOUNT, copied, *texts, MOVE_MOUNT_F_EMPTY_PATH, about=target)
    os.close(copied)


def make_read_only(target: str | int) -> None:
    """Let nobody write through the mounts at and below a path, or those of copy_mounts."""
    directory, path = (AT_FDCWD, target.encode()) if isinstance(target, str) else (target, b"")
    _set_attributes(directory, path, AT_EMPTY_PATH | AT_RECURSIVE, MOUNT_ATTR_RDONLY, 0)


def make_writable(target: str) -> None:
    """Take make_read_only back for the mount at a path, not for those below it."""
    _set_attributes(AT_FDCWD, target.encode(), 0, 0, MOUNT_ATTR_RDONLY)


def _set_attributes(directory: int, path: bytes, flags: int, on: int, off: int) -> None:
    attributes = struct.pack("=4Q", on, off, 0, 0)
    size = ctypes.c_size_t(len(attributes))
    call("syscall", SYS_MOUNT_SETATTR, directory, path, flags, attributes, size, about=path.decode())


def keep_capabilities() -> None:
    """Let the next program that this process becomes make and enter namespaces too, also where it is not root's."""
    mask = sum(1 << number for number in (CAP_SETPCAP, CAP_SYS_CHROOT, CAP_SYS_PTRACE, CAP_SYS_ADMIN))
    call("capset", struct.pack("=Ii", CAPABILITY_VERSION_3, 0), struct.pack("=6I", mask, mask, mask, 0, 0, 0))
    for number in (CAP_SETPCAP, CAP_SYS_CHROOT, CAP_SYS_PTRACE, CAP_SYS_ADMIN):
        call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0)


def drop_capabilities() -> None:
    """Give up every capability for good, in this process and in what it starts."""
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    try:
        call("prctl", PR_SET_SECUREBITS, SECUREBITS_NO_ROOT, 0, 0, 0)
        for number in range(64):
            call("prctl", PR_CAPBSET_DROP, number, 0, 0, 0)
    except OSError:  # there is no capability of that number, or none of them are had: nothing to drop
        pass
    call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    call("capset", struct.pack("=Ii", CAPABILITY_VERSION_3, 0), bytes(24))


def landlock_version() -> int:
    """Which version of Landlock this kernel has; 0 for none."""
    try:
        return call("syscall", SYS_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    except OSError:
        return 0


def landlock(rules: dict[str, int]) -> None:
    """Confine this process: beneath each path it has the rights given there, elsewhere none; {} leaves files alone.

    Signals and abstract sockets reach its own descendants only, where the kernel knows how. Without Landlock nothing
    happens. NO_NEW_PRIVS must be set.
    """
    version = landlock_version()
    handled = LANDLOCK_RIGHTS[max(known for known in LANDLOCK_RIGHTS if known <= version)] if rules and version else 0
    scoped = LANDLOCK_SCOPES if version >= 6 else 0
    if not handled and not scoped:
        return
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    attributes = struct.pack("=3Q", handled, 0, scoped)[:size]
    ruleset = call("syscall", SYS_LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0)
    for path, rights in rules.items():
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:  # a broken link, or gone meanwhile: no rule, no right
            continue
        allowed = rights & handled & (~0 if os.path.isdir(path) else LANDLOCK_OF_FILES)
        rule = struct.pack("=Qi", allowed, descriptor)
        call("syscall", SYS_LANDLOCK_ADD_RULE, ruleset, 1, rule, 0, about=path)
        os.close(descriptor)
    call("syscall", SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
