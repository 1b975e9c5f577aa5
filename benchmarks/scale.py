"""What 1 million and 100 million images cost: hours, dollars, and the step that limits. The tables of docs/scale.md.

    python -m benchmarks.scale [--write]

Slopes per core come from what benchmarks/cores.py and benchmarks/sizes.py measured. What cannot be measured on one
machine is simulated: hosts that start late and run unevenly; gradients that go around a ring.
`--write` puts the tables between the marks of docs/scale.md.
"""

import argparse
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import quantiles

from benchmarks import performance
from pipeline import prices

PAGE = performance.ROOT / "docs" / "scale.md"
SIZES = (1_000_000, 100_000_000)
HOSTS = {1_000_000: 4, 100_000_000: 100}  # 100 is the most that the parameter ProcessingInstanceCount allows
TRAINING_HOSTS = {1_000_000: 1, 100_000_000: 16}
INSTANCE, VCPUS = "ml.c7i.8xlarge", 32
TRIALS, EPOCHS, VIEWS, FEATURE_DIM = 10, 8, 4, 2048
MEASURED_DIM = 1280
TRAIN, VALID, TEST = 0.7, 0.14, 0.16  # as the 3,127 photos are split
KIB = {"photo": 36.0, "prepared": 30.0, "manifest": 0.15}
ROUNDS = 2000
DISK_GB = 100


@dataclass(frozen=True, kw_only=True)
class Slopes:
    """Per core of the machine that measured, in one second: images prepared, views embedded, features trained on."""

    prepare: float
    embed: float
    head: float
    evaluate: float


@dataclass(frozen=True, kw_only=True)
class Assumed:
    """What is not measured here, each with where it comes from."""

    core_per_vcpu: float = 0.5  # a vCPU is a hyperthread
    start_seconds: float = 90.0  # pipeline/durations.py
    start_spread: float = 0.4  # of the logarithm: some instances take three times as long
    uneven: float = 0.05  # standard deviation of hosts' speed
    gigabit: float = 5.0  # a second to and from S3, an instance of this size
    ring_gigabit: float = 10.0  # between hosts
    ring_latency: float = 100e-6  # seconds a hop


ASSUMED = Assumed()


def slopes(figures: Mapping[str, Mapping[str, float]]) -> Slopes:
    """Raises KeyError with the name of a script that has not measured yet."""
    cores, sizes = figures["cores"], figures["sizes"]
    # A head trains on one core; its cost goes with the features' width, and MobileNetV2's was measured.
    return Slopes(
        prepare=cores["prepare_1"],
        embed=cores["embed-resnet50_1"],
        head=sizes["head_images_per_second"] * MEASURED_DIM / FEATURE_DIM,
        evaluate=cores["embed-resnet50_1"],
    )


@dataclass(frozen=True)
class Step:
    """One step at one size: core-seconds of work, GB that a host must have on disk, hosts that share the work."""

    name: str
    core_seconds: float
    host_gb: float
    hosts: int
    jobs: int = 1
    cores_used: float = VCPUS * ASSUMED.core_per_vcpu

    @property
    def hours(self) -> float:
        """Wall time of a job, with its start and the transfer of what a host needs."""
        work = self.core_seconds / (self.cores_used * self.hosts)
        transfer = 8 * self.host_gb / ASSUMED.gigabit
        return (ASSUMED.start_seconds + transfer + work) / 3600

    @property
    def dollars(self) -> float:
        return self.hours * self.hosts * self.jobs * prices.load().of(INSTANCE)


