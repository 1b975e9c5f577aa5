"""`pawline load-test`: what its words mean, and the files that it leaves."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from pipeline import console, execution, hints, infra_console, predict, prices
from pipeline.cloud import Cloud, state_dir
from pipeline.errors import UserError
from pipeline.load_test import clock, ladder, plot, scaling, show
from pipeline.load_test.plan import Phase, Plan, Serving, photo_type, serving

TARGETS = ("endpoint", "function")


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What both kinds of test are told. `ask`: have the user agree first, as it is his account that pays."""

    endpoint: str = ""
    photo: Path | None = None
    folder: Path | None = None
    ask: bool = False
    quiet: bool = False


def climb(
    cloud: Cloud,
    chosen: Chosen,
    *,
    target: str,
    phases: tuple[Phase, ...],
    max_requests: int,
    slo_ms: float | None = None,
) -> dict[str, Any]:
    """The concurrency ladder; writes load-test.json and load-test.png. Returns load-test.json's content.

    Raises UserError.
    """
    folder = made(chosen.folder)
    plan = prepared(cloud, chosen, target, folder)
    plan = replace(plan, phases=phases, max_requests=max_requests)
    behind = serving(cloud, plan.name) if target == "endpoint" else None
    if chosen.ask and not infra_console.agreed(f"{what_it_costs(behind)} Go on?"):
        raise UserError("Nothing was sent.")
    ladder.first_request(cloud, plan)
    with show.progress(len(phases), quiet=chosen.quiet) as tell:
        measured = ladder.climb(plan, tell)
    advice = ladder.advise(measured["levels"], behind, slo_ms)
    report = {
        "target": target,
        "name": plan.name,
        "photo": Path(plan.photo).name,
        "instances": behind.instances if behind else None,
        "instances_after": _instances_now(cloud, behind),
        "instance_type": behind.instance_type if behind else "",
        **measured,
        "knee": advice.knee,
        "target_invocations_per_instance": advice.target,
        "why": advice.why,
        "files": [],
    }
    report["files"] = _write(report, folder, "load-test")
    if not chosen.quiet:
        show.ladder(report, advice)
    return report


def scale(cloud: Cloud, chosen: Chosen, *, speed: float) -> dict[str, Any]:
    """Scaling out and in by the policy's rules; writes scaling.json and scaling.png. Returns scaling.json's content.

    `speed`: how fast the minutes of the server's own clock pass meanwhile, where it has one. Raises UserError.
    """
    clock.check(speed)
    folder = made(chosen.folder)
    plan = prepared(cloud, chosen, "endpoint", folder)
    behind = serving(cloud, plan.name)
    policy = scaling.find_policy(cloud, behind)
    if clock.speed_now() is None:
        minutes = f"{scaling.USUAL:g} to {scaling.OUT + scaling.HOLD + scaling.IN:g} minutes"
        console.say(f"Minutes here are real ones: this takes {minutes}.")
    if chosen.ask and not infra_console.agreed(f"{what_it_costs(behind)} Go on?"):
        raise UserError("Nothing was sent.")
    ladder.first_request(cloud, plan)
    with clock.running_at(speed) as speed_then:
        tell = (lambda text: None) if chosen.quiet else console.say
        report = {"name": plan.name, **scaling.Run(cloud, plan, behind, policy, speed_then, tell).report()}
    report["files"] = _write(report, folder, "scaling")
    if not chosen.quiet:
        show.scaling(report)
    return report


def prepared(cloud: Cloud, chosen: Chosen, target: str, folder: Path) -> Plan:
    """A plan without phases. Raises UserError for a target, an endpoint or a photo that cannot be tested."""
    if target not in TARGETS:
        raise UserError(f"--target is {target!r}.", f"It is one of {', '.join(TARGETS)}.")
    if target == "function" and chosen.endpoint:
        raise UserError("--endpoint names an endpoint, and --target is the predict function.", "Leave one of them out.")
    name = chosen.endpoint or (
        cloud.settings.endpoint_name if target == "endpoint" else cloud.settings.alias("predict")
    )
    if target == "endpoint":
        serving(cloud, name)
    path = (chosen.photo or _test_photo(cloud, folder)).resolve()
    return Plan(target=target, name=name, photo=str(path), content_type=photo_type(path, target), phases=())


def made(folder: Path | None) -> Path:
    """The folder for the results: load-test in the state directory when none is given."""
    folder = folder or state_dir() / "load-test"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise UserError(f"{folder} cannot be used: {problem.strerror}.", "Give another folder: --folder.") from None
    return folder


def what_it_costs(behind: Serving | None) -> str:
    """The sentence before a test of an account that is not this machine's."""
    if behind is None:
        return "These requests are real: Lambda bills each of them, and the endpoint behind it works."
    if behind.instances is None:
        return "These requests are real: the serverless endpoint bills their seconds."
    hourly = prices.load().hourly.get(behind.instance_type)
    price = f"${hourly * behind.instances:.2f} an hour as they are" if hourly else "no price is known"
    return (
        f"These requests are real, and other users of the endpoint wait with them. "
        f"{behind.instances} x {behind.instance_type}: {price}; a scaling policy may add instances."
    )


def _test_photo(cloud: Cloud, folder: Path) -> Path:
    """The first test photo of the newest execution, written to the folder. Raises UserError where there is none."""
    try:
        found = predict.prepared_test_photo(cloud, execution.latest(cloud))
    except UserError:
        found = None
    if not found:
        raise UserError("There is no photo to send.", f"Give one: {hints.LOAD_TEST_PHOTO(photo='dog.jpg')}")
    path = folder / "photo.jpg"
    path.write_bytes(found[1])
    return path


def _instances_now(cloud: Cloud, before: Serving | None) -> int | None:
    """As before where nobody answers any more."""
    if before is None or before.instances is None:
        return None
    try:
        return serving(cloud, before.endpoint).instances
    except (BotoCoreError, ClientError, UserError):
        return before.instances


def _write(report: dict[str, Any], folder: Path, name: str) -> list[str]:
    """<name>.json, and <name>.png where there is something to draw."""
    files = [folder / f"{name}.json"]
    drawable = report["load"] if name == "scaling" else any(level["requests"] for level in report["levels"])
    if drawable:
        files.append(folder / f"{name}.png")
        (plot.scaling if name == "scaling" else plot.ladder)(report, files[-1])
    names = [str(file) for file in files]
    files[0].write_text(json.dumps({**report, "files": names}, indent=2) + "\n")
    return names
