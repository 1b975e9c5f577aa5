"""The warm worker's own side: imports what jobs need, then forks a job per request (warm.py sends them).

It has a single thread and runs no parallel region, since neither survives a fork. A forked child becomes `python ARGV…`
as nearly as can be: environment, arguments, path, exit code.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import io
import os
import runpy
import socket
import sys
import tempfile
import threading
import time
import traceback
import types
from collections.abc import Callable
from typing import NoReturn

from sagelocal.runtime import confinement, forkserver, keeper, kernel, sandbox
from sagelocal.runtime.forkserver import Order

PYTHON_FLAGS = ("-u", "-B")  # what a forked interpreter can honour after the fact


def main(arguments: list[str]) -> NoReturn:
    """The worker process: import the modules, then fork a job per request until the server hangs up."""
    mode, modules = arguments[0], arguments[1:]
    sandboxed = mode != sandbox.NONE
    control = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    kernel.die_with_parent(os.getppid())
    kernel.adopt_orphans()
    for name in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    control.sendall(forkserver.READY)
    own = os.open("/proc/self/ns/pid", os.O_RDONLY) if sandboxed else -1

    def fork(_: bytes, descriptors: list[int]) -> int:
        if not sandboxed:
            return os.fork()
        return kernel.fork_in(lambda: kernel.join(descriptors[-1], kernel.CLONE_NEWPID), own)

    worker = os.getpid()
    descriptors = forkserver.serve(control, fork, sweeps=not sandboxed)
    kernel.die_with_parent(0 if sandboxed else worker)
    order = Order.read(descriptors)
    os.setsid()
    order.tell(keeper.own_pid())
    _become(order, descriptors[4:] + ([own] if sandboxed else []))


def _become(order: Order, namespaces: list[int]) -> NoReturn:
    """Turn the forked child into `python ARGV…` and leave with the exit code that Python would give.

    `namespaces`: descriptors to be closed; the first is the sandbox's init, where there is a sandbox.
    """
    request, env = order.request, order.request["env"]
    os.close(order.report)
    order.take_streams()
    try:
        if request["sandbox"]:
            confinement.join_groups(request["memory"])
            kernel.join(namespaces[0], kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC)
        confinement.confine(request)
        os.chdir(request["cwd"])
    except OSError as problem:
        print(f"The job's directories could not be set up: {problem}", file=sys.stderr, flush=True)
        os._exit(125)
    for descriptor in (*namespaces, order.output, order.stdin):
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(env)
    for name in [name for name in sys.modules if name == "sagelocal" or name.startswith("sagelocal.")]:
        del sys.modules[name]
    tempfile.tempdir = None  # what the worker found for itself: the job has a folder of its own
    time.tzset()
    _new_random_states()
    _limit_threads(env.get("OMP_NUM_THREADS", ""))
    for stream in (sys.stdout, sys.stderr):
        assert isinstance(stream, io.TextIOWrapper)
        stream.reconfigure(line_buffering=True, write_through=bool(env.get("PYTHONUNBUFFERED")))
    arguments = request["argv"][1:]
    while arguments[0] in PYTHON_FLAGS:
        arguments = arguments[1:]
    os._exit(_exit_code_of(functools.partial(_run, arguments, env.get("PYTHONPATH", ""))))


def _run(arguments: list[str], python_path: str) -> None:
    extra = [path for path in python_path.split(os.pathsep) if path]
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path[:1] = [os.getcwd(), *extra]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        return
    script = arguments[0]
    sys.argv = arguments
    sys.path[:1] = [os.path.dirname(os.path.realpath(script)), *extra]
    try:
        with open(script, "rb") as file:
            source = file.read()
    except OSError as problem:
        print(f"python: can't open file {script!r}: [Errno {problem.errno}] {problem.strerror}", file=sys.stderr)
        raise SystemExit(2) from None
    module = types.ModuleType("__main__")
    module.__file__ = script
    vars(module)["__builtins__"] = __builtins__
    sys.modules["__main__"] = module
    exec(compile(source, script, "exec"), module.__dict__)


def _exit_code_of(run: Callable[[], None]) -> int:
    code = 0
    try:
        run()
    except SystemExit as leaving:
        if leaving.code is not None and not isinstance(leaving.code, int):
            print(leaving.code, file=sys.stderr)
        code = 0 if leaving.code is None else leaving.code & 0xFF if isinstance(leaving.code, int) else 1
    except BaseException as problem:
        own_frames = 3  # this function, _run, and its exec or run_module
        trace = problem.__traceback__
        for _ in range(own_frames - 1):
            trace = trace.tb_next if trace and trace.tb_next else trace
        traceback.print_exception(type(problem), problem, trace)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # private: what Python itself calls at its end
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    return code


def _new_random_states() -> None:
    """Two jobs forked from one worker must not draw the same numbers. (The random module sees to itself.)"""
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()


def _limit_threads(number: str) -> None:
    """OpenMP read its environment when the worker imported torch, so the job's wish is told to torch itself."""
    if number.isdigit() and int(number) > 0 and "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(int(number))
