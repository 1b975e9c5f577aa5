"""One photo through HTTP, one request at a time: the starting document's way, ours, and the bare engine as the floor.

    python -m benchmarks.serving [--data dogImages.zip --weights mobilenet_v2.pth --rounds 60]

The arms take turns, a photo asked for three times in each turn: the first time pays for what the turns of others left
behind, idle cores and caches full of their weights, and is not counted. Heads, and ResNet-50's weights, are random:
latency does not depend on them, but whether int8 agrees does. That is measured by each training (model.json,
"serving"), not here.
"""

import argparse
import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.machine import print_table, spread

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "code"))

from breeds.base.metrics import EpochMetrics  # noqa: E402
from breeds.data import images  # noqa: E402
from breeds.model import backbones, optimized, optimizing  # noqa: E402
from breeds.model.classifier import Classifier, Head  # noqa: E402
from breeds.serving.inference import smooth_noise  # noqa: E402
from breeds.training import packaging  # noqa: E402

CLASSES = 133
SEED_SIZE, VIEW_SIZE = 224, 256  # pixels a side: what the seed sees, and what ours sees by default
PHOTOS = 128
SETTLE_SECONDS = 0.02  # threads of the arm before look for more work for a while
COUNTED = 2  # requests of a turn, after one that is not
PRECISIONS = ("bf16", "int8")


@dataclass(frozen=True)
class Settings:
    hidden_width: int = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data/dogImages.zip")
    parser.add_argument("--weights", type=Path, default=ROOT.parent / "shared/weights/mobilenet_v2.pth")
    parser.add_argument("--rounds", type=int, default=60)
    arguments = parser.parse_args()
    photos = read_photos(arguments.data)
    wanted = {"bf16": 2.8, "int8": 5.0}
    compare("resnet50", None, photos, arguments.rounds, VIEW_SIZE, wanted)
    compare("resnet50", None, photos, arguments.rounds, SEED_SIZE, wanted)
    if arguments.weights.exists():
        compare("mobilenet_v2", arguments.weights, photos, arguments.rounds, VIEW_SIZE, {})


def compare(
    backbone: str, weights: Path | None, photos: list[bytes], rounds: int, size: int, wanted: dict[str, float]
) -> None:
    """`size`: pixels a side of what ours sees; more of them are more accurate and cost more."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        floors = write_models(Path(folder), backbone, weights, photos, size)
        seed = [sys.executable, "-m", "benchmarks.seed_server", backbone]
        arms: dict[str, Callable[[bytes], Any]] = {"seed": servers.enter_context(served(seed))}
        for precision in PRECISIONS:
            model = Path(folder) / precision
            command = [sys.executable, str(model / "code/serve.py"), "--model-dir", str(model), "--port"]
            arms[precision] = servers.enter_context(served(command))
            arms[f"{precision} engine"] = engine(floors[precision], size)
        times = interleaved(arms, photos, rounds)
    print_table(
        f"Serving {backbone} at {size} pixels, one JPEG per request, one request at a time (weights of the head "
        f"{'' if weights else 'and the backbone '}random: whether int8 agrees is not measured here)",
        list(rows(times, wanted)),
        figures=figures(backbone if size == VIEW_SIZE else f"{backbone}_{size}", times),
    )


def figures(backbone: str, times: dict[str, list[float]]) -> dict[str, float]:
    found = {f"{backbone}_seed_ms": median(times["seed"])}
    for precision in PRECISIONS:
        over = median(a - b for a, b in zip(times[precision], times[f"{precision} engine"], strict=True))
        found[f"{backbone}_{precision}_ratio"] = median(times["seed"]) / median(times[precision])
        found[f"{backbone}_{precision}_overhead_ms"] = over
    return found


def rows(times: dict[str, list[float]], wanted: dict[str, float]):
    yield "seed path (Pillow, eager float32, FastAPI)", spread(times["seed"], "ms", 1), "—"
    for precision in PRECISIONS:
        ratio = median(times["seed"]) / median(times[precision])
        goal = f"{wanted[precision]:g}x" if precision in wanted else "—"
        measured = f"{spread(times[precision], 'ms', 1)}, {ratio:.1f}x the seed path"
        yield f"serve.py, openvino-{precision}", measured, goal
        yield f"the engine alone, {precision}", spread(times[f"{precision} engine"], "ms", 1), "—"
        over = median(a - b for a, b in zip(times[precision], times[f"{precision} engine"], strict=True))
        yield f"HTTP, JPEG and JSON on top, {precision}", f"{over:.2f} ms", "at most 2 ms"


def interleaved(arms: dict[str, Callable[[bytes], Any]], photos: list[bytes], rounds: int) -> dict[str, list[float]]:
    """Milliseconds per arm and request; the arms take turns on the same photo, each alone on the machine."""
    times: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(-5, rounds):
        for name, ask in arms.items():
            time.sleep(SETTLE_SECONDS)
            ask(photos[number % len(photos)])
            for _ in range(COUNTED if number >= 0 else 0):
                began = time.perf_counter()
                ask(photos[number % len(photos)])
                times[name].append(1000 * (time.perf_counter() - began))
    return times


def engine(graph: Path, size: int) -> Callable[[bytes], Any]:
    """The bare call: pixels in, probabilities out."""
    network = optimized.Compiled(graph, graph.stem)
    pixels = smooth_noise(size, 1)
    return lambda _photo: network(pixels)


@contextmanager
def served(command: list[str]):
    """A server process; gives the function that asks it over one open connection."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([*command, str(port)], cwd=ROOT, stdout=subprocess.DEVNULL)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        wait_for(connection, process)
        connection.close()  # it would be idle for too long while the other arms start

        def ask(photo: bytes) -> None:
            if connection.sock is None:
                connection.connect()
                connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.request("POST", "/invocations", photo, {"Content-Type": "image/jpeg"})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status

        yield ask
    finally:
        connection.close()
        process.terminate()
        process.wait()


