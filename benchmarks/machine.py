"""What every table is printed with: the machine and the versions; and a table printer that keeps the figures.

A script prints its table. Where BENCH_RESULTS names a file, as `python -m benchmarks` sets it, table, figures and
series are added to it as JSON too: docs/performance.md is made from those files.
"""

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

RESULTS = "BENCH_RESULTS"
Row = tuple[str, str, str]
Series = Sequence[Sequence[float]]


def describe() -> str:
    """One line on the machine and the versions that matter."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "sagemaker", "boto3"))
    machine = f"{cores()} CPUs ({cpu_name()}, {platform.machine()}, {platform.system()})"
    return f"{machine}, Python {platform.python_version()}, {packages}"


def cores() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_name() -> str:
    """The processor's own name where Linux tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def load() -> float:
    """The load average of the last minute: what else ran here."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def spread(values: Sequence[float], unit: str = "s", digits: int = 2) -> str:
    """Median with minimum and maximum."""
    return f"{median(values):.{digits}f} {unit} ({min(values):.{digits}f} to {max(values):.{digits}f}, n={len(values)})"


def print_table(
    title: str,
    rows: Sequence[Row],
    *,
    figures: Mapping[str, float] | None = None,
    series: Mapping[str, Series] | None = None,
) -> None:
    """A Markdown table: what, measured, wanted. `figures`: what a goal is judged by; `series`: what a plot shows."""
    print(f"\n{title}\n{describe()}\n\n| what | measured | wanted |\n|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
    if os.environ.get(RESULTS):
        _keep(Path(os.environ[RESULTS]), title, rows, figures or {}, series or {})


def _keep(
    path: Path, title: str, rows: Sequence[Row], figures: Mapping[str, float], series: Mapping[str, Series]
) -> None:
    known = json.loads(path.read_text()) if path.exists() else {"tables": [], "figures": {}, "series": {}}
    known["machine"] = describe()
    known["date"] = time.strftime("%Y-%m-%d")
    known["load"] = round(load(), 1)
    known["tables"].append({"title": title, "rows": [list(row) for row in rows]})
    known["figures"].update({name: _short(value) for name, value in figures.items()})
    known["series"].update({name: [[_short(x) for x in point] for point in points] for name, points in series.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known, indent=1) + "\n")


def _short(value: float) -> float:
    """Six significant digits: the rest is noise, and makes every run a diff."""
    return float(f"{value:.6g}")
