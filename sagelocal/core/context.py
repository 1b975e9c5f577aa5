"""What every operation gets: where state is kept, who we are, and a way to call any other operation."""

import functools
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from sagelocal.core import registry
from sagelocal.core.caller import SERVICE_SESSION, Caller
from sagelocal.core.json import Json
from sagelocal.core.store import Store

Part = TypeVar("Part")

logger = logging.getLogger(__name__)


@dataclass
class Context:
    """One embedded account in one region, and who acts in it: None is the account's owner, or a service itself.

    `request_id`: that of a call which is the same call when it is made again; "" where it does not matter.
    `parts`: what there is one of per server, by the function that gives it; see `one_per_server`.
    """

    state_dir: Path
    url: str
    store: Store
    region: str = "us-east-1"
    account: str = "123456789012"
    stopping: threading.Event = field(default_factory=threading.Event)
    caller: Caller | None = None
    request_id: str = ""
    parts: dict[Callable[..., Any], Any] = field(default_factory=dict, repr=False)

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"

    def as_role(self, role_arn: str | None, session: str = SERVICE_SESSION) -> "Context":
        """The same account, acting as a role: `call` is refused what the role may not do. None: as_service."""
        return replace(self, caller=Caller(role_arn, session) if role_arn else None)

    def as_service(self) -> "Context":
        """The same account, acting as the service itself, for what outlives a request."""
        return replace(self, caller=None, request_id="")

    def call(self, service: str, operation: str, /, **request: Any) -> Json:
        """Call an operation as a client would, without the socket: checked, run, shaped. Raises AwsError."""
        return registry.dispatch(self, service, operation, request)

    def spawn(self, name: str, work: Callable[..., object], *args: Any) -> threading.Thread:
        """Run `work` in the background; an error in it goes to the server's log, with its traceback."""

        def guarded() -> None:
            try:
                work(*args)
            except Exception:
                if not self.stopping.is_set():
                    logger.exception("%s failed", name)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread


def one_per_server(make: Callable[[Context], Part]) -> Callable[[Context], Part]:
    """Let a function that makes something answer the same one for all contexts of a server.

    It is made at the first call, acts as the service itself whoever called, and is gone when the server is.
    """
    making = threading.Lock()

    @functools.wraps(make)
    def the_one(context: Context) -> Part:
        with making:
            if the_one not in context.parts:
                context.parts[the_one] = make(context.as_service())
            part: Part = context.parts[the_one]
            return part

    return the_one
