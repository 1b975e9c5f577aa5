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


class Hooks(list[Callable[["Context"], None]]):
    """What is called at one moment. Used as a decorator, it registers a function."""

    def __call__(self, hook: Callable[["Context"], None]) -> Callable[["Context"], None]:
        self.append(hook)
        return hook


START_HOOKS = on_start = Hooks()  # the server starts: pick up state that an earlier server left
STOP_HOOKS = on_stop = Hooks()  # the server stops: end its processes, note what was cut off
MOTO_HOOKS = on_moto = Hooks()  # moto, which remembers nothing, is about to answer its first request

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
    shape = service_models.operation_model(service, name).output_shape
    for check in GUARDS:
        check(context, service, name, request)
    answer: Json = service_models.shaped(handler(context, request) or {}, shape)
    return answer
