"""The keeper: a small process that starts all others, each in a sandbox of its own where this machine allows that.

A sandbox has PID, mount and IPC namespaces. Its first process is its init: it lays the sandbox out (sandbox.py),
starts the job unless the warm worker is to fork it in, hands SIGTERM on, and ends when the job has ended. The kernel
then kills whatever is left in there. The keeper itself is the first process of a namespace around all sandboxes, so
that nothing outlives it, and it ends with the server.

Run as `python -I -S -c "…; keeper.main(…)" MODE DESCRIPTOR SERVER_PID`: it is kept to a few imports, since all that it
forks pays for them.
"""

import contextlib
import os
import signal
import socket
import sys
from typing import NoReturn

from sagelocal.runtime import confinement, forkserver, kernel, sandbox
from sagelocal.runtime.forkserver import Order

JOB = 2  # its process id in its sandbox: the first after init's


def main(arguments: list[str]) -> NoReturn:
    mode, control, server = arguments[0], socket.socket(fileno=int(arguments[1])), int(arguments[2])
    sandboxed = mode != sandbox.NONE
    if sandboxed:
        kernel.die_with_parent(server)
        enclose(mode)
    elif sys.platform == "linux":  # it outlives the server for as long as it takes to end what it started
        kernel.adopt_orphans()
    own = os.open("/proc/self/ns/pid", os.O_RDONLY) if sandboxed else -1

    def fork(kind: bytes, _: list[int]) -> int:
        if not sandboxed or kind == forkserver.PLAIN_FORK:
            return os.fork()
        return kernel.fork_in(lambda: kernel.unshare(kernel.CLONE_NEWPID), own)

    order = Order.read(forkserver.serve(control, fork, sweeps=not sandboxed))
    if sandboxed:
        os.close(own)
    if order.request.get("sandbox"):
        _keep_sandbox(order)
    else:
        os.setsid()  # before its number is known: a signal to its group is for it from then on
        order.tell(own_pid())
        if sandboxed and os.geteuid() != 0:
            kernel.keep_capabilities()
        _run(order)


def enclose(mode: str) -> None:
    """Go on as the first process of a namespace around all sandboxes; what is left outside waits for it."""
    kernel.unshare(kernel.CLONE_NEWPID | (kernel.CLONE_NEWUSER if sandbox.needs_user_namespace(mode) else 0))
    pid = os.fork()
    if pid:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF)
    kernel.die_with_parent(0)  # the parent is outside, and has no number here


def own_pid() -> int:
    """This process's number for the server: the machine's /proc tells it, whatever namespace the process is in."""
    return int(os.readlink("/proc/self")) if sys.platform == "linux" else os.getpid()


def _keep_sandbox(order: Order) -> NoReturn:
    """Be the init of a sandbox. It is ready when it says so; where it cannot be built, it says 125 and why."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})  # a stop waits until there is a job
    order.tell(own_pid())
    os.setsid()
    request = order.request
    try:
        confinement.join_groups(request["memory"])
        sandbox.build(request["sandbox"])
    except OSError as problem:
        os.write(order.output, f"The job's directories could not be set up: {problem}\n".encode())
        order.tell(125)
        os._exit(125)
    if "argv" in request and os.fork() == 0:
        kernel.die_with_parent(1)
        os.setsid()
        _run(order)
    order.tell(forkserver.READY.decode())
    for descriptor in (order.output, order.stdin):
        os.close(descriptor)
    kernel.drop_capabilities()
    while True:
        if signal.sigwait({signal.SIGTERM, signal.SIGCHLD}) == signal.SIGTERM:
            _end_job()
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == JOB:
                    order.tell(os.waitstatus_to_exitcode(ended[1]))
                    os._exit(0)


def _end_job() -> None:
    """Send SIGTERM to the job's group, or to its process alone when that has not made the group yet."""
    for send in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError):
            send(JOB, signal.SIGTERM)
            return


def _run(order: Order) -> NoReturn:
    """Become the program that the order names."""
    request = order.request
    order.take_streams()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    command = request["argv"]
    try:
        confinement.confine(request)
        os.chdir(request["cwd"])
    except OSError as problem:
        print(f"The job's rights could not be set up: {problem}", file=sys.stderr, flush=True)
        os._exit(125)
    try:
        os.execvpe(command[0], command, request["env"])
    except OSError as problem:
        print(f"{command[0]}: {problem.strerror}", file=sys.stderr, flush=True)
        os._exit(127 if isinstance(problem, FileNotFoundError) else 126)


def try_out(mode: str, tree: str) -> NoReturn:
    """Put this process into a sandbox; the exit code is 0 if it then sees the file `probe` of its tree."""
    enclose(mode)
    kernel.unshare(kernel.CLONE_NEWPID)
    pid = os.fork()
    if pid:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF)
    plan = {"opt_ml": tree, "hosts": "", "temporary": "", "own_proc": mode != sandbox.USER_SHARED_PROC}
    sandbox.build(plan | {"read_only": [], "hidden": [], "shown": [], "writable": []})
    kernel.drop_capabilities()
    kernel.landlock({})
    os._exit(not os.path.exists(f"{sandbox.OPT_ML}/probe"))
