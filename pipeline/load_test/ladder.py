"""The ladder: level after level of concurrent users, what each measured, and the target that follows from it.

The knee is the highest level that is still answered well: its p99 is at most `slo_ms`, or, where none is given, at most
twice the p99 of the lowest level; and no request failed in it. Beyond it more users only wait longer.
TargetInvocationsPerInstance = requests a second at the knee, per instance, x 60 x 0.5: the metric counts per minute,
and half is left for what arrives while a new instance starts.
Source of the half: the safety factor of https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-loadtest.html.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from pipeline import predict
from pipeline.cloud import Cloud
from pipeline.errors import UserError
from pipeline.load_test.plan import Plan, Serving
from pipeline.load_test.process import Worker

SAFETY = 0.5
P99_GROWTH = 2
BUSY_CLIENT = 0.85

REASONS = {
    "interrupted": "You stopped the load test.",
    "enough": "The load test reached its number of requests.",
    "gone": "The server does not answer any more.",
}

Tell = Callable[[dict[str, Any]], None]  # a line of the worker


@dataclass(frozen=True)
class Advice:
    """The knee's level, and the target for the policy; None where nothing can be recommended, and why."""

    knee: dict[str, Any] | None
    target: int | None
    why: str


def first_request(cloud: Cloud, plan: Plan) -> None:
    """Ask once before asking a thousand times. Raises UserError when that is refused."""
    photo = Path(plan.photo).read_bytes()
    try:
        if plan.target == "function":
            predict.of_bytes(cloud, photo)
            return
        cloud.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=plan.name, Body=photo, ContentType=plan.content_type
        )["Body"].read()
    except (ClientError, BotoCoreError) as error:
        raise UserError(
            f"The {plan.target} {plan.name} does not answer the photo: {error}", "It is not load tested."
        ) from None


def climb(plan: Plan, tell: Tell) -> dict[str, Any]:
    """Run the phases. {"levels": […], "status": complete|interrupted|enough|gone, "error": the last one's text}."""
    report: dict[str, Any] = {"levels": [], "status": "complete", "error": ""}
    with Worker(plan) as worker:
        for line in worker.lines():
            if "phase" in line:
                report["levels"].append(line["phase"])
            if "stopped" in line:
                report |= {"status": line["stopped"], "error": line["error"]}
            tell(line)
        if worker.interrupted:
            report["status"] = "interrupted"
    report["levels"] = [level for level in report["levels"] if level["requests"] or level["errors"]]
    return report


def advise(levels: list[dict[str, Any]], serving: Serving | None, slo_ms: float | None = None) -> Advice:
    """What the measured levels say. `serving`: whose instances answered; None: a function, which is no policy's."""
    answered = [level for level in levels if level["p99_ms"] is not None]
    if not answered:
        return Advice(None, None, "No request was answered.")
    bound = slo_ms or answered[0]["p99_ms"] * P99_GROWTH
    good = [level for level in answered if level["p99_ms"] <= bound and not level["errors"]]
    first = f"twice that of {_users(answered[0])}"
    said = f"{bound:.1f} ms" + ("" if slo_ms else f" ({first})")
    if not good:
        return Advice(None, None, f"No level had a p99 of at most {said} and no errors.")
    knee = good[-1]
    why = f"The knee: {_users(knee)} at a time is the most with a p99 of at most {said} and no errors."
    if serving is None:
        return Advice(knee, None, f"{why} --target endpoint recommends TargetInvocationsPerInstance.")
    if serving.instances is None:
        return Advice(knee, None, f"{why} A serverless endpoint scales by itself: it has no target.")
    target = knee["requests_per_second"] / serving.instances * 60 * SAFETY
    return Advice(knee, max(1, round(target)), why)


def _users(level: dict[str, Any]) -> str:
    return f"{level['users']} user" + ("" if level["users"] == 1 else "s")
