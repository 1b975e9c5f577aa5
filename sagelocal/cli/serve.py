"""The server itself, in this process: what `sagelocal up --foreground` runs."""

import ctypes
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from sagelocal.core import lifecycle, log, registry, secret
from sagelocal.core.context import Context
from sagelocal.core.errors import ValidationException
from sagelocal.core.store import NewerState, Store
from sagelocal.core.terminal import printable
from sagelocal.gateway.listener import Server
from sagelocal.gateway.server import Application, load_services
from sagelocal.runtime import images
from sagelocal.services.cloudwatch import clock


def serve(state_dir: Path, port: int) -> None:
    """Serve one state directory until a signal or a stop request. Returns at once when another server has it."""
    _give_memory_back()
    log.set_up()
    os.umask(secret.PRIVATE_UMASK)
    lifecycle.prepare(state_dir)
    try:
        speed = clock.named(os.environ)
        images.known(images.files(state_dir))
    except clock.BadSpeed as problem:
        fail(str(problem))
    except ValidationException as problem:
        fail(problem.message)
    lock = lifecycle.hold_lock(state_dir)
    if lock is None:
        print(f"Another server has {state_dir}; joining it.", flush=True)
        return
    load_services()  # they declare what the store's columns hold
    try:
        store = Store(state_dir / "state.db")
    except NewerState as problem:
        fail(str(problem))
    context = Context(state_dir, "", store)
    clock.clock(context).speed = speed
    application = Application(context, on_stop=lambda: stop())
    try:
        server = Server(port, application)
    except (OSError, SystemExit):
        fail(f"Port {port} is busy. Choose another with --port or SAGELOCAL_PORT, or leave it out for any free one.")
    context.url = f"http://127.0.0.1:{server.port}"

    def stop(*_: object) -> None:
        context.stopping.set()
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    for hook in registry.START_HOOKS:
        hook(context)
    lifecycle.announce(state_dir, context.url)
    print(f"sagelocal at {context.url}, state in {state_dir}", flush=True)
    server.serve_forever(poll_interval=0.05)
    for hook in registry.STOP_HOOKS:
        hook(context)
    store.close()
    (state_dir / "server.json").unlink(missing_ok=True)
    os._exit(0)  # daemon threads may still hold sockets; everything that matters is on disk


def _give_memory_back() -> None:
    """Tell glibc to keep few arenas: with one for each of the many short threads the server would grow for hours."""
    m_arena_max, m_trim_threshold = -8, -1  # https://man7.org/linux/man-pages/man3/mallopt.3.html
    with suppress(AttributeError, OSError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(m_arena_max, 2)
        mallopt(m_trim_threshold, 128 << 10)


def fail(message: str) -> NoReturn:
    print(printable(message), flush=True)
    sys.exit(2)
