"""The fleet: which instances serve which endpoint. Requests find the least busy one; instances come and go under load.

A deployment starts its instances first, then changes the routing in one step, then lets the old ones finish what they
have (drain) and stops them: no request meets an endpoint without an instance. A crashed instance is started again.
"""

import random
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from embedded import logs
from embedded.context import Context
from embedded.jobs.instance import MODEL_SECONDS, Answer, BrokenOff, Instance, Served, StartFailed, Unreachable

WAIT_FOR_INSTANCE_SECONDS = 60.0
MAX_RESTART_PAUSE_SECONDS = 30.0
UNREACHABLE_PAUSE_SECONDS = 0.02  # until the next instance is tried


class NoEndpoint(Exception):
    """Nothing is routed under that name, or not that variant of it."""


class NoInstance(Exception):
    """The endpoint's instances are all starting, and did not come up in time."""


@dataclass(eq=False)
class Variant:
    """A production variant in service."""

    served: Served
    weight: float
    instances: list[Instance] = field(default_factory=list)


class Fleet:
    """All endpoints of one embedded account."""

    def __init__(self, context: Context):
        self.context = context
        self._routes: dict[str, list[Variant]] = {}
        self._changed = threading.Condition()

    def launch(self, served: Served, count: int) -> list[Instance]:
        """`count` healthy instances, not routed yet. Raises StartFailed when one of them fails; then none is left."""
        context = self.context.as_role(served.role)
        started = [Instance(context, served, f"i-{uuid.uuid4().hex[:12]}") for _ in range(count)]
        with ThreadPoolExecutor(max_workers=max(1, count)) as starters:
            attempts = [starters.submit(_prepare_and_start, instance) for instance in started]
        problems = [problem for attempt in attempts if (problem := attempt.exception())]
        if problems:
            self.stop(started)
            raise problems[0]
        for instance in started:
            instance.ready = True
            self.context.spawn(f"watch {instance.name}", self._watch, instance)
        return started

    def route(self, endpoint: str, variants: list[Variant]) -> list[Instance]:
        """Send the endpoint's requests to `variants` from now on; the instances that have no place in it any more."""
        with self._changed:
            before = self._routes.get(endpoint, [])
            self._routes[endpoint] = variants
            kept = {id(instance) for variant in variants for instance in variant.instances}
            self._changed.notify_all()
        return [instance for variant in before for instance in variant.instances if id(instance) not in kept]

    def unroute(self, endpoint: str) -> list[Instance]:
        """Take an endpoint out of service; its instances."""
        with self._changed:
            variants = self._routes.pop(endpoint, [])
            self._changed.notify_all()
        return [instance for variant in variants for instance in variant.instances]

    def variants(self, endpoint: str) -> list[Variant]:
        with self._changed:
            return [Variant(v.served, v.weight, list(v.instances)) for v in self._routes.get(endpoint, [])]

    def drain(self, instances: list[Instance]) -> None:
        """Wait until instances that are not routed any more have answered what they have; then stop them."""
        deadline = time.monotonic() + MODEL_SECONDS + 5
        with self._changed:
            while any(instance.in_flight for instance in instances) and time.monotonic() < deadline:
                self._changed.wait(1)
        self.stop(instances)

    def stop(self, instances: list[Instance]) -> None:
        for instance in instances:
            instance.leaving = True
        with ThreadPoolExecutor(max_workers=max(1, len(instances))) as stoppers:
            list(stoppers.map(Instance.stop, instances))

    def stop_all(self) -> None:
        with self._changed:
            endpoints = list(self._routes)
        self.stop([instance for endpoint in endpoints for instance in self.unroute(endpoint)])

    def invoke(self, endpoint: str, variant: str | None, body: bytes, headers: Mapping[str, str]) -> tuple[str, Answer]:
        """(variant, answer) of one request. Raises NoEndpoint, NoInstance, BrokenOff, TimeoutError.

        A request whose instance died before it answered is sent once more: predicting changes nothing, and a request
        that kills two instances is to blame itself.
        """
        deadline = time.monotonic() + WAIT_FOR_INSTANCE_SECONDS
        broken_off = False
        while True:
            with self._taken(endpoint, variant, deadline) as instance:
                try:
                    return instance.served.variant, instance.invoke(body, headers)
                except Unreachable:
                    pass
                except BrokenOff:
                    if broken_off:
                        raise
                    broken_off = True
                if instance.process and instance.process.poll() is not None:
                    instance.ready = False  # its watcher starts it again and makes it ready
            time.sleep(UNREACHABLE_PAUSE_SECONDS)

    @contextmanager
    def _taken(self, endpoint: str, variant: str | None, deadline: float) -> Iterator[Instance]:
        """The least busy ready instance, counted as busy while the caller has it."""
        with self._changed:
            while not (instance := self._least_busy(endpoint, variant)) or time.monotonic() > deadline:
                if time.monotonic() > deadline:
                    raise NoInstance(endpoint)
                self._changed.wait(1)
            instance.in_flight += 1
        try:
            yield instance
        finally:
            with self._changed:
                instance.in_flight -= 1
                self._changed.notify_all()

    def _least_busy(self, endpoint: str, wanted: str | None) -> Instance | None:
        if endpoint not in self._routes:
            raise NoEndpoint(f"Endpoint {endpoint} of account {self.context.account} not found.")
        variants = self._routes[endpoint]
        if wanted is not None:
            variants = [variant for variant in variants if variant.served.variant == wanted]
            if not variants:
                raise NoEndpoint(f"Variant {wanted} of endpoint {endpoint} not found.")
        able = [v for v in variants if any(i.ready for i in v.instances) and (v.weight > 0 or wanted is not None)]
        if not able:
            return None
        chosen = able[0]
        if len(able) > 1:
            chosen = random.choices(able, [variant.weight for variant in able])[0]
        return min((i for i in chosen.instances if i.ready), key=lambda instance: instance.in_flight)

    def _watch(self, instance: Instance) -> None:
        """Start an instance again whenever its process ends without being told to."""
        pause = 0.0
        while True:
            started = time.monotonic()
            code = instance.process.wait() if instance.process else None
            instance.ready = False
            if instance.leaving or self.context.stopping.is_set():
                return
            group, stream = instance.log
            logs.append(self.context, group, stream, f"[embedded] Exit code {code}; the process is started again.")
            if time.monotonic() - started > MAX_RESTART_PAUSE_SECONDS:
                pause = 0.0
            while not instance.leaving and not self.context.stopping.wait(pause):
                pause = min(pause * 2 or 0.5, MAX_RESTART_PAUSE_SECONDS)
                with suppress(StartFailed):
                    instance.start()
                    with self._changed:
                        instance.ready = True
                        self._changed.notify_all()
                    break


def _prepare_and_start(instance: Instance) -> None:
    instance.prepare()
    instance.start()


_fleets: dict[str, Fleet] = {}


def fleet(context: Context) -> Fleet:
    """The fleet of an account: one per state directory."""
    return _fleets.setdefault(str(context.state_dir), Fleet(context.as_service()))
