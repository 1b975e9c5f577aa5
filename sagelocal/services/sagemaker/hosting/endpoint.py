"""The fleet: which instances serve which endpoint. Requests find the least busy one; instances come and go under load.

A deployment starts its instances first, then changes the routing, in one step or in several, then lets the old ones
finish what they have (drain) and stops them: no request meets an endpoint without an instance. While a deployment
shifts traffic a variant is routed twice, each with its share. A crashed instance is started again.
"""

import random
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from sagelocal.core.context import Context, one_per_server
from sagelocal.services.logs import streams
from sagelocal.services.sagemaker.hosting import instance as contract
from sagelocal.services.sagemaker.hosting.instance import Answer, BrokenOff, Instance, Served, StartFailed

WAIT_FOR_INSTANCE_SECONDS = 60.0
MAX_RESTART_PAUSE_SECONDS = 30.0
# How many instances may die with a request before it is taken for the reason. Under load many requests are with an
# instance that somebody kills, and the next one that they come to may be killed as well.
DEATHS_ALONE, DEATHS_IN_COMPANY = 1, 4
UNREACHABLE_PAUSE_SECONDS = 0.02  # until the next instance is tried


class NoEndpoint(Exception):
    """Nothing is routed under that name, or not that variant of it."""


class NoInstance(Exception):
    """The endpoint's instances are all starting, and did not come up in time."""


@dataclass(eq=False)
class Variant:
    """A production variant in service, or the part of it that has `share` of its traffic."""

    served: Served
    weight: float
    instances: list[Instance] = field(default_factory=list)
    share: float = 1.0


@dataclass(frozen=True)
class Outcome:
    """What became of a request. `answer` is None where the container gave none: `problem` says why."""

    served: Served
    ready: int  # instances of the variant
    model_seconds: float
    answer: Answer | None = None
    problem: BrokenOff | TimeoutError | None = None


class Fleet:
    """All endpoints of one embedded account."""

    def __init__(self, context: Context):
        self.context = context
        self._routes: dict[str, list[Variant]] = {}
        self._changed = threading.Condition()
        self._alive: set[Instance] = set()  # routed or not

    def launch(self, served: Served, count: int) -> list[Instance]:
        """`count` healthy instances, not routed yet. Raises StartFailed when one of them fails; then none is left."""
        context = self.context.as_role(served.role)
        started = [Instance(context, served, f"i-{uuid.uuid4().hex[:12]}") for _ in range(count)]
        with self._changed:
            self._alive.update(started)
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
            return [replace(v, instances=list(v.instances)) for v in self._routes.get(endpoint, [])]

    def drain(self, instances: list[Instance]) -> None:
        """Wait until instances that are not routed any more have answered what they have; then stop them."""
        deadline = time.monotonic() + contract.MODEL_SECONDS + 5
        with self._changed:
            while any(instance.in_flight for instance in instances) and time.monotonic() < deadline:
                self._changed.wait(1)
        self.stop(instances)

    def stop(self, instances: list[Instance]) -> None:
        for instance in instances:
            instance.leaving = True
        with ThreadPoolExecutor(max_workers=max(1, len(instances))) as stoppers:
            list(stoppers.map(Instance.stop, instances))
        with self._changed:
            self._alive.difference_update(instances)

    def stop_all(self) -> None:
        with self._changed:
            self._routes.clear()
            alive = list(self._alive)
        self.stop(alive)

    def invoke(self, endpoint: str, variant: str | None, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """What one request came to. Raises NoEndpoint, NoInstance.

        A request whose instance died before it answered is sent again, to another one if there is any: predicting
        changes nothing. One that was alone with two instances that died, or met five deaths, is to blame itself.
        """
        deadline = time.monotonic() + WAIT_FOR_INSTANCE_SECONDS
        died: Instance | None = None
        deaths = alone = 0
        while True:
            with self._taken(endpoint, variant, deadline, died) as (instance, ready):
                began = time.monotonic()
                try:
                    answer = instance.invoke(body, headers)
                    return Outcome(instance.served, ready, time.monotonic() - began, answer)
                except contract.Unreachable:
                    pass
                except TimeoutError as problem:
                    return Outcome(instance.served, ready, time.monotonic() - began, problem=problem)
                except BrokenOff as problem:
                    deaths, died = deaths + 1, instance
                    alone += instance.in_flight == 1
                    if alone > DEATHS_ALONE or deaths > DEATHS_IN_COMPANY:
                        return Outcome(instance.served, ready, time.monotonic() - began, problem=problem)
                if instance.process and instance.process.poll() is not None:
                    instance.ready = False  # its watcher starts it again and makes it ready
            time.sleep(UNREACHABLE_PAUSE_SECONDS)

    @contextmanager
    def _taken(
        self, endpoint: str, variant: str | None, deadline: float, avoided: Instance | None
    ) -> Iterator[tuple[Instance, int]]:
        """The least busy ready instance, counted as busy while the caller has it, and how many its variant has."""
        with self._changed:
            while not (found := self._least_busy(endpoint, variant, avoided)) or time.monotonic() > deadline:
                if time.monotonic() > deadline:
                    raise NoInstance(endpoint)
                self._changed.wait(1)
            found[0].in_flight += 1
        try:
            yield found
        finally:
            with self._changed:
                found[0].in_flight -= 1
                self._changed.notify_all()

    def _least_busy(
        self, endpoint: str, wanted: str | None, avoided: Instance | None = None
    ) -> tuple[Instance, int] | None:
        """(instance, how many of its variant are ready): a variant by its weight and share, in it the least busy."""
        if endpoint not in self._routes:
            raise NoEndpoint(f"Endpoint {endpoint} of account {self.context.account} not found.")
        variants = self._routes[endpoint]
        if wanted is not None:
            variants = [variant for variant in variants if variant.served.variant == wanted]
            if not variants:
                raise NoEndpoint(f"Variant {wanted} of endpoint {endpoint} not found.")
        ready = {id(v): [i for i in v.instances if i.ready] for v in variants}
        odds = {id(v): v.share * (v.weight if wanted is None else 1) for v in variants}
        able = [v for v in variants if ready[id(v)] and odds[id(v)] > 0]
        if not able:
            return None
        able = [v for v in able if ready[id(v)] != [avoided]] or able
        chosen = random.choices(able, [odds[id(v)] for v in able])[0] if len(able) > 1 else able[0]
        candidates = [i for i in ready[id(chosen)] if i is not avoided] or ready[id(chosen)]
        in_all = sum(len(ready[id(v)]) for v in variants if v.served.variant == chosen.served.variant)
        return min(candidates, key=lambda instance: instance.in_flight), in_all

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
            streams.note(self.context, group, stream, f"[embedded] Exit code {code}; the process is started again.")
            if time.monotonic() - started > MAX_RESTART_PAUSE_SECONDS:
                pause = 0.0
            while not instance.leaving and not self.context.stopping.wait(pause):
                pause = min(pause * 2 or 0.5, MAX_RESTART_PAUSE_SECONDS)
                with suppress(StartFailed, OSError):
                    instance.start()
                    with self._changed:
                        instance.ready = True
                        self._changed.notify_all()
                    break


def _prepare_and_start(instance: Instance) -> None:
    instance.prepare()
    instance.start()


fleet = one_per_server(Fleet)
