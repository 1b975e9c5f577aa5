"""Peak memory of Prepare and Embed when the data set is ten times larger.

    python -m benchmarks.memory [--images 600 | --full | --quick]

Both run as their own process trees, `python code/<script>.py`, on a small set and on one that is it ten times over.
Prepare's peak is where its workers happen to hold large pictures at the same time, which is the likelier the longer one
looks: it takes the small set ten times, so that both peaks are of as many images. Shared pages are counted once. What
is wanted to stay the same is the memory that the system cannot take back; pages of mapped files (libraries, features),
which it drops as it likes, are in the second row. Fewer than 600 images Embed would leave to PyTorch, and ten times as
many to OpenVINO (breeds.model.graph_embedder.MIN_VIEWS): two programs, which say nothing of each other.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.machine import Row, print_table
from benchmarks.photos import ROOT, weights_folder, write_data_set

TIMES = 10
MIB = 2**20
ALLOWED = 0.10


@dataclass
class Peak:
    """Bytes at the worst moment of a process tree: all of them, and those that no file backs."""

    everything: int = 0
    own: int = 0

    def sample(self, root: psutil.Process) -> None:
        everything = own = 0
        for process in [root, *root.children(recursive=True)]:
            try:
                sizes = _sizes(process.pid)
            except OSError:  # it has just ended
                continue
            everything, own = everything + sizes[0], own + sizes[1]
        self.everything, self.own = max(self.everything, everything), max(self.own, own)


def _sizes(pid: int) -> tuple[int, int]:
    """(all, of it without a file behind) bytes, a page that several share counted in parts; else the resident size."""
    if not Path("/proc/self/smaps_rollup").exists():
        resident = psutil.Process(pid).memory_info().rss
        return resident, resident
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    everything, own = (1024 * int(fields.get(name, "0").split()[0]) for name in ("Pss", "Pss_Anon"))
    return everything, own


def peak_of(*words: object) -> tuple[Peak, float]:
    """Run a script of code/ to its end: its peak and its seconds."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *map(str, words)], cwd=ROOT, stdout=subprocess.DEVNULL)
    peak, over = Peak(), threading.Event()

    def watch() -> None:
        tree = psutil.Process(process.pid)
        while not over.wait(0.02):
            try:
                peak.sample(tree)
            except psutil.NoSuchProcess:
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    over.set()
    watcher.join()
    assert code == 0, f"{words[0]} ended with {code}"
    return peak, time.perf_counter() - began


def measure(folder: Path, photos: int, copies: int, image_size: int) -> dict[str, Peak]:
    data = write_data_set(folder / "raw" / "dogs.zip", photos * copies, copies=copies)
    weights, backbone = weights_folder(folder / "weights")
    prepared, features = folder / "prepared", folder / "features"
    words = ("code/prepare.py", "--input", data.parent, "--output", prepared)
    rounds = [peak_of(*words)[0] for _ in range(TIMES // copies)]
    peaks = {"prepare": Peak(max(peak.everything for peak in rounds), max(peak.own for peak in rounds))}
    peaks["embed"] = peak_of(
        "code/embed.py",
        *("--prepared", prepared, "--weights", weights, "--output", features),
        *("--backbone", backbone, "--views", 2, "--image-size", image_size),
    )[0]
    return peaks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=600, help="in the smaller set")
    parser.add_argument("--full", action="store_true", help="3,000 images, and 30,000")
    parser.add_argument("--quick", action="store_true", help="whether it runs: 20 images, and 200")
    given = parser.parse_args()
    images = 20 if given.quick else 3000 if given.full else given.images
    found = {}
    for times in (1, TIMES):
        with tempfile.TemporaryDirectory() as folder:
            found[times] = measure(Path(folder), images, times, 64 if given.quick else 224)
    rows: list[Row] = []
    figures: dict[str, float] = {"images": images}
    for step in ("prepare", "embed"):
        small, large = found[1][step], found[TIMES][step]
        growth, all_growth = large.own / small.own - 1, large.everything / small.everything - 1
        figures |= {f"{step}_growth": growth, f"{step}_all_growth": all_growth, f"{step}_mib": large.own / MIB}
        text = f"{small.own / MIB:.0f} MiB, {large.own / MIB:.0f} MiB: {growth:+.1%}"
        rows.append((f"{step}, {images:,} images and {TIMES * images:,}", text, f"at most {ALLOWED:+.0%}"))
        text = f"{small.everything / MIB:.0f} MiB, {large.everything / MIB:.0f} MiB: {all_growth:+.1%}"
        rows.append((f"{step}, pages of mapped files included", text, "—"))
    print_table("Peak memory of a step's processes", rows, figures=figures)


if __name__ == "__main__":
    main()