def steps(images: int, rates: Slopes) -> list[Step]:
    """The pipeline's steps as they stand: ResNet-50, 4 views of train images, a head.

    On its disk a host of Embed has the manifest and its share of the shards, of Evaluate those of test, of others all.
    """
    gb = {name: images * kib * 1024 / 1e9 for name, kib in KIB.items()}
    views = images * (TRAIN * VIEWS + VALID + TEST)
    features_gb = views * FEATURE_DIM * 2 / 1e9
    hosts, training = HOSTS[images], TRAINING_HOSTS[images]
    head = images * TRAIN * EPOCHS / rates.head
    return [
        Step("Prepare", images / rates.prepare, gb["photo"], hosts),
        Step("Embed", views / rates.embed, gb["manifest"] + gb["prepared"] / hosts, hosts),
        Step("Tune", head, features_gb, 1, TRIALS, cores_used=1),
        Step("Train", head, features_gb, training, cores_used=1),
        Step("Evaluate", images * TEST / rates.evaluate, gb["manifest"] + TEST * gb["prepared"], 1),
    ]


def cost_table(images: int, rates: Slopes) -> str:
    found = steps(images, rates)
    lines = ["| step | jobs x hosts | hours a job | dollars | GB a host needs |\n|---|---|---|---|---|\n"]
    for step in found:
        disk = f"{step.host_gb:,.0f}" + (" **over the disk**" if step.host_gb > DISK_GB else "")
        lines.append(
            f"| {step.name} | {step.jobs} x {step.hosts} | {step.hours:.2f} | {step.dollars:,.2f} | {disk} |\n"
        )
    hours, dollars = sum(step.hours for step in found), sum(step.dollars for step in found)
    longest = max(found, key=lambda step: step.hours)
    fullest = max(found, key=lambda step: step.host_gb)
    lines.append(f"| all, trials at the same time | | {hours:.2f} | {dollars:,.2f} | |\n\n")
    lines.append(f"The longest step is {longest.name}: {longest.hours / hours:.0%} of the hours. ")
    over = [step.name for step in found if step.host_gb > DISK_GB]
    said = f"Their {DISK_GB} GB volumes do not hold the inputs of {', '.join(over)}." if over else "Every input fits."
    lines.append(f"The most that a host must have at hand is {fullest.host_gb:,.0f} GB, in {fullest.name}. {said}\n")
    return "".join(lines)


def slopes_table(rates: Slopes, found: Mapping[str, performance.Result]) -> str:
    rows = [
        ("Prepare", f"{rates.prepare:,.0f} images/s", "cores"),
        ("Embed, ResNet-50, bf16 where the machine has it", f"{rates.embed:,.1f} views/s", "cores"),
        ("Tune and Train, a head on 2,048 features", f"{rates.head:,.0f} images/s and epoch", "sizes"),
    ]
    lines = ["| what one core does | measured | by |\n|---|---|---|\n"]
    for what, value, script in rows:
        result = found[script]
        lines.append(f"| {what} | {value} | `benchmarks/{script}.py`, {result.kind}, {result.content['date']} |\n")
    lines.append(f"\nMeasured on {found['cores'].content['machine']}.\n")
    return "".join(lines)


def assumptions_table() -> str:
    hourly = prices.load()
    checked = "not verified" if INSTANCE in hourly.unverified else "verified"
    rows = [
        ("a vCPU", f"{ASSUMED.core_per_vcpu:g} of the measured core"),
        ("an instance", f"{INSTANCE}, {VCPUS} vCPUs, bf16, ${hourly.of(INSTANCE)} an hour ({checked}, {hourly.date})"),
        ("its start", f"{ASSUMED.start_seconds:.0f} s, by chance up to three times that"),
        ("its way to S3", f"{ASSUMED.gigabit:g} Gbit/s"),
        ("hosts are uneven by", f"{ASSUMED.uneven:.0%} (standard deviation)"),
        ("between hosts", f"{ASSUMED.ring_gigabit:g} Gbit/s, {1e6 * ASSUMED.ring_latency:.0f} µs a hop"),
        ("a photo, and what Prepare keeps of it", f"{KIB['photo']:g} KiB, {KIB['prepared']:g} KiB"),
    ]
    return "| assumed, not measured | |\n|---|---|\n" + "".join(f"| {what} | {value} |\n" for what, value in rows)


