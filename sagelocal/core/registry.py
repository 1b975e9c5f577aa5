"""The operations answered here. A service's module registers them with @operation, what must happen when the server
starts or stops with @on_start and @on_stop, and what must hold before any operation runs with @guard."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from sagelocal.core import service_models
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json

if TYPE_CHECKING:
    from sagelocal.core.context import Context

Guard = Callable[["Context", str, str, Json], None]
Handler = Callable[["Context", Json], Mapping[str, Any] | None]
Registered = TypeVar("Registered", bound=Handler)

GUARDS: list[Guard] = []
OPERATIONS: dict[tuple[str, str], Handler] = {}
SERVICES: set[str] = set()  # those of the operations
START_HOOKS: list[Callable[["Context"], None]] = []
STOP_HOOKS: list[Callable[["Context"], None]] = []
MOTO_HOOKS: list[Callable[["Context"], None]] = []

REFERENCES = {  # service -> how the pages of its API reference begin
    "application-autoscaling": "autoscaling/application/APIReference/API_",
    "cloudformation": "AWSCloudFormation/latest/APIReference/API_",
    "cloudwatch": "AmazonCloudWatch/latest/APIReference/API_",
    "ecr": "AmazonECR/latest/APIReference/API_",
    "events": "eventbridge/latest/APIReference/API_",
    "iam": "IAM/latest/APIReference/API_",
    "lambda": "lambda/latest/api/API_",
    "logs": "AmazonCloudWatchLogs/latest/APIReference/API_",
    "sagemaker": "sagemaker/latest/APIReference/API_",
    "sagemaker-runtime": "sagemaker/latest/APIReference/API_runtime_",
    "scheduler": "scheduler/latest/APIReference/API_",
    "service-quotas": "servicequotas/2019-06-24/apireference/API_",
    "sts": "STS/latest/APIReference/API_",
}


def operation(service: str, name: str) -> Callable[[Registered], Registered]:
    """Register the function that answers an operation: (context, checked request) -> answer, or AwsError.

    Its docstring says what is not to be seen from AWS's own page, whose address is added to it.
    """

    def register(handler: Registered) -> Registered:
        OPERATIONS[service, name] = handler
        if service in REFERENCES:
            page = f"https://docs.aws.amazon.com/{REFERENCES[service]}{name}.html"
            handler.__doc__ = "\n\n".join(filter(None, (handler.__doc__, page)))
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


def dispatch(context: "Context", service: str, name: str, request: Json) -> Json:
    """Check a request, run its operation, shape the answer. Raises AwsError."""
    handler = OPERATIONS.get((service, name))
    if handler is None:
        raise AwsError("UnknownOperationException", f"The embedded {service} does not answer {name}.", 400)
    service_models.check_request(service, name, request)
    for check in GUARDS:
        check(context, service, name, request)
    answer = handler(context, request) or {}
    return context.shaped(service, name, answer)
