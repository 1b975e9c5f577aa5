"""Fires schedules: one thread that sleeps until the next is due, and wakes when a schedule changes.

It starts with the first schedule. at(…) that fell due while no server ran fires once, late, as long as its retry policy
would have tried; other schedules go on with their next time.
"""

import logging
import threading
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime

from sagelocal.core.context import Context, one_per_server
from sagelocal.services.events import delivery
from sagelocal.services.scheduler import expressions
from sagelocal.services.scheduler.documents import SCHEDULE, Schedule

LONGEST_SLEEP = 30.0  # seconds; a clock that is set forward is noticed after that
PAUSE_AFTER_ERROR = 1.0

logger = logging.getLogger(__name__)


class Loop:
    """The firing of one account's schedules."""

    def __init__(self, context: Context):
        self.context = context
        self._wake = threading.Condition()
        self._due: dict[str, float | None] = {}
        self._running = False

    def changed(self, name: str, after: float) -> None:
        """A schedule (`<group>/<name>`) was made, changed or deleted: it fires next when it is due after `after`."""
        body = self.context.store.get(SCHEDULE, name)
        with self._wake:
            if body is None:
                self._due.pop(name, None)
            else:
                self._due[name] = next_due(body, after)
            if self._due and not self._running:
                self._running = True
                self.context.spawn("scheduler", self._run)
            self._wake.notify_all()

    def wake(self) -> None:
        """Let the thread look again, for instance because the server stops."""
        with self._wake:
            self._wake.notify_all()

    def _run(self) -> None:
        while True:
            with self._wake:
                if self.context.stopping.is_set():
                    return
                now = time.time()
                due = [name for name, moment in self._due.items() if moment is not None and moment <= now]
                if not due:
                    moments = [moment for moment in self._due.values() if moment is not None]
                    self._wake.wait(min(min(moments) - now, LONGEST_SLEEP) if moments else None)
                    continue
            try:
                for name in due:
                    self._fire(name, now)
            except Exception:  # the disk; what is due stays due
                logger.exception("A schedule could not be looked at")
                self.context.stopping.wait(PAUSE_AFTER_ERROR)

    def _fire(self, name: str, now: float) -> None:
        scheduled = self._due.get(name)
        body = self.context.store.get(SCHEDULE, name)
        if body is None or scheduled is None:
            return
        self.changed(name, now)
        self.context.spawn(f"schedule {name}", self._deliver, name, body, scheduled)

    def _deliver(self, name: str, body: Schedule, scheduled: float) -> None:
        target = body["Target"]
        parameters = target.get("SageMakerPipelineParameters", {}).get("PipelineParameterList", [])
        moment = datetime.fromtimestamp(scheduled, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        identity = (body["Arn"], body["CreationDate"], body["LastModificationDate"], scheduled)
        identifier = str(
            uuid.uuid5(uuid.NAMESPACE_URL, repr(identity))
        )  # the same when it is tried again after a crash
        origin = {"SCHEDULE_ARN": body["Arn"], "SCHEDULED_TIME": moment, "EXECUTION_ID": identifier}
        payload = _filled(target.get("Input", "{}"), body["Arn"], moment, identifier)
        wanted = delivery.of_target(target, payload, origin, parameters)
        delivered = delivery.deliver(self.context, replace(wanted, age=max(0.0, time.time() - scheduled)))
        if not delivered and self.context.stopping.is_set():
            return  # the next server tries on
        unchanged = self.context.store.get(SCHEDULE, name) == body  # else it was given a new time meanwhile
        if unchanged and next_due(body, scheduled) is None:
            self._complete(name, body, scheduled)

    def take_up(self, name: str, body: Schedule, now: float) -> None:
        """Go on with a schedule of an earlier server."""
        after = _handled(body) if isinstance(expressions.parse(body["ScheduleExpression"]), expressions.At) else now
        if body.get("EndDate", now) < now and next_due(body, after) is None and body["State"] == "ENABLED":
            self._complete(name, body, now)
        else:
            self.changed(name, after)

    def _complete(self, name: str, body: Schedule, moment: float) -> None:
        """What is to be done with a schedule that has fired for the last time, at `moment`."""
        if body.get("ActionAfterCompletion") == "DELETE":
            self.context.store.delete(SCHEDULE, name)
        else:
            self.context.store.update(SCHEDULE, name, {"_Fired": moment})
        self.changed(name, moment)


def next_due(body: Schedule, after: float) -> float | None:
    """When a schedule fires next, after `after` (seconds since 1970); None when it does not any more."""
    if body["State"] == "DISABLED":
        return None
    expression, zone = expressions.parse(body["ScheduleExpression"]), body["ScheduleExpressionTimezone"]
    span = body.get("StartDate"), body.get("EndDate")
    return expressions.next_within(expression, zone, after, body["CreationDate"], *span)


def _handled(body: Schedule) -> float:
    """Until when a schedule that fires once has nothing to make up for: a time in the past never was to fire."""
    return max(body["LastModificationDate"], body.get("_Fired", 0.0))


def _filled(text: str, arn: str, moment: str, identifier: str) -> str:
    """Scheduler's context attributes in an input.

    Source: https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
    """
    values = {"schedule-arn": arn, "scheduled-time": moment, "execution-id": identifier, "attempt-number": "1"}
    for name, value in values.items():
        text = text.replace(f"<aws.scheduler.{name}>", value)
    return text


loop = one_per_server(Loop)
