"""Runs jobs that try to get out of their sandbox: `python escapes.py FOLDER`. Prints what each attempt gave, as JSON.

The folder becomes a user's: a home with a private file, a state directory with another job's tree and an object, and
this process as the server, whose environment has a secret.
"""

import contextlib
import json
import os
import platform
import socket
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KEYS_OF_THE_USER, REVOKE = -4, 3  # for keyctl
ATTEMPTS = r'''
import os
INHERITED = [fd for fd in os.listdir("/proc/self/fd") if int(fd) > 2 and os.path.exists(f"/proc/self/fd/{fd}")]
import ctypes, json, socket, sys
told = json.load(open("/opt/ml/told.json"))
libc = ctypes.CDLL(None, use_errno=True)
INPUT = "/opt/ml/input/x"

def call(name, *arguments):
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)
    return name

def read(path): return open(path, "rb").read(200)
def write(path, flags=os.O_WRONLY): os.write(os.open(path, flags), b"CHANGED"); return "written"
def scan(file, secret):
    found = [pid for pid in os.listdir("/proc") if pid.isdigit() and secret in attempt(read_all, f"/proc/{pid}/{file}")]
    if not found: raise OSError("nowhere")
    return found
def read_all(path): return open(path, "rb").read()
def attempt(function, *arguments):
    try: return function(*arguments)
    except OSError: return b""
def remount(): call("mount", None, b"/opt/ml/input", None, 32 | 4096, None); return write(INPUT)
def unmount(): call("umount2", b"/opt/ml/input", 2); return write(INPUT)
def nested(then):
    call("unshare", 0x10000000 | 0x00020000)
    return then()
def unmount_and_list(path): call("umount2", path.encode(), 2); return os.listdir(path) or 1 / 0
def chmod_and_write(path): attempt(os.chmod, path, 0o666); return write(path)
def link(): os.link(INPUT, "/opt/ml/linked"); return write("/opt/ml/linked")
def connect(): socket.socket(socket.AF_UNIX).connect("\0" + told["abstract"]); return "connected"
def descriptors():
    if not INHERITED: raise OSError("none")
    return [os.readlink(f"/proc/self/fd/{fd}") for fd in INHERITED]
def capabilities():
    lines = [line for line in open("/proc/self/status") if line.startswith(("CapEff", "CapPrm", "CapBnd"))]
    if all(int(line.split()[1], 16) == 0 for line in lines): raise OSError("none")
    return lines
def in_child(function):
    """In a process of its own: an attempt may change what it is in."""
    down, up = os.pipe()
    if os.fork() == 0:
        try: said = {"got": str(function())[:200]}
        except BaseException as problem: said = {"refused": f"{type(problem).__name__}: {problem}"[:200]}
        os.write(up, json.dumps(said).encode()); os._exit(0)
    os.wait()
    return json.loads(os.read(down, 10000))

server = told["server"]
tries = {
    "read a private file of the home": lambda: read(told["home"] + "/key"),
    "list the home": lambda: os.listdir(told["home"]) or 1 / 0,
    "list the state directory": lambda: set(os.listdir(told["state"])) - {"jobs"} or 1 / 0,
    "read the database": lambda: read(told["state"] + "/state.db"),
    "read an object on the disk": lambda: read(told["object"]),
    "change an object on the disk": lambda: chmod_and_write(told["object"]),
    "read another job's tree": lambda: read(told["other"]),
    "write an input": lambda: chmod_and_write(INPUT),
    "write an input by its own path": lambda: chmod_and_write(told["tree"] + "/input/x"),
    "link an input elsewhere": link,
    "remount an input": remount,
    "unmount an input": unmount,
    "remount an input in a nested namespace": lambda: nested(remount),
    "unmount an input in a nested namespace": lambda: nested(unmount),
    "enter the namespaces of init": lambda: call("setns", os.open("/proc/1/ns/mnt", os.O_RDONLY), 0),
    "mount something": lambda: call("mount", b"tmpfs", b"/opt/ml", b"tmpfs", 0, None),
    "change the root": lambda: os.chroot("/opt/ml"),
    "find the server's secret in an environment": lambda: scan("environ", b"CANARY" + b"-SECRET"),
    "find the server's process": lambda: scan("cmdline", b"escapes" + b".py"),
    "signal the server": lambda: os.kill(server, 0) or "signalled",
    "trace the server": lambda: call("ptrace", 16, server, 0, 0),
    "see the server's files": lambda: os.listdir(f"/proc/{server}/root/"),
    "write core_pattern": lambda: os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY),
    "write sysrq-trigger": lambda: os.open("/proc/sysrq-trigger", os.O_WRONLY),
    "write below /sys": lambda: os.open("/sys/kernel/profiling", os.O_WRONLY),
    "make a control group": lambda: os.mkdir(told["group"] + "/escaped"),
    "make a device": lambda: os.mknod("/opt/ml/disk", 0o60666, os.makedev(254, 0)),
    "open a disk": lambda: [os.open(f"/dev/{n}", os.O_RDONLY) for n in os.listdir("/dev") if n[:2] in ("vd", "sd")][0],
    "write to /etc": lambda: write("/etc/escaped", os.O_WRONLY | os.O_CREAT),
    "write to this Python": lambda: write(os.path.dirname(os.__file__) + "/os.py"),
    "write to its packages": lambda: write(told["packages"] + "/escaped.py", os.O_WRONLY | os.O_CREAT),
    "become another user": lambda: os.setuid(12345) or "became",
    "have a capability": capabilities,
    "have a descriptor of the server": descriptors,
    "connect to an abstract socket outside": connect,
    "read a file of /tmp": lambda: read(told["temporary"]),
    "read the owner's keys": lambda: read(told["state"] + "/owner.json"),
    "uncover the home in a nested namespace": lambda: nested(lambda: unmount_and_list(told["home"])),
    "uncover the state directory in a nested namespace": lambda: nested(lambda: unmount_and_list(told["state"])),
    "read the memory of init": lambda: os.open("/proc/1/mem", os.O_RDONLY),
    "read the environment of init": lambda: read("/proc/1/environ"),
    "see the descriptors of init": lambda: [os.readlink(f"/proc/1/fd/{name}") for name in os.listdir("/proc/1/fd")],
    "trace init": lambda: call("ptrace", 16, 1, 0, 0),
    "find a key of the user's": lambda: call("syscall", told["keyctl"], 10, -4, b"user", b"canary", 0),
    "leave a key to the user": lambda: call("syscall", told["keyctl"] - 2, b"user", b"left", b"x", 1, -4),
    "call the host of a virtual machine": lambda: socket.socket(40, socket.SOCK_STREAM),
    "read the kernel's log": lambda: call("klogctl", 3, ctypes.create_string_buffer(100), 100),
    "open a raw socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "set the clock": lambda: call("settimeofday", ctypes.create_string_buffer(16), None),
    "come before the server": lambda: os.nice(-5),
}
def uses_semaphores():
    import multiprocessing
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(abs, [-1, -2])
def writes(path): open(path + "/made", "w").write("x")

works = {
    "its tree": lambda: writes("/opt/ml"),
    "its home": lambda: writes(os.environ["HOME"]),
    "its folder for temporary files": lambda: writes(os.environ["TMPDIR"]),
    "/tmp": lambda: writes("/tmp"),
    "/var/tmp": lambda: writes("/var/tmp"),
    "/dev/shm": lambda: writes("/dev/shm"),
    "its input": lambda: read(INPUT),
    "/dev/null": lambda: open("/dev/null", "w").write("x"),
    "random numbers": lambda: open("/dev/urandom", "rb").read(8),
    "a terminal": lambda: os.openpty(),
    "loopback": lambda: socket.create_connection(("127.0.0.1", told["port"])).close(),
    "names": lambda: socket.getaddrinfo("localhost", 80),
    "packages": lambda: __import__("boto3"),
    "semaphores": uses_semaphores,
    "children": lambda: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0),
}
def fails(function):
    try: function()
    except Exception as problem: return repr(problem)

said = {name: in_child(function) for name, function in tries.items()}
said["works"] = [f"{name}: {why}" for name, function in works.items() if (why := fails(function))]
with open("/opt/ml/said.json", "w") as file:
    json.dump(said, file)
'''


