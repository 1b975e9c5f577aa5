"""Shows a job its own tree at /opt/ml: a private mount namespace of Linux, entered by the process that becomes the job.

Run as a program it is the launcher of a cold start: `python -I -S sandbox.py MODE OPT_ML CWD N READ_ONLY… COMMAND…`. It
is kept to a few imports because every job pays for them. Nothing outside the namespace changes: where the machine has
no /opt/ml, a small tmpfs with the former entries of /opt covers it for this process only.

Not a wall against hostile code: it keeps jobs from meeting each other's files and from changing inputs by accident.
"""

import ctypes
import os
import signal
import sys

ROOT, USER, NONE = "root", "user", "none"  # namespace as root; with a user namespace; not possible here

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
MS_OF_STATVFS = ((2, 2), (4, 4), (8, 8), (1024, 1024), (2048, 2048), (4096, 1 << 21))  # nosuid nodev noexec no*atime
PR_SET_PDEATHSIG = 1
OPT_ML = "/opt/ml"
HOSTS_FILE = "hosts"  # beside a job's tree: shown at /etc/hosts, so that algo-2 is an address


def enter(mode: str, opt_ml: str, read_only: list[str]) -> None:
    """Put this process into its own mount namespace with `opt_ml` at /opt/ml. Raises OSError if the kernel refuses."""
    if mode == NONE or not opt_ml:
        return
    uid, gid = os.getuid(), os.getgid()
    _call("unshare", CLONE_NEWNS | (CLONE_NEWUSER if mode == USER else 0))
    if mode == USER:
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{uid} {uid} 1")
        _write("/proc/self/gid_map", f"{gid} {gid} 1")
    _mount(None, "/", None, MS_REC | MS_PRIVATE)
    names = os.path.join(os.path.dirname(opt_ml), HOSTS_FILE)
    if os.path.exists(names) and os.path.exists("/etc/hosts"):
        _mount(names, "/etc/hosts", None, MS_BIND)
    if os.path.isdir(OPT_ML):
        _mount(opt_ml, OPT_ML, None, MS_BIND | MS_REC)
    else:
        _cover_opt(opt_ml)
    for path in read_only:
        _mount(path, path, None, MS_BIND | MS_REC)
        flags = os.statvfs(path).f_flag  # a user namespace may not drop the flags a mount already has
        kept = sum(mount_flag for bit, mount_flag in MS_OF_STATVFS if flags & bit)
        _mount(None, path, None, MS_REMOUNT | MS_BIND | MS_RDONLY | kept)


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the thread that started it is gone (Linux only)."""
    if sys.platform == "linux":
        _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _cover_opt(opt_ml: str) -> None:
    tree = os.open(opt_ml, os.O_PATH)
    former = []
    with os.scandir("/opt") as entries:
        for entry in entries:
            target = os.readlink(entry.path) if entry.is_symlink() else None
            former.append((entry.path, target, entry.is_dir(), os.open(entry.path, os.O_PATH | os.O_NOFOLLOW)))
    _mount("tmpfs", "/opt", "tmpfs", 0, "size=1m,mode=755")
    for path, target, is_directory, descriptor in former:
        if target is not None:
            os.symlink(target, path)
        else:
            if is_directory:
                os.mkdir(path)
            else:
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
            _mount(f"/proc/self/fd/{descriptor}", path, None, MS_BIND | MS_REC)
        os.close(descriptor)
    os.mkdir(OPT_ML)
    _mount(f"/proc/self/fd/{tree}", OPT_ML, None, MS_BIND | MS_REC)
    os.close(tree)


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    texts = [text.encode() if text is not None else None for text in (source, target, kind, data)]
    _call("mount", texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3], about=target)


def _call(name: str, *arguments: object, about: str = "") -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name} {about}: {os.strerror(number)}")


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def main(arguments: list[str]) -> None:
    mode, opt_ml, cwd, count = arguments[:4]
    read_only, command = arguments[4 : 4 + int(count)], arguments[4 + int(count) :]
    try:
        enter(mode, opt_ml, read_only)
        die_with_parent()
        os.chdir(cwd)
    except OSError as problem:
        print(f"The job's directories could not be set up: {problem}", file=sys.stderr)
        sys.exit(125)
    try:
        os.execvpe(command[0], command, os.environ)
    except OSError as problem:
        print(f"{command[0]}: {problem.strerror}", file=sys.stderr)
        sys.exit(127 if isinstance(problem, FileNotFoundError) else 126)


if __name__ == "__main__":
    main(sys.argv[1:])
