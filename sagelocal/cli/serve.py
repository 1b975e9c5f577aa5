"""The server itself, in this process: what `sagelocal up --foreground` runs."""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

from werkzeug.serving import make_server

from sagelocal.core import lifecycle, lock, log, registry, reserve, upkeep
from sagelocal.core.context import Context
from sagelocal.core.errors import ValidationException
from sagelocal.core.store import NewerState, Store
from sagelocal.gateway.connection import Handler
from sagelocal.gateway.server import Application, load_services
from sagelocal.runtime import images
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
    held = lock.hold(state_dir)
    if held is None:
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
        server = make_server("127.0.0.1", port, application, threaded=True, request_handler=Handler)
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
    tasks = (stay_found, lambda: log.rotate(state_dir / "server.log"), lambda: reserve.renew(state_dir))
    context.spawn("upkeep", upkeep.watch, context.stopping, tasks)
    server.serve_forever(poll_interval=0.05)
    for hook in registry.STOP_HOOKS:
        hook(context)
    store.close()
    lifecycle.withdraw(state_dir)
    os._exit(0)  # daemon threads may still hold sockets; everything that matters is on disk


def fail(message: str) -> NoReturn:
    print(message, flush=True)
    sys.exit(2)
