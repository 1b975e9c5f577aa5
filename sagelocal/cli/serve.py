"""The server itself, in this process: what `sagelocal up --foreground` runs."""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

from werkzeug.serving import make_server

from sagelocal.core import lifecycle, log, registry
from sagelocal.core.context import Context
from sagelocal.core.errors import ValidationException
from sagelocal.core.store import NewerState, Store
from sagelocal.gateway.connection import Handler
from sagelocal.gateway.server import Application
from sagelocal.runtime import images, isolation
from sagelocal.services.cloudwatch import clock


def serve(state_dir: Path, port: int) -> None:
    """Serve one state directory until a signal or a stop request. Returns at once when another server has it."""
    log.set_up()
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
    try:
        store = Store(state_dir / "state.db")
    except NewerState as problem:
        fail(str(problem))
    context = Context(state_dir, "", store)
    clock.clock(context).speed = speed
    application = Application(context, on_stop=lambda: stop())
    try:
        server = make_server("127.0.0.1", port, application, threaded=True, request_handler=Handler)
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
    context.spawn("say what keeps jobs apart", lambda: print(isolation.described(), flush=True))
    server.serve_forever(poll_interval=0.05)
    for hook in registry.STOP_HOOKS:
        hook(context)
    store.close()
    (state_dir / "server.json").unlink(missing_ok=True)
    os._exit(0)  # daemon threads may still hold sockets; everything that matters is on disk


def fail(message: str) -> NoReturn:
    print(message, flush=True)
    sys.exit(2)