def simulate_step(seconds: float, hosts: int, chance: random.Random) -> float:
    """Wall seconds of a step that takes `seconds` on one host: it ends with its last host."""
    shares = (seconds / hosts / max(chance.gauss(1, ASSUMED.uneven), 0.5) for _ in range(hosts))
    return max(_start(chance) + share for share in shares)


def _start(chance: random.Random) -> float:
    return ASSUMED.start_seconds * chance.lognormvariate(0, ASSUMED.start_spread)


def simulation_table(images: int, rates: Slopes) -> str:
    """Embed on more and more hosts."""
    embed = next(step for step in steps(images, rates) if step.name == "Embed")
    alone = embed.core_seconds / embed.cores_used
    lines = [f"Embed of {images:,} images ({alone / 3600:,.1f} h of one {INSTANCE}):\n\n"]
    lines.append("| hosts | p50 | p95 | of perfect | dollars |\n|---|---|---|---|---|\n")
    for hosts in (1, 4, 16, 64, 100):
        chance = random.Random(hosts)
        times = [simulate_step(alone, hosts, chance) for _ in range(max(50, ROUNDS // hosts))]
        cuts = quantiles(times, n=20)
        p50, p95 = cuts[9], cuts[18]
        dollars = p50 * hosts * prices.load().of(INSTANCE) / 3600
        lines.append(
            f"| {hosts} | {p50 / 3600:,.2f} h | {p95 / 3600:,.2f} h | {alone / hosts / p50:.0%} | {dollars:,.0f} |\n"
        )
    return "".join(lines)


def ddp_table() -> str:
    """Share of its time that a host computes when gradients go around a ring after each step (2 (n - 1) messages)."""
    cases = {
        "head, 1 M parameters, 0.05 s a step": (4e6, 0.05),
        "last stage of ResNet-50, 15 M, 0.6 s": (60e6, 0.6),
        "all of ResNet-50, 25 M, 2 s": (100e6, 2.0),
    }
    lines = ["| hosts | " + " | ".join(cases) + " |\n|---|" + "---|" * len(cases) + "\n"]
    for hosts in (2, 4, 8, 16, 32):
        cells = []
        for size, compute in cases.values():
            chance = random.Random(hosts)
            around = 2 * (hosts - 1) * (size / hosts * 8 / (ASSUMED.ring_gigabit * 1e9) + ASSUMED.ring_latency)
            slowest = [max(compute / chance.gauss(1, ASSUMED.uneven) for _ in range(hosts)) for _ in range(200)]
            cells.append(f"{compute / (sum(slowest) / len(slowest) + around):.0%}")
        lines.append(f"| {hosts} | " + " | ".join(cells) + " |\n")
    return "".join(lines)


def tables(found: Mapping[str, performance.Result]) -> dict[str, str]:
    rates = slopes({name: result.content["figures"] for name, result in found.items()})
    small, large = SIZES
    return {
        "slopes": slopes_table(rates, found),
        "assumptions": assumptions_table(),
        "million": cost_table(small, rates),
        "hundred-million": cost_table(large, rates),
        "hosts": simulation_table(small, rates) + "\n" + simulation_table(large, rates),
        "gradients": ddp_table(),
    }


def filled(page: str, made: Mapping[str, str]) -> str:
    """The page with each table between its marks. Raises ValueError for a table without a place."""
    for name, table in made.items():
        pattern = re.compile(f"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not pattern.search(page):
            raise ValueError(f"the page has no place for the table {name}")
        page = pattern.sub(lambda marks, table=table: f"{marks[1]}\n{table}\n{marks[2]}", page)
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="into docs/scale.md")
    given = parser.parse_args()
    found = performance.read(performance.RESULTS)
    missing = [name for name in ("cores", "sizes") if name not in found]
    if missing:
        print(f"No figures of {' and '.join(missing)} yet: run `make bench` first.")
        return
    made = tables(found)
    for name, table in made.items():
        print(f"\n{name}\n\n{table}")
    if given.write:
        PAGE.write_text(filled(PAGE.read_text(), made))


if __name__ == "__main__":
    main()
