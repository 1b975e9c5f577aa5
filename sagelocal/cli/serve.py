"""The server itself, in this process: what `sagelocal up --foreground` runs."""

import ctypes
import os
import shutil
import signal
import sqlite3
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from sagelocal.core import lifecycle, lock, log, recovery, registry, reserve, secret, upkeep
from sagelocal.core.context import Context
from sagelocal.core.errors import ValidationException
from sagelocal.core.snapshots import Damaged, Snapshots
from sagelocal.core.store import NewerState, Store
from sagelocal.core.terminal import printable
from sagelocal.gateway.listener import Server
from sagelocal.gateway.server import Application, load_services
from sagelocal.runtime import images, isolation
from sagelocal.services.cloudwatch import clock

LEAST_FREE = 1 << 20  # bytes; with less SQLite cannot even begin


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
    held = lock.hold(state_dir)
    if held is None:
        print(f"Another server has {state_dir}; joining it.", flush=True)
        return
    load_services()  # they declare what the store's columns hold
    store, kept = _open(state_dir)
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

    def stay_found() -> None:
        if not lock.is_ours(state_dir, held):
            log.logger.error("%s was removed or replaced: this server ends.", state_dir)
            upkeep.abandon()
        if not lifecycle.is_announced(state_dir):
            lifecycle.announce(state_dir, context.url)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    for hook in registry.START_HOOKS:
        hook(context)
    lifecycle.announce(state_dir, context.url)
    print(f"sagelocal at {context.url}, state in {state_dir}", flush=True)
    context.spawn("say what keeps jobs apart", lambda: print(isolation.described(), flush=True))
    log_file = state_dir / "server.log"
    tasks = (stay_found, kept.tend, lambda: log.rotate(log_file), lambda: reserve.renew(state_dir))
    context.spawn("upkeep", upkeep.watch, context.stopping, tasks)
    server.serve_forever(poll_interval=0.05)
    for hook in registry.STOP_HOOKS:
        try:
            hook(context)
        except Exception:  # the others have processes to end
            log.logger.exception("%s failed", hook.__name__)
    _close(state_dir, store, kept)
    lifecycle.withdraw(state_dir)
    os._exit(0)  # daemon threads may still hold sockets; everything that matters is on disk


def _open(state_dir: Path) -> tuple[Store, Snapshots]:
    """The store of a state directory, made sound before, and the snapshots that are taken of it from now on."""
    full = f"The disk of {state_dir} is full. Free some space, then try again; {reserve.told(state_dir)}"
    if shutil.disk_usage(state_dir).free < LEAST_FREE:
        fail(full)
    try:
        if said := recovery.make_sound(state_dir):
            print(said, flush=True)
        store = Store(state_dir / "state.db")
        kept = Snapshots(state_dir)
        kept.start()
    except (NewerState, recovery.Unrecoverable) as problem:
        fail(str(problem))
    except (OSError, sqlite3.Error) as problem:
        disk_is_full = shutil.disk_usage(state_dir).free < LEAST_FREE
        fail(full if disk_is_full else f"The state in {state_dir} cannot be opened: {problem}.")
    store.listen(kept.journal.note)
    return store, kept


def _close(state_dir: Path, store: Store, kept: Snapshots) -> None:
    try:
        kept.end()
    except (Damaged, OSError, sqlite3.Error) as problem:
        log.logger.error("the last snapshot was not taken: %s", problem)
    store.close()
    with suppress(OSError):
        recovery.note_clean_stop(state_dir)


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
