"""One deployment of an endpoint, from its first new instance to its last old one, or back.

The endpoint's document tells how far it is (PendingDeploymentSummary); its `_Deployment` names the deployment that may
go on. Routing and document change together, under the store's lock: one that was overtaken, by DeleteEndpoint, changes
nothing any more and ends what it started. `_Variants` is what served before until all of it has succeeded, so that a
server that starts again in the middle serves that.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from sagelocal.core import supervisor
from sagelocal.core.context import Context, one_per_server
from sagelocal.core.patience import patiently
from sagelocal.core.supervisor import Watch
from sagelocal.services.cloudwatch import alarms
from sagelocal.services.cloudwatch.clock import clock
from sagelocal.services.sagemaker.documents import ENDPOINT, Endpoint, PlannedVariant
from sagelocal.services.sagemaker.hosting import variants as planned_variants
from sagelocal.services.sagemaker.hosting.deployment import Policy
from sagelocal.services.sagemaker.hosting.endpoint import Fleet, Variant, fleet
from sagelocal.services.sagemaker.hosting.instance import Instance, StartFailed

IN_PROGRESS = ("Creating", "Updating", "SystemUpdating", "RollingBack")
LOST = "InternalServerError: The embedded SageMaker lost the deployment: nothing ran it any more."
POLL_SECONDS = 0.2  # between two looks at the alarms


@one_per_server
def deploying(_: Context) -> set[str]:
    """The tokens of the deployments that run."""
    return set()


class Superseded(Exception):
    """The endpoint was deleted, or the server stops: this deployment is nobody's any more."""


class RollBack(Exception):
    """The new fleet may not stay; the message is the endpoint's FailureReason."""


