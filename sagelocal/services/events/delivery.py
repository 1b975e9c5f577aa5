"""Delivery with AWS's promises: retried while the target is unavailable, then put on the dead-letter queue.

Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-event-delivery.html (defaults: 24 h, 185 tries)
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.services.events import targets
from sagelocal.services.events.targets import Target

MAX_RETRIES = 185
MAX_AGE_SECONDS = 24 * 3600
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Delivery:
    """One payload for one target; `origin` names rule or schedule in the dead letter's attributes.

    `age`: how old it is already, in seconds; past `max_age` it is not tried any more.
    """

    target: Target
    payload: str
    origin: dict[str, str] = field(default_factory=dict)
    dead_letter_queue: str | None = None
    retries: int = MAX_RETRIES
    max_age: float = MAX_AGE_SECONDS
    age: float = 0.0


@dataclass(frozen=True)
class Failure:
    """Why a target did not take a payload, and whether it may take it later."""

    code: str
    message: str
    passing: bool


TOO_OLD = Failure("EventAgeExceeded", "It was due while no server ran.", False)


def of_target(
    target: Mapping[str, Any], payload: str, origin: dict[str, str], parameters: Sequence[Mapping[str, Any]]
) -> Delivery:
    """The delivery that a Target of EventBridge or Scheduler (the same members) asks for."""
    retry = target.get("RetryPolicy", {})
    return Delivery(
        target=Target(
            arn=target["Arn"],
            role=target.get("RoleArn"),
            pipeline_parameters=tuple((parameter["Name"], parameter["Value"]) for parameter in parameters),
            message_group=target.get("SqsParameters", {}).get("MessageGroupId"),
            token=origin.get("EXECUTION_ID"),
        ),
        payload=payload,
        origin=origin,
        dead_letter_queue=target.get("DeadLetterConfig", {}).get("Arn"),
        retries=retry.get("MaximumRetryAttempts", MAX_RETRIES),
        max_age=retry.get("MaximumEventAgeInSeconds", MAX_AGE_SECONDS),
    )


def deliver(context: Context, delivery: Delivery) -> bool:
    """Deliver; False when it was given up, and then it is on the dead-letter queue, or in the server's log."""
    began = time.monotonic() - delivery.age
    if delivery.age > delivery.max_age:
        _give_up(context, delivery, TOO_OLD, 0, "MaximumEventAgeInSeconds")
        return False
    pause = FIRST_PAUSE_SECONDS
    tries = 0
    while True:
        failure = _attempt(context, delivery)
        if failure is None:
            return True
        exhausted = ""
        if failure.passing:
            if tries >= delivery.retries:
                exhausted = "MaximumRetryAttempts"
            elif time.monotonic() - began + pause > delivery.max_age:
                exhausted = "MaximumEventAgeInSeconds"
        if not failure.passing or exhausted:
            _give_up(context, delivery, failure, tries, exhausted)
            return False
        if context.stopping.wait(pause):
            return False
        tries += 1
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _attempt(context: Context, delivery: Delivery) -> Failure | None:
    try:
        targets.send(context, delivery.target, delivery.payload)
    except AwsError as problem:
        return Failure(problem.code, problem.message, problem.status >= 500 or problem.status == 429)
    except ClientError as problem:
        status = problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
        error = problem.response["Error"]
        return Failure(error["Code"], error.get("Message", ""), status >= 500 or status == 429)
    except BotoCoreError as problem:
        return Failure(type(problem).__name__, str(problem), True)
    return None


def _give_up(context: Context, delivery: Delivery, failure: Failure, tries: int, exhausted: str) -> None:
    arn = delivery.target.arn
    logger.warning("not delivered to %s: %s: %s (%s)", arn, failure.code, failure.message, delivery.origin)
    if delivery.dead_letter_queue is None:
        return
    attributes = delivery.origin | {
        "TARGET_ARN": arn,
        "ERROR_CODE": failure.code,
        "ERROR_MESSAGE": failure.message[:1024],
        "RETRY_ATTEMPTS": str(tries),
        "EXHAUSTED_RETRY_CONDITION": exhausted,
    }
    try:
        targets.dead_letter(context, delivery.target, delivery.payload, delivery.dead_letter_queue, attributes)
    except (AwsError, ClientError, BotoCoreError) as problem:
        logger.warning("the dead-letter queue %s does not take it either: %s", delivery.dead_letter_queue, problem)