def wait_for(connection: http.client.HTTPConnection, process: subprocess.Popen) -> None:
    while process.poll() is None:
        try:
            connection.request("GET", "/ping")
            connection.getresponse().read()
            return
        except OSError:
            connection.close()
            time.sleep(0.1)
    raise RuntimeError(f"{process.args} ended with {process.returncode}")


def write_models(folder: Path, backbone: str, weights: Path | None, photos: list[bytes], size: int) -> dict[str, Path]:
    """A model directory per precision, complete with its serving code; returns where their graphs are."""
    if weights is not None:
        (folder / "weights").mkdir()
        shutil.copy(weights, folder / "weights")
    network, feature_dim = backbones.build_backbone(backbone, folder / "weights" if weights else None)
    model = Classifier(network, Head(feature_dim, Settings().hidden_width, CLASSES))
    views = np.stack([images.view(photo, size, max_pixels=10**8) for photo in photos])
    with optimizing.quiet():
        graph = optimizing.convert(optimizing.WholeClassifier(model).eval(), views)
        graphs = {"bf16": graph, "int8": optimizing.quantise(graph, views)}
    info = {
        "backbone": backbone,
        "feature_dim": feature_dim,
        "classes": [f"breed {i}" for i in range(CLASSES)],
        "view_size": size,
        "mean": images.MEAN,
        "std": images.STD,
        "precision": "fp32",
    }
    metrics = EpochMetrics(epoch=1, train_loss=0, train_accuracy=0, validation_loss=0, validation_accuracy=0, seconds=0)
    for precision, each in graphs.items():
        serving = {"form": f"openvino-{precision}", "reason": "this benchmark's arm", "forms": []}
        packaging.write_model(folder / precision, model, info, Settings(), metrics, ROOT / "code", serving)
        output = optimized.Compiled(each, precision)(views[:2])
        optimized.save(each, precision, folder / precision, views[:2], output)
    return {precision: folder / precision / optimized.FOLDER / f"{precision}.xml" for precision in graphs}


def read_photos(archive: Path) -> list[bytes]:
    """JPEG files of the archive, or drawn noise of the same size where there is none."""
    if not archive.exists():
        print(f"No photos at {archive}: drawn pictures of 500 x 500 pixels are sent.")
        return [images.prepare(encoded, max_pixels=10**8, short_side=500) for encoded in noise()]
    with zipfile.ZipFile(archive) as zipped:
        names = [name for name in zipped.namelist() if name.lower().endswith(".jpg")]
        return [zipped.read(name) for name in names[:: max(1, len(names) // PHOTOS)][:PHOTOS]]


def noise() -> list[bytes]:
    import io

    from PIL import Image

    buffers = [io.BytesIO() for _ in range(PHOTOS)]
    for buffer, pixels in zip(buffers, smooth_noise(SEED_SIZE, PHOTOS), strict=True):
        Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return [buffer.getvalue() for buffer in buffers]


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    main()
