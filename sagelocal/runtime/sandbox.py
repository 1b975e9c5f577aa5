"""A sandbox: what a job sees of the machine. Its tree at /opt/ml, folders of its own, the rest read-only or hidden.

`build` is called by the first process of a new PID namespace, which has CAP_SYS_ADMIN, as root or in a user namespace.
"""

import os
import stat
from collections.abc import Mapping
from typing import Any

from sagelocal.runtime import kernel
from sagelocal.runtime.kernel import MS_NODEV, MS_NOEXEC, MS_NOSUID

# How a sandbox can be had, in falling order: as root or in a user namespace, with a /proc of its own or the machine's
# (a container may forbid another); or not at all.
ROOT, USER, USER_SHARED_PROC, NONE = "root", "user", "user, shared /proc", "none"
USER_MODES = (USER, USER_SHARED_PROC)

OPT, OPT_ML = "/opt", "/opt/ml"
HOSTS_FILE = "hosts"  # beside a job's tree: shown at /etc/hosts, so that algo-2 is an address
TEMPORARY = ("/tmp", "/var/tmp")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
ACCELERATORS = ("nvidia", "dri", "kfd", "neuron")  # what the names of their devices begin with
LOCKED_OF_PROC = ("sys", "sysrq-trigger", "irq", "bus", "fs")


def needs_user_namespace(mode: str) -> bool:
    return mode in USER_MODES


def build(plan: Mapping[str, Any]) -> None:
    """Go into new mount and IPC namespaces, and lay out the sandbox. Raises OSError if the kernel refuses.

    The plan has real paths: `opt_ml`, the job's tree, shown at /opt/ml, or ""; `read_only`, paths under /opt/ml;
    `hidden`, folders covered by an empty one; `shown`, what is below them and shown all the same, read-only;
    `writable`, the only folders that the job may write besides its tree; `temporary`, the one shown at /tmp, or "";
    `hosts`, the file shown at /etc/hosts, or "".
    """
    kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC)
    kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    writable = {path: kernel.copy_mounts(path) for path in plan["writable"]}
    for place in TEMPORARY if plan["temporary"] else ():
        if place in plan["hidden"] and not any(lies_in(path, place) for path in (*plan["shown"], *plan["writable"])):
            writable[place] = kernel.copy_mounts(plan["temporary"])
    if plan["opt_ml"]:
        writable[OPT_ML] = kernel.copy_mounts(plan["opt_ml"])
    hosts = kernel.copy_mounts(plan["hosts"]) if plan["hosts"] else -1
    shown = {path: kernel.copy_mounts(path) for path in plan["shown"]}
    _make_devices()  # before the covers: a state directory may lie in /dev/shm
    _make_proc(plan["own_proc"])
    _cover_and_show(plan, shown)
    for path, copied in writable.items():
        _make_place(path, copied)
    if plan["hosts"]:
        kernel.attach(hosts, "/etc/hosts")
    kernel.make_read_only("/")
    kernel.make_writable("/dev/shm")
    if plan["own_proc"]:
        kernel.make_writable("/proc")
    for path in TEMPORARY:
        if path in plan["hidden"]:
            kernel.make_writable(path)
    for path, copied in writable.items():
        kernel.attach(copied, path)
    for path in plan["read_only"]:
        copied = kernel.copy_mounts(path)
        kernel.make_read_only(copied)
        kernel.attach(copied, path)


def _cover_and_show(plan: Mapping[str, Any], shown: Mapping[str, int]) -> None:
    if plan["opt_ml"] and not os.path.isdir(OPT_ML):
        _make_opt_ml()
    for path in sorted({*plan["hidden"], *shown}):  # a folder comes before what lies in it
        if path in shown:
            _make_place(path, shown[path])
            kernel.attach(shown[path], path)
        elif os.path.isdir(path):  # else it is gone already, with the folder that it lies in
            kernel.mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, f"mode={1777 if path in TEMPORARY else 755}")


def _make_opt_ml() -> None:
    """Cover /opt with a folder that has its former entries and one more, for this sandbox only."""
    former = []
    with os.scandir(OPT) as entries:
        for entry in entries:
            target = os.readlink(entry.path) if entry.is_symlink() else ""
            former.append((entry.path, target, -1 if target else kernel.copy_mounts(entry.path)))
    kernel.mount("tmpfs", OPT, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    for path, target, copied in former:
        if target:
            os.symlink(target, path)
        else:
            _make_place(path, copied)
            kernel.attach(copied, path)
    os.mkdir(OPT_ML)


def _make_devices() -> None:
    names = [name for name in os.listdir("/dev") if name in DEVICES or name.startswith(ACCELERATORS)]
    copies = {f"/dev/{name}": kernel.copy_mounts(f"/dev/{name}") for name in names}
    kernel.mount("tmpfs", "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755")
    for path, copied in copies.items():
        _make_place(path, copied)
        kernel.attach(copied, path)
    os.mkdir("/dev/shm")
    kernel.mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    os.mkdir("/dev/pts")
    options = "newinstance,ptmxmode=0666,mode=0620"
    kernel.mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, options)
    links = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
    for name, target in links.items():
        os.symlink(target, f"/dev/{name}")


def _make_proc(own: bool) -> None:
    if own:
        kernel.mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for name in LOCKED_OF_PROC:
        path = f"/proc/{name}"
        if os.path.exists(path):
            kernel.attach(kernel.copy_mounts(path), path)  # mounts of their own, which stay read-only


def _make_place(path: str, copied: int) -> None:
    """Make the folder or the file that something is mounted on, where a cover hides the former one."""
    if os.path.lexists(path):
        return
    if stat.S_ISDIR(os.fstat(copied).st_mode):
        os.makedirs(path)
    else:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))


def lies_in(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip("/") + "/")
