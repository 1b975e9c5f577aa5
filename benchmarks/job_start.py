"""What starting a job costs: CPU time of all processes, cold (/bin/true) and warm (an empty script, torch imported).

    python -m benchmarks.job_start [--against CHECKOUT] [--rounds 6] [--starts 20]

Rounds alternate between this checkout and, where one is named, another, so that both meet the same load.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.machine import Row, print_table, spread

ROOT = Path(__file__).resolve().parent.parent
LONGER = 5.0  # ms of CPU that a start may cost more than without a sandbox


def measure(checkout: Path, starts: int) -> dict[str, float]:
    """Milliseconds of CPU per start, by kind, of a checkout's code: in a process of its own."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(checkout),
        "SAGELOCAL_IMAGES": str(checkout / "code" / "images.toml"),
    }
    command = [sys.executable, __file__, "--measure", str(starts)]
    done = subprocess.run(command, env=environment, cwd=checkout, stdout=subprocess.PIPE)
    return json.loads(done.stdout.splitlines()[-1])


def cpu_seconds() -> float:
    """Of this process, of all that it started and that runs, and of what those have waited for."""
    total = 0.0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        try:
            total += sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return total


def start_many(starts: int) -> dict[str, float]:
    sys.path.insert(0, os.environ["PYTHONPATH"])
    from sagelocal.core.context import Context
    from sagelocal.core.store import Store
    from sagelocal.runtime import process, warm
    from sagelocal.runtime.launch import ProcessSpec

    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    context = Context(folder, "http://127.0.0.1:1", Store(folder / "state.db"))
    assert warm.worker(context).usable(300)
    found = {}
    for kind, argv in (("cold", ["/bin/true"]), ("warm", ["python3", "/opt/ml/empty.py"])):
        began = 0.0
        for number in range(-2, starts):  # two to get warm
            if number == 0:
                began = cpu_seconds()
            tree = folder / f"{kind}{number}" / "ml"
            (tree / "input").mkdir(parents=True)
            (tree / "empty.py").touch()
            spec = ProcessSpec(
                argv=argv,
                env=process.base_environment(context, tree.parent),
                opt_ml=tree,
                read_only=("/opt/ml/input",),
                on_line=print,
                warm=kind == "warm",
            )
            assert process.start(context, spec).wait(300) == 0
        time.sleep(0.2)
        found[kind] = (cpu_seconds() - began) / starts * 1000
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(start_many(arguments.measure)), flush=True)
        os.kill(os.getpid(), 9)  # with all that it started
    arms = [ROOT, *([arguments.against.resolve()] if arguments.against else [])]
    found: list[list[dict[str, float]]] = [[] for _ in arms]
    for _ in range(arguments.rounds):
        for arm, results in zip(arms, found, strict=True):
            results.append(measure(arm, arguments.starts))
    rows: list[Row] = []
    for kind in ("cold", "warm"):
        for arm, results in zip(arms, found, strict=True):
            wanted = f"at most {LONGER:.0f} ms more than without a sandbox" if arm == ROOT else ""
            rows.append((f"{kind} start, {arm.name}", spread([each[kind] for each in results], "ms", 1), wanted))
    print_table("CPU time of a job's start", rows)


if __name__ == "__main__":
    main()