@dataclass
class Rollout:
    """A new fleet for a whole endpoint. `variants`: planned (see variants.py)."""

    context: Context
    endpoint: str
    token: str
    config: str
    variants: list[PlannedVariant]
    policy: Policy = field(default_factory=Policy)

    def run(self) -> None:
        with running(self.context, self.token):
            self._run()

    def _run(self) -> None:
        serving = fleet(self.context)
        blue, green = serving.variants(self.endpoint), list[Variant]()
        try:
            self._tell("Creating", "Launching {count} instance(s).")
            green = launch(serving, self.endpoint, self.variants)
            self._shift(blue, green)
            self._finish(green)
        except StartFailed as problem:
            note_failure(self.context, self.endpoint, self.token, str(problem))
        except RollBack as problem:
            self._roll_back(blue, green, str(problem))
        except Superseded:
            serving.drain(_instances(green) + _instances(blue))
        except Exception as problem:
            note_failure(self.context, self.endpoint, self.token, f"InternalServerError: {problem}")
            raise
        else:
            serving.drain(_instances(blue))

    def _shift(self, blue: list[Variant], green: list[Variant]) -> None:
        """Move the traffic in the policy's steps and bake after each. Raises RollBack, Superseded."""
        began = time.monotonic()  # launching is not counted: it takes a process's time, whatever the clock's speed
        steps = {v["Name"]: self.policy.steps(v["Count"]) for v in self.variants}
        shifts = max(len(counts) for counts in steps.values()) if blue else 1
        for number in range(1, shifts):
            active = {name: counts[min(number, len(counts)) - 1] for name, counts in steps.items()}
            where = "canary" if self.policy.type == "CANARY" else "partial"
            self._activate(where, active, _blended(blue, green, active))
            self._bake(self.policy.wait_seconds, "WaitIntervalInSeconds", where, active, began)
        active = {name: counts[-1] for name, counts in steps.items()}
        self._activate("full", active, green)
        if blue:
            self._bake(self.policy.termination_wait_seconds, "TerminationWaitInSeconds", "full", active, began)

    def _activate(self, where: str, active: dict[str, int], routed: list[Variant]) -> None:
        message = f"Activating traffic on {where} capacity of {{count}} instance(s)."
        self._tell("ActivatingTraffic", message, active, routed)

    def _bake(self, wait: int, member: str, where: str, active: dict[str, int], began: float) -> None:
        """Wait `wait` of AWS's seconds and watch the alarms, at least once. Raises RollBack, Superseded."""
        if wait:
            enabled = f"with traffic enabled on {where} capacity of {{count}} instance(s)."
            self._tell("Baking", f"Baking for {wait} seconds ({member}) {enabled}", active)
        since = time.monotonic()
        while True:
            self._check(began)
            left = clock(self.context).seconds(wait) - (time.monotonic() - since)
            if left <= 0:
                return
            if self.context.stopping.wait(min(left, POLL_SECONDS)):
                raise Superseded

    def _check(self, began: float) -> None:
        """Whether the deployment may go on. Raises RollBack, Superseded."""
        body = self.context.store.get(ENDPOINT, self.endpoint)
        if body is None or body["_Deployment"] != self.token:
            raise Superseded
        for name in self.policy.alarms:
            _check_alarm(self.context, name)
        timeout = self.policy.timeout_seconds
        if timeout is not None and time.monotonic() - began > clock(self.context).seconds(timeout):
            raise RollBack(
                f"The deployment was rolled back because it did not finish within MaximumExecutionTimeoutInSeconds, "
                f"{timeout} s. The endpoint serves its previous configuration."
            )

    def _finish(self, green: list[Variant]) -> None:
        """The new fleet is the endpoint's from now on. Raises Superseded."""

        def finish(body: Endpoint) -> None:
            fleet(self.context).route(self.endpoint, green)
            body["EndpointConfigName"] = self.config
            body["DataCaptureConfig"] = planned_variants.capture_summary(self.variants)
            put_in_service(body, self.variants)

        change(self.context, self.endpoint, self.token, finish)

    def _roll_back(self, blue: list[Variant], green: list[Variant], reason: str) -> None:
        """All traffic to the old fleet at once, then the new one ends, then the endpoint is in service again."""
        serving = fleet(self.context)

        def turn(body: Endpoint) -> None:
            serving.route(self.endpoint, blue)
            body.update({"EndpointStatus": "RollingBack", "FailureReason": reason, "LastModifiedTime": time.time()})

        try:
            change(self.context, self.endpoint, self.token, turn)
            self._tell("Deleting", "Terminating {count} instance(s).")
        except Superseded:
            serving.drain(_instances(blue))
        serving.drain(_instances(green))
        note_failure(self.context, self.endpoint, self.token, reason)

    def _tell(
        self, status: str, message: str, active: dict[str, int] | None = None, routed: list[Variant] | None = None
    ) -> None:
        """Write into the endpoint's document where the deployment is, and route with it. Raises Superseded.

        `active`: how many new instances of each variant have traffic; `message` names that count, or all of them.
        """

        def edit(body: Endpoint) -> None:
            if routed is not None:
                fleet(self.context).route(self.endpoint, routed)
            summaries = []
            for variant in self.variants:
                count = active[variant["Name"]] if active else variant["Count"]
                told = planned_variants.status(status, message.format(count=count))
                current = count if active else 0
                summaries.append({**planned_variants.summary(variant, current), "VariantStatus": told})
            before = body.get("PendingDeploymentSummary")
            body["PendingDeploymentSummary"] = {
                "EndpointConfigName": self.config,
                "StartTime": before["StartTime"] if before else time.time(),
                "ProductionVariants": summaries,
            }

        change(self.context, self.endpoint, self.token, edit)


@contextmanager
def running(context: Context, token: str) -> Iterator[None]:
    """While a deployment runs; one that says so and does not is ended by the supervisor."""
    deploying(context).add(token)
    try:
        yield
    finally:
        deploying(context).discard(token)


def change(context: Context, endpoint: str, token: str, edit: Callable[[Endpoint], object]) -> Endpoint:
    """Change an endpoint's document if `token` is its deployment; the document after it. Raises Superseded."""

    def guarded(body: Endpoint) -> None:
        if body["_Deployment"] != token:
            raise Superseded
        edit(body)

    try:
        return patiently(context, f"endpoint {endpoint}", lambda: context.store.change(ENDPOINT, endpoint, guarded))
    except KeyError:
        raise Superseded from None


def put_in_service(body: Endpoint, variants: list[PlannedVariant]) -> None:
    """Write into an endpoint's document that `variants` serve."""
    body.pop("PendingDeploymentSummary", None)
    body.update({"EndpointStatus": "InService", "LastModifiedTime": time.time(), "_Variants": variants})
    body["ProductionVariants"] = [planned_variants.summary(variant) for variant in variants]


