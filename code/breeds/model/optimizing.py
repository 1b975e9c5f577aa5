"""Makes the classifier's OpenVINO forms after training, measures them, and keeps the fastest that agrees."""

import contextlib
import copy
import io
import logging
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from breeds.base import extras
from breeds.data import images, shards
from breeds.model import optimized, unknown
from breeds.model.backbones import for_inference
from breeds.model.classifier import Classifier

MIN_AGREEMENT = 0.99  # of top-1 with float32, on validation images
CALIBRATION_IMAGES = 128  # more changed no agreement measured, and each costs a float32 pass
VALIDATION_IMAGES = 256
CHECKED_IMAGES = 8  # on which the graph is compared with PyTorch itself
SAMPLE_IMAGES = 4
MAX_GRAPH_DIFFERENCE = 1e-3  # of a probability, between the graph and PyTorch, both float32
ROUNDS = 15


class FromPixels(nn.Module):
    """A backbone with its normalisation: uint8 [n, size, size, 3] -> features [n, feature_dim]."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module):
        super().__init__()
        self.backbone = backbone
        self.register_buffer("mean", torch.tensor(images.MEAN).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(images.STD).view(1, 3, 1, 1) * 255)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.backbone((pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std)


class WholeClassifier(nn.Module):
    """uint8 [n, size, size, 3] -> calibrated logits [n, num_classes]."""

    def __init__(self, model: Classifier):
        super().__init__()
        self.features = FromPixels(for_inference(model.backbone))
        self.head = copy.deepcopy(model.head)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head.calibrated(self.features(pixels))


def optimise(model: Classifier, prepared: Path | None, image_size: int, directory: Path, seed: int) -> dict[str, Any]:
    """Write the chosen form into `directory` (a model's); returns "serving" and "unknown" of model.json.

    Whatever goes wrong is a reason to serve with PyTorch, never to lose the training.
    """
    if prepared is None:
        return _by_pytorch("there are no prepared images to measure on")
    if missing := extras.ensure(extras.OPTIMISING):
        return _by_pytorch(missing)
    began = time.perf_counter()
    try:
        calibration = _views(prepared, "train", CALIBRATION_IMAGES, image_size, seed)
        validation = _views(prepared, "valid", VALIDATION_IMAGES, image_size, seed)
        with quiet():
            serving = _choose(model, calibration, validation, directory)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        return _by_pytorch(f"the optimised forms failed: {type(error).__name__}: {reason}"[:300])
    return {**serving, "seconds": round(time.perf_counter() - began, 1)}


def _choose(model: Classifier, calibration: np.ndarray, validation: np.ndarray, directory: Path) -> dict[str, Any]:
    graph = convert(WholeClassifier(copy.deepcopy(model).cpu()).eval(), validation)
    graphs = {"fp32": graph, "int8": quantise(graph, calibration)}
    if "BF16" in optimized.import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        graphs["bf16"] = graph
    networks = {precision: optimized.Compiled(graph, precision) for precision, graph in graphs.items()}
    milliseconds = _latencies(networks, validation[:1])
    outputs = {precision: network(validation) for precision, network in networks.items()}
    reference = outputs["fp32"]
    agreements = {p: float((out.argmax(1) == reference.argmax(1)).mean()) for p, out in outputs.items()}
    fastest = sorted(networks, key=milliseconds.__getitem__)
    chosen = next(precision for precision in fastest if agreements[precision] >= MIN_AGREEMENT)
    sure = np.argsort(-optimized.softmax(reference).max(1), kind="stable")[:SAMPLE_IMAGES]
    optimized.save(graphs[chosen], chosen, directory, validation[sure], outputs[chosen][sure])
    forms = [
        {
            "name": optimized.PREFIX + precision,
            "agreement": round(agreements[precision], 4),
            "milliseconds": round(milliseconds[precision], 3),
            "images": len(validation),
        }
        for precision in fastest
    ]
    left_out = [p for p in fastest[: fastest.index(chosen)]]
    reason = f"{', '.join(left_out)} agreed on less than {MIN_AGREEMENT:.0%}" if left_out else "the fastest that agrees"
    known = unknown.choose_threshold(outputs[chosen])
    return {"form": optimized.PREFIX + chosen, "reason": reason, "forms": forms, "unknown": known}


def convert(whole: WholeClassifier, views: np.ndarray) -> Any:
    """The graph for one image. Raises ValueError where it does not compute what PyTorch computes."""
    size = list(views.shape[1:])
    with torch.no_grad():
        graph = optimized.import_openvino().convert_model(
            whole, example_input=torch.zeros(1, *size, dtype=torch.uint8), input=[1, *size]
        )
        expected = whole(torch.from_numpy(views[:CHECKED_IMAGES])).numpy()
    given = optimized.Compiled(graph, "fp32")(views[:CHECKED_IMAGES])
    difference = float(np.abs(optimized.softmax(given) - optimized.softmax(expected)).max())
    if difference > MAX_GRAPH_DIFFERENCE:
        raise ValueError(f"the graph's probabilities are off by {difference:.4f}")
    return graph


def quantise(graph: Any, calibration: np.ndarray) -> Any:
    """int8 weights and activations; ranges are taken from `calibration`, training images."""
    import nncf

    dataset = nncf.Dataset([view[None] for view in calibration])
    return nncf.quantize(graph, dataset, subset_size=len(calibration), preset=nncf.QuantizationPreset.MIXED)


def _latencies(networks: dict[str, optimized.Compiled], view: np.ndarray) -> dict[str, float]:
    """Milliseconds for one image, median of interleaved rounds: what else the machine does hits all forms alike."""
    times: dict[str, list[float]] = {precision: [] for precision in networks}
    for _ in range(ROUNDS + 1):
        for precision, network in networks.items():
            began = time.perf_counter()
            network(view)
            times[precision].append(1000 * (time.perf_counter() - began))
    return {precision: median(taken[1:]) for precision, taken in times.items()}


def _views(prepared: Path, split: str, count: int, image_size: int, seed: int) -> np.ndarray:
    """uint8 [at most count, image_size, image_size, 3]. Raises ValueError where the split is empty."""
    found = [
        images.center_view(shards.decode(j), image_size) for j in shards.sample_jpegs(prepared, split, count, seed)
    ]
    if not found:
        raise ValueError(f"no prepared {split} images")
    return np.stack(found)


def _by_pytorch(reason: str) -> dict[str, Any]:
    return {"form": "pytorch", "reason": reason, "forms": []}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without progress bars and tracer warnings: a training's log is read by people and by metric patterns."""
    disabled = logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(disabled)
