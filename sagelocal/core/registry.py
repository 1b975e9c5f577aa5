"""The operations answered here. A service's module registers them with @operation, what must happen when the server
starts or stops with @on_start and @on_stop, and what must hold before any operation runs with @guard."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from sagelocal.core import service_models
from sagelocal.core.errors import AwsError

if TYPE_CHECKING:
    from sagelocal.core.context import Context

Guard = Callable[["Context", str, str, dict[str, Any]], None]
Handler = Callable[["Context", dict[str, Any]], dict[str, Any] | None]
Registered = TypeVar("Registered", bound=Handler)

GUARDS: list[Guard] = []
OPERATIONS: dict[tuple[str, str], Handler] = {}
SERVICES: set[str] = set()  # those of the operations
START_HOOKS: list[Callable[["Context"], None]] = []
STOP_HOOKS: list[Callable[["Context"], None]] = []
MOTO_HOOKS: list[Callable[["Context"], None]] = []


def operation(service: str, name: str) -> Callable[[Registered], Registered]:
    """Register the function that answers an operation: (context, checked request) -> answer, or AwsError."""

    def register(handler: Registered) -> Registered:
        OPERATIONS[service, name] = handler
        SERVICES.add(service)
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


def guard(check: Guard) -> Guard:
    """Register a check of (context, service, operation, request) that raises AwsError where a call is not allowed."""
    GUARDS.append(check)
    return check


def dispatch(context: "Context", service: str, name: str, request: dict[str, Any]) -> dict[str, Any]:
    """Check a request, run its operation, shape the answer. Raises AwsError."""
    handler = OPERATIONS.get((service, name))
    if handler is None:
        raise AwsError("UnknownOperationException", f"The embedded {service} does not answer {name}.", 400)
    service_models.check_request(service, name, request)
    for check in GUARDS:
        check(context, service, name, request)
    answer = handler(context, request) or {}
    return context.shaped(service, name, answer)