def note_failure(context: Context, endpoint: str, token: str, reason: str) -> None:
    """A failed creation is Failed; a failed change leaves the endpoint in service with what it had, and the reason.

    Nothing is noted while the server stops: what was cut off is for the next one to say.
    """
    if context.stopping.is_set():
        return

    def note(body: Endpoint) -> None:
        body.pop("PendingDeploymentSummary", None)
        body.update({"FailureReason": reason[:1024], "LastModifiedTime": time.time()})
        body["EndpointStatus"] = "InService" if body["EndpointStatus"] in ("Updating", "RollingBack") else "Failed"
        if body["EndpointStatus"] == "InService":
            body["ProductionVariants"] = [planned_variants.summary(variant) for variant in body["_Variants"]]

    try:
        after = change(context, endpoint, token, note)
    except Superseded:
        return
    if after["EndpointStatus"] == "Failed":
        fleet(context).unroute(endpoint)


def launch(
    serving: Fleet, endpoint: str, variants: list[PlannedVariant], running: dict[str, Variant] | None = None
) -> list[Variant]:
    """Each variant with as many instances as it wants: those that run already first. Raises StartFailed."""
    routed: list[Variant] = []
    fresh: list[Instance] = []
    try:
        for variant in variants:
            served = planned_variants.served(endpoint, variant)
            there = (running or {}).get(variant["Name"])
            kept = there.instances[: variant["Count"]] if there else []
            started = serving.launch(served, variant["Count"] - len(kept))
            fresh += started
            routed.append(Variant(served, variant["Weight"], kept + started))
    except StartFailed:
        serving.stop(fresh)
        raise
    return routed


def rescale(context: Context, endpoint: str, token: str, variants: list[PlannedVariant]) -> None:
    """Instances are added or drained, weights are changed; instances that stay are not touched."""
    with running(context, token):
        _rescale(context, endpoint, token, variants)


def _rescale(context: Context, endpoint: str, token: str, variants: list[PlannedVariant]) -> None:
    serving = fleet(context)
    running = {variant.served.variant: variant for variant in serving.variants(endpoint)}
    there = {id(instance) for instance in _instances(list(running.values()))}
    try:
        routed = launch(serving, endpoint, variants, running)
    except StartFailed as problem:
        note_failure(context, endpoint, token, str(problem))
        return
    except Exception as problem:
        note_failure(context, endpoint, token, f"InternalServerError: {problem}")
        raise
    removed: list[Instance] = []

    def finish(body: Endpoint) -> None:
        removed.extend(serving.route(endpoint, routed))
        put_in_service(body, variants)

    try:
        change(context, endpoint, token, finish)
    except Superseded:
        serving.stop([instance for instance in _instances(routed) if id(instance) not in there])
    else:
        serving.drain(removed)


def _blended(blue: list[Variant], green: list[Variant], active: dict[str, int]) -> list[Variant]:
    """Both fleets, each with its share of a variant's traffic: the new one's is that of its active instances.

    Among the variants the old weights hold until the whole new fleet is active.
    """
    shares = {v.served.variant: active[v.served.variant] / len(v.instances) for v in green}
    weights = {v.served.variant: v.weight for v in blue}
    both = [replace(v, share=1 - shares[v.served.variant]) for v in blue]
    for v in green:
        name = v.served.variant
        both.append(replace(v, instances=v.instances[: active[name]], weight=weights[name], share=shares[name]))
    return both


def _instances(variants: list[Variant]) -> list[Instance]:
    return [instance for variant in variants for instance in variant.instances]


def _check_alarm(context: Context, name: str) -> None:
    because = f"The deployment was rolled back because the CloudWatch alarm {name} of AutoRollbackConfiguration"
    try:
        state = alarms.state(context, name)
    except KeyError:
        raise RollBack(f"{because} is gone.") from None
    if state == "ALARM":
        baking = "went into ALARM state while the new fleet was baking"
        raise RollBack(f"{because} {baking}. The endpoint serves its previous configuration.")


def _is_deployed(context: Context, endpoint: str) -> bool:
    body = context.store.get(ENDPOINT, endpoint)
    return body is None or body["_Deployment"] in deploying(context)


def _give_up(context: Context, endpoint: str, _: bool) -> None:
    body = context.store.get(ENDPOINT, endpoint)
    if body is not None:
        note_failure(context, endpoint, body["_Deployment"], LOST)


supervisor.watch(
    Watch(ENDPOINT, IN_PROGRESS, name_of=lambda body: str(body["EndpointName"]), is_alive=_is_deployed, end=_give_up)
)
