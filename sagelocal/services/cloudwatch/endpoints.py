"""The metrics that SageMaker sends of each invocation of an endpoint.

Names, units and values: https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html.
"""

import time
from collections import deque

from sagelocal.core.context import Context, one_per_server
from sagelocal.services.cloudwatch.metrics import FINE, Metric, metrics

NAMESPACE = "AWS/SageMaker"
MICROSECONDS = 1_000_000

Invocation = tuple[float, str, str, str, int, int, float, float]
Alike = tuple[int, str, str, str, int, int]  # the span of FINE, endpoint, variant, configuration, instances, status


@one_per_server
def pending(_: Context) -> deque[Invocation]:
    """The invocations that were noted and not counted yet."""
    return deque()


def note(
    context: Context,
    *,
    endpoint: str,
    variant: str,
    instances: int,
    status: int,
    model_seconds: float,
    overhead_seconds: float,
    config: str = "",
) -> None:
    """Remember one invocation; `count` makes metrics of it later, so that this costs a microsecond.

    `instances`: how many of the variant were ready; `status`: the container's HTTP status, 0 for none; `config`: the
    endpoint configuration of the fleet that answered.
    """
    pending(context).append(
        (time.time(), endpoint, variant, config, instances, status, model_seconds, overhead_seconds)
    )


def count(context: Context) -> None:
    """Make metrics of the invocations that were noted since the last time."""
    waiting = pending(context)
    found: dict[Alike, list[tuple[float, float]]] = {}
    while waiting:
        moment, endpoint, variant, config, instances, status, model_seconds, overhead_seconds = waiting.popleft()
        key = (int(moment / FINE), endpoint, variant, config, instances, status)
        found.setdefault(key, []).append((model_seconds * MICROSECONDS, overhead_seconds * MICROSECONDS))
    for alike, latencies in found.items():
        for config in {"", alike[3]}:
            _add(context, alike, config, latencies)


def _add(context: Context, alike: Alike, config: str, latencies: list[tuple[float, float]]) -> None:
    """Count invocations that ended alike, under the endpoint or under one of its configurations."""
    index, endpoint, variant, _, instances, status = alike
    moment = index * FINE
    known = metrics(context)
    for name, value in (
        ("Invocations", 1.0),
        ("InvocationsPerInstance", 1.0 / max(1, instances)),
        ("Invocation4XXErrors", float(400 <= status < 500)),
        ("Invocation5XXErrors", float(status >= 500)),
        ("InvocationModelErrors", float(not 200 <= status < 300)),
    ):
        known.add(metric(endpoint, variant, name, config), moment, value, len(latencies))
    for name, values in zip(("ModelLatency", "OverheadLatency"), zip(*latencies, strict=True), strict=True):
        known.add_all(metric(endpoint, variant, name, config), moment, values, "Microseconds")


def count_none(context: Context, endpoint: str, variant: str, now: float) -> None:
    """Say that a variant serves: without invocations its InvocationsPerInstance is 0, and not missing.

    As AWS's page on the prerequisites of auto scaling describes it (from memory, not checked against an account):
    https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-prerequisites.html.
    """
    metrics(context).add(metric(endpoint, variant, "InvocationsPerInstance"), now, 0.0)


def metric(endpoint: str, variant: str, name: str, config: str = "") -> Metric:
    """A variant's metric, or with `config` that of its fleet alone: during a deployment there are two.

    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
    """
    of_fleet = (("EndpointConfigName", config),) if config else ()
    return Metric(NAMESPACE, name, (*of_fleet, ("EndpointName", endpoint), ("VariantName", variant)))
