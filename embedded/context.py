"""What every operation gets: where state is kept, who we are, and a way to call any other operation."""

import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedded import aws
from embedded.store import Store


@dataclass
class Context:
    """One embedded account in one region."""

    state_dir: Path
    url: str
    store: Store
    region: str = "us-east-1"
    account: str = "123456789012"
    stopping: threading.Event = field(default_factory=threading.Event)

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"

    def call(self, service: str, operation: str, /, **request: Any) -> dict:
        """Call an operation as a client would, without the socket: checked, run, shaped. Raises AwsError."""
        from embedded.services import dispatch

        return dispatch(self, service, operation, request)

    def spawn(self, name: str, work: Callable[..., object], *args: Any) -> threading.Thread:
        """Run `work` in the background; an error in it goes to the server's log, with its traceback."""

        def guarded() -> None:
            try:
                work(*args)
            except Exception:
                if not self.stopping.is_set():
                    print(f"{name}:\n{traceback.format_exc()}", flush=True)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread

    def shaped(self, service: str, operation: str, body: dict) -> dict:
        """`body` with only the members of the operation's answer."""
        return aws.shaped(body, aws.operation_model(service, operation).output_shape)
