"""The queue of asynchronous invocations, which stay in the store until they are dealt with.

A failed event is retried after one minute and after two more; a throttled one with growing pauses, until it is too old.
Then it goes to the dead-letter queue and the destinations. What was queued when the server stopped goes on when it
starts. Source: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
"""

import heapq
import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from botocore.exceptions import BotoCoreError, ClientError

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json, read
from sagelocal.core.patience import refused
from sagelocal.services.awslambda import targets
from sagelocal.services.awslambda.documents import QUEUED_EVENT, QueuedEvent
from sagelocal.services.awslambda.pool import Outcome
from sagelocal.services.cloudwatch.clock import clock

PAUSES = (60.0, 120.0)  # AWS's seconds before the first and the second retry of an event that failed
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0  # the same, of one that was throttled
MAX_RETRIES = 2
MAX_AGE = 6 * 3600.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rules:
    """What a function says about its events. `max_age`: AWS's seconds. Destinations and dead letters are ARNs."""

    arn: str
    role: str
    retries: int = MAX_RETRIES
    max_age: float = MAX_AGE
    on_success: str | None = None
    on_failure: str | None = None
    dead_letters: str | None = None
    reserved: int | None = None


class Queue:
    """One account's events, each tried in a thread of its own when it is due.

    `rules` tells an event's rules, `run` runs it. Both raise ResourceNotFoundException when the function is gone.
    """

    def __init__(
        self, context: Context, rules: Callable[[QueuedEvent], Rules], run: Callable[[QueuedEvent], Outcome]
    ) -> None:
        self.context = context
        self._rules, self._run = rules, run
        self._wake = threading.Condition()
        self._due: list[tuple[float, str]] = []
        self._running = False

    def add(self, request_id: str, body: Json) -> None:
        """Take an event. `body`: FunctionName, Qualifier, Event (JSON text) and ClientContext of the request."""
        state = {"Received": time.time(), "Runs": 0, "Throttled": 0, "Due": time.time(), "RequestId": request_id}
        self.context.store.insert(QUEUED_EVENT, request_id, cast(QueuedEvent, body | state))
        self.context.spawn(f"event {request_id}", self._try, request_id)

    def resume(self) -> None:
        """Go on with what an earlier server left."""
        for request_id, entry in self.context.store.items(QUEUED_EVENT):
            self._at(entry["Due"], request_id)

    def wake(self) -> None:
        """Let the thread look again, for instance because the server stops."""
        with self._wake:
            self._wake.notify_all()

    def _at(self, moment: float, request_id: str) -> None:
        with self._wake:
            heapq.heappush(self._due, (moment, request_id))
            if not self._running:
                self._running = True
                self.context.spawn("lambda events", self._wait)
            self._wake.notify_all()

    def _wait(self) -> None:
        while True:
            with self._wake:
                if self.context.stopping.is_set():
                    return
                left = self._due[0][0] - time.time() if self._due else None
                if left is None or left > 0:
                    self._wake.wait(left)
                    continue
                request_id = heapq.heappop(self._due)[1]
            self.context.spawn(f"event {request_id}", self._try, request_id)

    def _try(self, request_id: str) -> None:
        """Run an event. One that the disk got in the way of is tried again, from the last that was written of it."""
        try:
            self._run_once(request_id)
        except (OSError, sqlite3.Error) as problem:
            if not refused(problem):
                raise
            logger.warning("event %s: the disk refuses it (%s), trying again", request_id, problem)
            self._at(time.time() + FIRST_PAUSE, request_id)

    def _run_once(self, request_id: str) -> None:
        entry = self.context.store.get(QUEUED_EVENT, request_id)
        if entry is None:
            return
        try:
            rules = self._rules(entry)
            if self._too_old(entry, rules, time.time()):
                self._end(entry, rules, "EventAgeExceeded")
                return
            outcome = self._run(entry)
        except AwsError as problem:
            self._not_run(entry, problem)
            return
        if self.context.stopping.is_set():  # its process was ended: it runs again when the server does
            return
        entry["Runs"] += 1
        if not outcome.failed:
            self._end(entry, rules, "Success", outcome)
        elif entry["Runs"] > rules.retries:
            self._end(entry, rules, "RetriesExhausted", outcome)
        else:
            self._again(entry, rules, PAUSES[entry["Runs"] - 1], outcome)

    def _not_run(self, entry: QueuedEvent, problem: AwsError) -> None:
        """Throttled: wait, unless nothing is ever let through. Gone: drop it."""
        try:
            rules = self._rules(entry)
        except AwsError:
            self.context.store.delete(QUEUED_EVENT, entry["RequestId"])
            return
        if problem.status != 429:
            logger.warning("event %s of %s dropped: %s", entry["RequestId"], rules.arn, problem)
            self.context.store.delete(QUEUED_EVENT, entry["RequestId"])
        elif rules.reserved == 0:
            self._end(entry, rules, "ZeroReservedConcurrency")
        else:
            pause = min(FIRST_PAUSE * 2 ** entry["Throttled"], LONGEST_PAUSE)
            entry["Throttled"] += 1
            self._again(entry, rules, pause)

    def _again(self, entry: QueuedEvent, rules: Rules, pause: float, outcome: Outcome | None = None) -> None:
        entry["Due"] = time.time() + clock(self.context).seconds(pause)
        if self._too_old(entry, rules, entry["Due"]):
            self._end(entry, rules, "EventAgeExceeded", outcome)
            return
        self.context.store.put(QUEUED_EVENT, entry["RequestId"], entry)
        self._at(entry["Due"], entry["RequestId"])

    def _too_old(self, entry: QueuedEvent, rules: Rules, moment: float) -> bool:
        return moment - entry["Received"] > clock(self.context).seconds(rules.max_age)

    def _end(self, entry: QueuedEvent, rules: Rules, condition: str, outcome: Outcome | None = None) -> None:
        """Send what is to be sent, then forget the event: a server that dies between the two sends it again."""
        succeeded = condition == "Success"
        context = self.context.as_role(rules.role, entry["FunctionName"])
        record = _record(entry, rules, condition, outcome)
        if not succeeded and rules.dead_letters:
            status, message = _reason(condition, outcome)
            given = (entry["Event"], entry["RequestId"], status, message)
            self._sent(rules, targets.send_dead_letter, context, rules.dead_letters, *given)
        destination = rules.on_success if succeeded else rules.on_failure
        if destination:
            self._sent(rules, targets.send_record, context, destination, record)
        self.context.store.delete(QUEUED_EVENT, entry["RequestId"])

    @staticmethod
    def _sent(rules: Rules, send: Callable[..., None], context: Context, target: str, *given: Any) -> None:
        try:
            send(context, target, *given)
        except (AwsError, ClientError, BotoCoreError) as problem:
            logger.warning("%s did not take the result of an event of %s: %s", target, rules.arn, problem)


def _record(entry: QueuedEvent, rules: Rules, condition: str, outcome: Outcome | None) -> Json:
    """An invocation record, as destinations get it."""
    record: Json = {
        "version": "1.0",
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
        "requestContext": {
            "requestId": entry["RequestId"],
            "functionArn": rules.arn,
            "condition": condition,
            "approximateInvokeCount": entry["Runs"],
        },
        "requestPayload": _value(entry["Event"]),
    }
    if outcome:
        record["responseContext"] = {
            "statusCode": 200,
            "executedVersion": outcome.version,
            **({"functionError": "Unhandled"} if outcome.failed else {}),
        }
        record["responsePayload"] = _value(outcome.payload)
    return record


def _value(text: str) -> Any:
    """What a JSON text stands for; the text itself where that is too deep to be sent on inside of something."""
    try:
        return read(text)
    except ValueError:
        return text


def _reason(condition: str, outcome: Outcome | None) -> tuple[int, str]:
    """(HTTP status, message) of a dead letter: a failed function answered with 200."""
    if outcome is None:
        return 429, f"Rate Exceeded. ({condition})"
    return 200, str(json.loads(outcome.payload).get("errorMessage", ""))
