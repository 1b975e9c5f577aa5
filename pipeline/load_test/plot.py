"""The pictures of a load test, drawn with matplotlib."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # no window, no display

from matplotlib import pyplot as plt  # noqa: E402

SIZE = (7.2, 4.0)  # inches
DPI = 100
BLUE, ORANGE, RED, GREY = "#2563ab", "#d97b1a", "#c03030", "#777777"


def ladder(report: dict[str, Any], path: Path) -> None:
    """Throughput against p50 and p99, a point per level, the knee marked. `report`: load-test.json's content."""
    levels = [level for level in report["levels"] if level["p99_ms"] is not None]
    figure, axes = plt.subplots(figsize=SIZE, dpi=DPI, layout="constrained")
    rates = [level["requests_per_second"] for level in levels]
    for name, colour in (("p50", BLUE), ("p99", ORANGE)):
        axes.plot(rates, [level[f"{name}_ms"] for level in levels], "o-", color=colour, label=name)
    for level in levels:
        axes.annotate(
            f"{level['users']}", (level["requests_per_second"], level["p99_ms"]), (4, 5), textcoords="offset points"
        )
    if knee := report["knee"]:
        axes.axvline(knee["requests_per_second"], color=GREY, linestyle=":", label=f"knee: {knee['users']} users")
    axes.set(xlabel="answered requests a second", ylabel="milliseconds", title=title(report))
    axes.set(xlim=(0, max(rates) * 1.1), ylim=(0, max(level["p99_ms"] for level in levels) * 1.15))
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path)
    plt.close(figure)


def scaling(report: dict[str, Any], path: Path) -> None:
    """Load, instances and latency over the policy's minutes. `report`: scaling.json's content."""
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(SIZE[0], 5.2), dpi=DPI, layout="constrained", sharex=True, height_ratios=(2, 1)
    )
    minutes = [tick["minute"] for tick in report["load"]]
    asked = [tick["requests_per_minute"] for tick in report["load"]]
    each = [rate / _count_at(report, minute) for rate, minute in zip(asked, minutes, strict=True)]
    above.fill_between(minutes, asked, step="mid", color=BLUE, alpha=0.15, label="requests a minute")
    above.plot(minutes, each, color=BLUE, label="per instance")
    above.axhline(report["target"], color=RED, linestyle="--", label=f"target {report['target']:g}")
    above.set(ylabel="requests a minute", ylim=(0, max(asked) * 1.35))
    counts = above.twinx()
    seen = report["instances"]
    counts.step(
        [s["minute"] for s in seen], [s["current"] for s in seen], where="post", color=ORANGE, label="instances"
    )
    counts.set(ylabel="instances", ylim=(0, max(s["current"] for s in seen) + 1))
    counts.yaxis.get_major_locator().set_params(integer=True)
    for activity in report["activities"]:
        above.axvline(activity["minute"], color=GREY, linestyle=":", linewidth=1)
    above.plot([], [], color=GREY, linestyle=":", label="scaling activity")
    handles = [
        a + b for a, b in zip(above.get_legend_handles_labels(), counts.get_legend_handles_labels(), strict=True)
    ]
    above.legend(*handles, loc="upper right", ncols=2, fontsize="small")
    above.set_title(f"{report['name']}: {report['from']} to {report['highest']} and back to {report['last']} instances")
    for name, colour in (("p50", BLUE), ("p99", ORANGE)):
        points = [(t["minute"], t[f"{name}_ms"]) for t in report["load"] if t[f"{name}_ms"] is not None]
        below.plot(*zip(*points, strict=True), color=colour, label=name)
    below.set(xlabel="minutes of the policy" + _accelerated(report), ylabel="milliseconds", ylim=(0, None))
    below.legend(fontsize="small")
    below.grid(alpha=0.3)
    figure.savefig(path)
    plt.close(figure)


def _count_at(report: dict[str, Any], minute: float) -> int:
    before = [seen["current"] for seen in report["instances"] if seen["minute"] <= minute]
    return max(1, before[-1] if before else 1)


def _accelerated(report: dict[str, Any]) -> str:
    return f" ({60 / report['speed']:g} s each)" if report["speed"] != 1 else ""


def title(report: dict[str, Any]) -> str:
    behind = f", {report['instances']} x {report['instance_type']}" if report.get("instances") else ""
    return f"{report['target']} {report['name']}{behind}; the numbers are users at a time"
