"""The default event bus of an account: takes events, matches them with the rules, delivers.

It starts with the first rule: an account without rules pays nothing for it.
"""

import json
import queue
import threading
import time
import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any

from sagelocal.core.context import Context, one_per_server
from sagelocal.core.json import Json
from sagelocal.core.patience import patiently
from sagelocal.core.store import Kind
from sagelocal.services.events import delivery, inputs, patterns, state_events
from sagelocal.services.events.documents import RULE
from sagelocal.services.events.state_events import Event


class Bus:
    """One account's bus. Events are matched in the order in which they came, deliveries run side by side."""

    def __init__(self, context: Context):
        self.context = context
        self._events: queue.SimpleQueue[Json] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self.started = False  # whether there is, or was, a rule: until then events are dropped

    def start(self) -> None:
        """Begin to match, and to make events of what happens in SageMaker."""
        with self._lock:
            if self.started:
                return
            self.started = True
        for kind in state_events.KINDS:
            self.context.store.watch(Kind[Any](kind), partial(self._changed, kind))
        self.context.spawn("event bus", self._run)

    def put(self, source: str, detail_type: str, resources: list[str], detail: Any, moment: str) -> str:
        """Take an event; its id."""
        identifier = str(uuid.uuid4())
        event = {
            "version": "0",
            "id": identifier,
            "detail-type": detail_type,
            "source": source,
            "account": self.context.account,
            "time": moment,
            "region": self.context.region,
            "resources": resources,
            "detail": detail,
        }
        if self.started:
            self._events.put(event)
        return identifier

    def _changed(self, kind: str, name: str, before: Json | None, after: Json | None) -> None:
        event: Event | None
        if kind == state_events.STEP:
            event = state_events.step_event(name.rpartition("/")[0], before, after)
        else:
            event = state_events.of_change(kind, before, after)
        if event:
            self.put("aws.sagemaker", event.detail_type, list(event.resources), event.detail, now())

    def _run(self) -> None:
        while not self.context.stopping.is_set():
            try:
                event = self._events.get(timeout=1.0)
            except queue.Empty:
                continue
            for rule in patiently(self.context, "the rules of the event bus", lambda: self.context.store.list(RULE)):
                if rule["State"] != "DISABLED" and patterns.matches(json.loads(rule["EventPattern"]), event):
                    for target in rule["_Targets"]:
                        self.context.spawn(f"rule {rule['Name']}", self._deliver, rule["Arn"], target, event)

    def _deliver(self, rule_arn: str, target: Mapping[str, Any], event: Json) -> None:
        payload = inputs.payload(target, event, rule_arn)
        parameters = [
            {"Name": parameter["Name"], "Value": _resolved(parameter["Value"], event)}
            for parameter in target.get("SageMakerPipelineParameters", {}).get("PipelineParameterList", [])
        ]
        delivery.deliver(self.context, delivery.of_target(target, payload, {"RULE_ARN": rule_arn}, parameters))


def _resolved(value: str, event: Json) -> str:
    """A pipeline parameter's value; one that is a path is read from the event."""
    if not inputs.is_path(value):
        return value
    found = inputs.at(event, value)
    return found if isinstance(found, str) else json.dumps(found)


def now() -> str:
    """The time of an event, as EventBridge writes it."""
    return state_events.iso(time.time())


bus = one_per_server(Bus)