def main(folder: Path) -> None:
    sys.path.insert(0, str(ROOT))
    home = folder / "home"
    home.mkdir()
    (home / "key").write_text("PRIVATE")
    (home / "key").chmod(0o600)
    os.environ.update(HOME=str(home), AWS_CANARY="CANARY-SECRET", SAGELOCAL_IMAGES="")
    os.execv(sys.executable, [sys.executable, __file__, str(folder), "as the server"])


def serve(folder: Path) -> None:
    """What a server does, with the environment that its process began with."""
    sys.path.insert(0, str(ROOT))
    from sagelocal.core.context import Context
    from sagelocal.core.store import Store
    from sagelocal.runtime import data, kernel, launch, memory, process, seccomp, warm
    from sagelocal.runtime.launch import ProcessSpec
    from sagelocal.services.s3 import objects

    state = folder / "state"
    state.mkdir()
    context = Context(state, "http://127.0.0.1:1", Store(state / "state.db"))
    objects.create_bucket(context, "bucket")
    objects.write_bytes(context, "s3://bucket/in/x", b"precious")
    other = state / "jobs" / "training" / "other" / "algo-1" / "ml" / "private"
    other.parent.mkdir(parents=True)
    other.write_text("another's")
    descriptor, outside = tempfile.mkstemp(dir="/tmp")
    abstract = f"sagelocal-{os.getpid()}"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("\0" + abstract)
    listener.listen()
    inet = socket.create_server(("127.0.0.1", 0))
    add_key, _, keyctl = seccomp.PROCESSORS[platform.machine()].keys
    canary = 0
    with contextlib.suppress(OSError):  # a container whose own filter refuses that to everybody
        canary = kernel.call("syscall", add_key, b"user", b"canary", b"SECRET", 6, KEYS_OF_THE_USER)
    said = {}
    assert warm.worker(context).usable(300)
    for start in ("cold", "warm"):
        tree = state / "jobs" / "training" / start / "algo-1" / "ml"
        data.download(context, {"S3Uri": "s3://bucket/in/"}, [tree / "input"], "input")
        told = {
            **{
                "home": os.environ["HOME"],
                "state": str(state),
                "object": str(objects.path(context, "s3://bucket/in/x")),
            },
            **{"other": str(other), "tree": str(tree), "server": os.getpid(), "abstract": abstract},
            **{"temporary": outside, "packages": next(path for path in sys.path if path.endswith("-packages"))},
            "port": inet.getsockname()[1],
            "keyctl": keyctl,
            "group": str(memory.find().folder or "/sys/fs/cgroup"),
        }
        (tree / "told.json").write_text(json.dumps(told))
        (tree / "attempts.py").write_text(ATTEMPTS)
        env = process.base_environment(context, tree.parent)
        spec = ProcessSpec(
            argv=["python3", "/opt/ml/attempts.py"],
            env=env,
            opt_ml=tree,
            read_only=("/opt/ml/input",),
            on_line=lambda line: print(line, file=sys.stderr),
            cwd="/opt/ml",
            warm=start == "warm",
        )
        process.start(context, spec).wait()
        said[start] = json.loads((tree / "said.json").read_text())
    said["object"] = objects.read_bytes(context, "s3://bucket/in/x").decode()
    os.close(descriptor)
    os.unlink(outside)
    if canary:
        kernel.call("syscall", keyctl, REVOKE, canary)
    warm.worker(context).stop()
    launch.keeper(context).stop()
    print(json.dumps(said))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    serve(Path(sys.argv[1])) if len(sys.argv) > 2 else main(Path(sys.argv[1]))
