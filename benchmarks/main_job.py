"""The main job as a user runs it: on the drawn set, on real photos, and on the same real photos again.

    python -m benchmarks.main_job [--data dogImages.zip --weights mobilenet_v2.pth --backbone mobilenet_v2]
                                  [--picture docs/pictures/run.svg]

Each arm is one whole `pawline run --json`, server start included, in a state directory of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

from benchmarks.machine import Row, print_table

ROOT = Path(__file__).parent.parent


def run(state_dir: str, *words: str) -> tuple[float, dict]:
    """(seconds of the whole command, its report)."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "run", "--json", *words],
        env={**os.environ, "SAGELOCAL_STATE_DIR": state_dir},
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    return time.perf_counter() - began, json.loads(done.stdout.splitlines()[-1])


def stop(state_dir: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "pipeline", "stop", "--server"],
        env={**os.environ, "SAGELOCAL_STATE_DIR": state_dir},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )


def draw(state_dir: str, words: list[str], report: dict, target: Path) -> None:
    from benchmarks import picture

    with patch.dict(os.environ, {"SAGELOCAL_STATE_DIR": state_dir}):
        picture.of_run(words, report, target)


def row(name: str, measured: tuple[float, dict], wanted: str) -> Row:
    seconds, report = measured
    steps = ", ".join(
        f"{s['name']} {'cached' if s['cached'] else format(s['seconds'], '.1f')}" for s in report["steps"]
    )
    return name, f"{seconds:.1f} s, test top-1 {report['metrics'].get('test:top1', 0):.3f} ({steps})", wanted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=str(ROOT.parent / "shared/data/dogImages.zip"))
    parser.add_argument("--weights", default=str(ROOT.parent / "shared/weights/mobilenet_v2.pth"))
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--picture", type=Path, help="draw the first run on photos there")
    arguments = parser.parse_args()
    rows: list[Row] = []
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as state_dir:
        drawn = run(state_dir)
        rows.append(row("drawn pictures", drawn, "under 90 s, top-1 ≥ 0.90"))
        figures |= {"drawn_seconds": drawn[0], "drawn_top1": drawn[1]["metrics"].get("test:top1", 0)}
        stop(state_dir)
    if Path(arguments.data).exists() and Path(arguments.weights).exists():
        words = ["--data", arguments.data, "--weights", arguments.weights, "--backbone", arguments.backbone]
        with tempfile.TemporaryDirectory() as state_dir:
            photos = run(state_dir, *words)
            if arguments.picture:
                draw(state_dir, words, photos[1], arguments.picture)
            again = run(state_dir, *words)
            rows.append(row("real photos, 4 views, 10 trials", photos, "under 120 s, top-1 ≥ 0.90"))
            rows.append(row("the same again", again, "under 20 s, all cached"))
            figures |= {"photos_seconds": photos[0], "photos_top1": photos[1]["metrics"].get("test:top1", 0)}
            figures["again_seconds"] = again[0]
            stop(state_dir)
    else:
        print(f"No photos at {arguments.data}: only the drawn pictures were run.")
    print_table("The main job", rows, figures=figures)


if __name__ == "__main__":
    main()
