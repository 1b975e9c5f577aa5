"""The scripts of code/ as processes of this machine, one data set through all of them, timed."""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.photos import ROOT, weights_folder, write_data_set


@dataclass(frozen=True)
class Done:
    """What a script printed, and its seconds, start included."""

    seconds: float
    output: str

    @property
    def rate(self) -> float:
        """Images per second of its longest loop, as the script itself reports it: its start is not in it."""
        loops = re.findall(r"(\d+) \w+ in ([0-9.]+) s", self.output)
        images, seconds = max(((int(n), float(s)) for n, s in loops), key=lambda loop: loop[1])
        return images / max(seconds, 0.05)

    @property
    def epoch_seconds(self) -> list[float]:
        """Seconds of each epoch that a training printed."""
        return [float(found) for found in re.findall(r"^epoch=.* seconds=([0-9.]+)", self.output, re.MULTILINE)]


def script(name: str, *words: object, cores: int | None = None) -> Done:
    """Run code/<name>.py to its end, on the first `cores` of this process's cores. Raises RuntimeError."""
    allowed = set(sorted(os.sched_getaffinity(0))[:cores]) if cores else None
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, f"code/{name}.py", *map(str, words)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=(lambda: os.sched_setaffinity(0, allowed)) if allowed else None,
    )
    if done.returncode:
        raise RuntimeError(f"{name}.py ended with {done.returncode}:\n{done.stdout[-2000:]}")
    return Done(time.perf_counter() - began, done.stdout)


@dataclass(frozen=True)
class Flow:
    """A folder with a data set, and what each script makes of it."""

    folder: Path
    backbone: str

    @classmethod
    def of(cls, folder: Path, images: int) -> "Flow":
        write_data_set(folder / "raw" / "dogs.zip", images)
        return cls(folder, weights_folder(folder / "weights")[1])

    def prepare(self, *, cores: int | None = None, to: str = "prepared") -> Done:
        return script("prepare", "--input", self.folder / "raw", "--output", self.folder / to, cores=cores)

    def embed(
        self, *, views: int, image_size: int = 224, cores: int | None = None, to: str = "features", backbone: str = ""
    ) -> Done:
        """Another `backbone` than the flow's own gets random weights, which cost what trained ones do."""
        weights = self.folder / ("random" if backbone else "weights")
        if backbone:
            weights.mkdir(exist_ok=True)
            (weights / "random.json").write_text('{"kind": "random", "seed": 0}')
        words = ["--prepared", self.folder / "prepared", "--weights", weights]
        words += ["--output", self.folder / to, "--backbone", backbone or self.backbone]
        return script("embed", *words, "--views", views, "--image-size", image_size, cores=cores)

    @property
    def train_images(self) -> int:
        return json.loads((self.folder / "features" / "features.json").read_text())["counts"]["train"]

    def trial(self, *, epochs: int) -> Done:
        words = ["--features", self.folder / "features", "--model-dir", self.folder / "trial"]
        return script("train", *words, "--epochs", epochs, "--patience", 1000)

    def train(self, *, epochs: int) -> Done:
        words = ["--features", self.folder / "features", "--model-dir", self.folder / "model"]
        words += ["--prepared", self.folder / "prepared", "--weights", self.folder / "weights"]
        return script("train", *words, "--epochs", epochs, "--patience", 1000)

    def evaluate(self) -> Done:
        words = ["--model", self.folder / "model", "--prepared", self.folder / "prepared"]
        return script("evaluate", *words, "--output", self.folder / "evaluation")
