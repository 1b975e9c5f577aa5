"""Every script one after another, and docs/performance.md from what they printed.

    python -m benchmarks [--full | --quick] [NAME …]

`make bench` takes subsets, ten to fifteen minutes; `make bench-full` all photos and all sizes, some hours. The
figures of each are kept in benchmarks/results/. A script that fails is named, and the others go on.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import performance
from benchmarks.machine import RESULTS

ROOT = Path(__file__).parent.parent
FULL, QUICK = ("--full",), ("--quick",)


@dataclass(frozen=True)
class Script:
    """One module of this folder and its arguments by kind of run; None leaves it out of that kind."""

    name: str
    subset: tuple[str, ...] | None = ()
    full: tuple[str, ...] | None = ()
    quick: tuple[str, ...] | None = None


SCRIPTS = (
    Script("commands"),
    Script("engine", ("--rounds", "3"), ("--rounds", "10"), ("--rounds", "1")),
    Script("prepare", ("--images", "400", "--rounds", "3")),
    Script("cores", (), FULL, QUICK),
    Script("memory", (), FULL, QUICK),
    Script("tuning", (), FULL, QUICK),
    Script("baseline", (), FULL, QUICK),
    Script("ddp", (), FULL, QUICK),
    Script("accuracy", None, FULL, QUICK),
    Script("unknown", None),
    Script("sizes", (), FULL, QUICK),
    Script("serving", ("--rounds", "30"), ()),
    Script("predict_function"),
    Script("main_job"),
    Script("debugger", (), ("--photos", "--write-docs"), QUICK),
    Script("gpu", (), FULL, QUICK),
    Script("load_test", None),
    Script("endpoint", None),
    Script("history", None),
    Script("soak", None),
    Script("s3_listing", None),
    Script("job_start", None),
    Script("scale", ("--write",), ("--write",), ()),
)


def run(script: Script, kind: str, results: Path) -> int:
    """The script's exit code; what it measured replaces what the last run of this kind did."""
    words = getattr(script, kind) or ()
    kept = results / kind / f"{script.name}.json"
    print(f"\n== {script.name} {' '.join(words)}", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / kept.name
        code = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{script.name}", *words],
            cwd=ROOT,
            env={**os.environ, RESULTS: str(fresh)},
        ).returncode
        if code == 0 and fresh.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(fresh.read_text())
    print(f"\n{script.name} took {time.monotonic() - began:.0f} s", flush=True)
    return code


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(script.name for script in SCRIPTS))
    parser.add_argument("--full", dest="kind", action="store_const", const="full", default="subset")
    parser.add_argument("--quick", dest="kind", action="store_const", const="quick", help="whether they run")
    parser.add_argument("--results", type=Path, help="where the figures are kept (benchmarks/results)")
    parser.add_argument("--page", type=Path, help="what is written from them (docs/performance.md)")
    given = parser.parse_args()
    unknown = set(given.names) - {script.name for script in SCRIPTS}
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as nowhere:
        # Quick figures say that the scripts run, and nothing about speed: they are kept only where that is asked for.
        results, page = (
            (Path(nowhere), Path(nowhere) / "performance.md")
            if given.kind == "quick"
            else (performance.RESULTS, performance.PAGE)
        )
        return run_all(given.kind, given.names, given.results or results, given.page or page)


def run_all(kind: str, names: list[str], results: Path, page: Path) -> int:
    began, failed = time.monotonic(), []
    for script in SCRIPTS:
        wanted = script.name in names if names else getattr(script, kind) is not None
        if wanted and run(script, kind, results):
            failed.append(script.name)
    performance.write(results, page)
    print(f"\n{(time.monotonic() - began) / 60:.1f} min; the figures are in {page}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
