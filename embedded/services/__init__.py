"""The services answered here. A module registers its operations with @operation, and what
must happen when the server starts or stops with @on_start and @on_stop."""

import importlib
import pkgutil
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from embedded import aws
from embedded.errors import AwsError

if TYPE_CHECKING:
    from embedded.context import Context

Handler = Callable[["Context", dict], dict | None]
Registered = TypeVar("Registered", bound=Handler)

OPERATIONS: dict[tuple[str, str], Handler] = {}
START_HOOKS: list[Callable[["Context"], None]] = []
STOP_HOOKS: list[Callable[["Context"], None]] = []
MOTO_HOOKS: list[Callable[["Context"], None]] = []


def operation(service: str, name: str) -> Callable[[Registered], Registered]:
    """Register the function that answers an operation: (context, checked request) -> answer, or AwsError."""

    def register(handler: Registered) -> Registered:
        OPERATIONS[service, name] = handler
        return handler

    return register


def on_start(hook: Callable[["Context"], None]) -> Callable[["Context"], None]:
    """Register what a service does when the server starts: pick up state that an earlier server left."""
    START_HOOKS.append(hook)
    return hook


def on_stop(hook: Callable[["Context"], None]) -> Callable[["Context"], None]:
    """Register what a service does when the server stops: end its processes, note what was cut off."""
    STOP_HOOKS.append(hook)
    return hook


def on_moto(hook: Callable[["Context"], None]) -> Callable[["Context"], None]:
    """Register what must be in moto, which remembers nothing, before it answers its first request."""
    MOTO_HOOKS.append(hook)
    return hook


def load_all() -> None:
    """Import every service module, so that its operations are registered."""
    for module in pkgutil.walk_packages(__path__, f"{__name__}."):
        importlib.import_module(module.name)


def dispatch(context: "Context", service: str, name: str, request: dict) -> dict:
    """Check a request, run its operation, shape the answer. Raises AwsError."""
    from embedded import permissions

    handler = OPERATIONS.get((service, name))
    if handler is None:
        raise AwsError("UnknownOperationException", f"The embedded {service} does not answer {name}.", 400)
    aws.check_request(service, name, request)
    permissions.authorize(context, service, name, request)
    permissions.check_trust(context, service, name, request)
    answer = handler(context, request) or {}
    return context.shaped(service, name, answer)
