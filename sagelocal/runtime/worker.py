"""The warm worker's own side: imports what jobs need, then forks a job per request (warm.py sends them).

It has a single thread and runs no parallel region, since neither survives a fork. When the server goes, the worker and
its jobs go too. A forked child becomes `python ARGV…` as nearly as can be: environment, arguments, path, exit code.
"""

import array
import atexit
import contextlib
import functools
import gc
import importlib
import io
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable
from typing import NoReturn

from sagelocal.core.json import Json
from sagelocal.runtime import sandbox

READY = b"R"
PYTHON_FLAGS = ("-u", "-B")  # what a forked interpreter can honour after the fact


def main(arguments: list[str]) -> NoReturn:
    """The worker process: import the modules, then fork a job per request until the server hangs up."""
    control = socket.socket(fileno=int(arguments[0]))
    sandbox.die_with_parent()
    for name in arguments[1:]:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    control.sendall(READY)
    request = _serve(control)
    _become(request)


def _serve(control: socket.socket) -> Json:
    """Fork on request and report ends. Returns in a forked child, with the child's request; never in the worker."""
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    selector.register(wake_read, selectors.EVENT_READ)
    reports: dict[int, int] = {}
    while True:
        for key, _ in selector.select():
            if key.fileobj is not control:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake_read, 4096)
                continue
            received = _receive(control)
            if received is None:
                for pid in reports:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(pid, signal.SIGKILL)
                os._exit(0)
            request, output, report = received
            pid = os.fork()
            if pid == 0:
                selector.close()
                for descriptor in (control.detach(), wake_read, wake_write, *reports.values()):
                    if descriptor != wake_write:
                        os.close(descriptor)
                signal.set_wakeup_fd(-1)
                os.close(wake_write)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.setsid()
                os.write(report, f"{os.getpid()}\n".encode())
                os.close(report)
                os.dup2(output, 1)
                os.dup2(output, 2)
                os.close(output)
                return request
            os.close(output)
            reports[pid] = report
        _report_ends(reports)


def _receive(control: socket.socket) -> tuple[Json, int, int] | None:
    header, ancillary, _, _ = control.recvmsg(4, socket.CMSG_SPACE(2 * 4))
    if len(header) < 4:
        return None
    output, report = array.array("i", ancillary[0][2])
    length = struct.unpack("!I", header)[0]
    message = b""
    while len(message) < length:
        part = control.recv(length - len(message))
        if not part:
            return None
        message += part
    return json.loads(message), output, report


def _report_ends(reports: dict[int, int]) -> None:
    while reports:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return
        with contextlib.suppress(ProcessLookupError):  # what it left running ends with it, as in a container
            os.killpg(ended.si_pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(ended.si_pid, 0)[1])
        report = reports.pop(ended.si_pid)
        with contextlib.suppress(BrokenPipeError):
            os.write(report, f"{code}\n".encode())
        os.close(report)


def _become(request: Json) -> NoReturn:
    """Turn the forked child into `python ARGV…` and leave with the exit code that Python would give."""
    env = request["env"]
    try:
        sandbox.enter(request["mode"], request["opt_ml"], request["read_only"])
        sandbox.die_with_parent()
        os.chdir(request["cwd"])
    except OSError as problem:
        print(f"The job's directories could not be set up: {problem}", file=sys.stderr, flush=True)
        os._exit(125)
    os.environ.clear()
    os.environ.update(env)
    for name in [name for name in sys.modules if name == "sagelocal" or name.startswith("sagelocal.")]:
        del sys.modules[name]
    time.tzset()
    _new_random_states()
    _limit_threads(env.get("OMP_NUM_THREADS", ""))
    for stream in (sys.stdout, sys.stderr):
        assert isinstance(stream, io.TextIOWrapper)
        stream.reconfigure(line_buffering=True, write_through=bool(env.get("PYTHONUNBUFFERED")))
    arguments = request["argv"]
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
