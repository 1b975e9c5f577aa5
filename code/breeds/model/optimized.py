"""The classifier in OpenVINO's form: one graph from pixels to calibrated logits, several times as fast on a CPU.

Running it needs openvino alone; optimizing.py makes it.
"""

import queue
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from breeds.base.container import cores, first_line

FOLDER = "openvino"  # in the model archive
SAMPLE = "sample.npz"  # views and their probabilities, to check on whatever machine serves
PREFIX = "openvino-"
HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}  # what is not quantised stays exact
CORES_PER_STREAM = 4
MAX_DIFFERENCE = 0.1  # of a probability on the sample: rounding differs between CPUs, a broken graph is far off


def import_openvino() -> Any:
    """The module `openvino`, without the package by which it reports its use. Raises ImportError."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


class Streams:
    """A graph on the CPU, as so many requests as there are streams: each call waits for one that is idle."""

    def __init__(self, graph: Any, precision: str, hint: str, streams: int):
        settings = {
            "PERFORMANCE_HINT": hint,
            "NUM_STREAMS": str(streams),
            "INFERENCE_NUM_THREADS": str(cores()),
            "INFERENCE_PRECISION_HINT": HINTS[precision],
        }
        self.compiled = import_openvino().Core().compile_model(graph, "CPU", settings)
        self._idle: queue.SimpleQueue = queue.SimpleQueue()
        for _ in range(streams):
            self._idle.put(self.compiled.create_infer_request())

    def __call__(self, pixels: np.ndarray, dtype: type[np.floating]) -> np.ndarray:
        """A copy of the output for uint8 [n, size, size, 3]: float [n, outputs]."""
        request = self._idle.get()
        try:
            request.infer([np.ascontiguousarray(pixels)])
            return request.get_output_tensor(0).data.astype(dtype)
        finally:
            self._idle.put(request)


class Compiled:
    """A graph for one image, ready to run: uint8 [n, size, size, 3] -> logits [n, num_classes], from any thread.

    A stream works on one image at a time with up to four cores: on two cores one stream answers a lone request in half
    the time of two streams, and many requests at the same rate.
    """

    def __init__(self, graph: Any, precision: str):
        """`graph`: an openvino.Model, or the path of its .xml. `precision`: a key of HINTS."""
        streams = max(1, cores() // CORES_PER_STREAM)
        self._run = Streams(graph, precision, "LATENCY", streams)
        self.form = PREFIX + precision
        self.workers = streams + 1  # one more decodes while the others compute
        self.num_classes = self._run.compiled.output(0).shape[1]
        self._pool = ThreadPoolExecutor(streams, "stream") if streams > 1 else None

    def __call__(self, views: np.ndarray) -> np.ndarray:
        answers = self._pool.map(self._one, views) if self._pool and len(views) > 1 else map(self._one, views)
        return np.stack(list(answers)) if len(views) else np.empty((0, self.num_classes), np.float32)

    def _one(self, view: np.ndarray) -> np.ndarray:
        return self._run(view[None], np.float32)[0]


def load(directory: Path, info: dict[str, Any]) -> Compiled | None:
    """The form that model.json names under "serving"; None, with a line that says why, where it cannot be used."""
    precision = chosen(info)
    if precision is None:
        return None
    try:
        network = Compiled(directory / FOLDER / f"{precision}.xml", precision)
        with np.load(directory / FOLDER / SAMPLE) as sample:
            problem = disagreement(softmax(network(sample["views"])), sample["probabilities"])
    except ImportError:
        problem = "openvino is not installed"
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        problem = first_line(error)
    if problem:
        print(f"serving: PyTorch in place of {PREFIX}{precision}: {problem}", flush=True)
        return None
    print(f"serving: {network.form}", flush=True)
    return network


def chosen(info: dict[str, Any]) -> str | None:
    """The precision of the form that model.json chose; None where that is PyTorch."""
    form = (info.get("serving") or {}).get("form", "")
    return form.removeprefix(PREFIX) if form.startswith(PREFIX) else None


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities float32 [n, num_classes] of logits of that shape."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def disagreement(given: np.ndarray, expected: np.ndarray) -> str | None:
    """Why these probabilities [n, num_classes] are not those of the same classifier; None where they are."""
    if given.shape != expected.shape:
        return f"it gives {list(given.shape)} probabilities on its sample, not {list(expected.shape)}"
    if not (given.argmax(1) == expected.argmax(1)).all():
        return "it names other breeds than it did in training on its sample"
    difference = float(np.abs(given - expected).max(initial=0.0))
    return None if difference <= MAX_DIFFERENCE else f"its probabilities are off by {difference:.2f} on its sample"


def save(graph: Any, precision: str, directory: Path, views: np.ndarray, logits: np.ndarray) -> None:
    """Write the graph and the sample that `load` reads."""
    folder = directory / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    import_openvino().save_model(graph, folder / f"{precision}.xml", compress_to_fp16=False)
    np.savez_compressed(folder / SAMPLE, views=views, probabilities=softmax(logits))


def summary(serving: dict[str, Any]) -> str:
    """One line for the log on what was measured and chosen."""
    if not serving["forms"]:
        return f"serving: {serving['form']} ({serving['reason']})"
    forms = ", ".join(f"{f['name']} {f['milliseconds']:.1f} ms agrees {f['agreement']:.3f}" for f in serving["forms"])
    return f"serving: {serving['form']} of {forms} ({serving['forms'][0]['images']} validation images)"
