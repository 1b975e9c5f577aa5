"""The load test of a served classifier: the main job, then `pawline load-test` against its endpoint.

    python -m benchmarks.load_test [--picture docs/pictures/load-test.png]
        [--data dogImages.zip --weights mobilenet_v2.pth --backbone mobilenet_v2]

Client, embedded server and model share this machine's cores.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.machine import print_table
from benchmarks.main_job import ROOT, run, stop

LEVELS = "1 2 4 8 16"
SECONDS = "8"  # a level


def load_test(state_dir: str, *words: str) -> dict:
    """The report of `pawline load-test`."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "load-test", "--json", "--seconds", SECONDS, *words],
        env={**os.environ, "SAGELOCAL_STATE_DIR": state_dir},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout)


def rows(report: dict) -> list[tuple[str, str, str]]:
    return [
        (
            f"{report['target']}, {level['users']} at a time",
            f"{level['requests_per_second']:.1f} requests/s, p50 {level['p50_ms']:.0f} ms, "
            f"p90 {level['p90_ms']:.0f} ms, p99 {level['p99_ms']:.0f} ms, failed: {failed(level)}",
            "0 failed",
        )
        for level in report["levels"]
    ]


def failed(level: dict) -> str:
    return ", ".join(f"{count} {code}" for code, count in level["errors"].items()) or "0"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", type=Path, help="keep the picture there")
    parser.add_argument("--data", default=str(ROOT.parent / "shared/data/dogImages.zip"))
    parser.add_argument("--weights", default=str(ROOT.parent / "shared/weights/mobilenet_v2.pth"))
    parser.add_argument("--backbone", default="mobilenet_v2")
    arguments = parser.parse_args()
    words = ["--data", arguments.data, "--weights", arguments.weights, "--backbone", arguments.backbone]
    if not (Path(arguments.data).exists() and Path(arguments.weights).exists()):
        print(f"No photos at {arguments.data}: the classifier is trained on drawn pictures.")
        words = []
    with tempfile.TemporaryDirectory() as state_dir:
        try:
            _, trained = run(state_dir, *words)
            assert trained["status"] == "Succeeded", trained
            endpoint = load_test(state_dir, "--levels", LEVELS)
            if arguments.picture:
                shutil.copyfile(Path(state_dir) / "load-test" / "load-test.png", arguments.picture)
            function = load_test(state_dir, "--levels", "1 3", "--target", "function")
        finally:
            stop(state_dir)
    series = {
        report["target"]: [[level[name] for name in ("users", "p50_ms", "p99_ms")] for level in report["levels"]]
        for report in (endpoint, function)
    }
    print_table("A served classifier under load", [*rows(endpoint), *rows(function)], series=series)
    print(f"\n{endpoint['why']} TargetInvocationsPerInstance={endpoint['target_invocations_per_instance']}")


if __name__ == "__main__":
    main()
