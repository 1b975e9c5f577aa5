"""The trained classifier as evaluation and the endpoint use it: one way from an image to breeds."""

import io
import json
import pickle
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import nn

from breeds.base.container import InputError, first_line
from breeds.data import images
from breeds.model import backbones, optimized, unknown
from breeds.model.classifier import Classifier, Head
from breeds.model.embedding import choose_embedder
from contract import pictures

MAX_PIXELS = pictures.MAX_PIXELS
WARM_UP_ROUNDS = 5


@dataclass(frozen=True)
class Prediction:
    """A breed and its probability (0 to 1)."""

    breed: str
    probability: float


class Network(Protocol):
    """The classifier in one of its forms: uint8 [n, image_size, image_size, 3] -> calibrated logits [n, classes].

    Safe to call from several threads; `workers` of them keep the machine busy when each also decodes its images.
    """

    form: str
    workers: int

    def __call__(self, views: np.ndarray) -> np.ndarray: ...


class PyTorch:
    """The classifier as PyTorch runs it, the backbone as when the features were embedded: bfloat16 where it agrees."""

    workers = 1  # a call uses all cores already

    def __init__(self, model: Classifier, image_size: int, device: torch.device):
        self._embedder = choose_embedder(model.backbone, smooth_noise(image_size))
        self._head = model.head.eval().to(device)
        self._device = device
        self.form = f"pytorch-{self._embedder.precision}"

    @torch.inference_mode()
    def __call__(self, views: np.ndarray) -> np.ndarray:
        features = torch.from_numpy(self._embedder(views)).to(self._device)
        return self._head.calibrated(features.float()).cpu().numpy()


class Predictor:
    """A model directory (docs/formats.md, model.tar.gz) ready to answer; safe to call from several threads."""

    def __init__(self, network: Network, info: dict[str, Any]):
        self.info = info
        self.network = network
        self.classes: list[str] = info["classes"]
        self.image_size: int = info["preprocessing"]["image_size"]
        self.resize: int = info["preprocessing"]["resize"]

    def view(self, data: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
        """uint8 [image_size, image_size, 3] of an image file's bytes, cut as embedding cut it. Raises Rejected."""
        return images.view(data, self.image_size, self.resize, max_pixels=max_pixels)

    def probabilities(self, views: np.ndarray) -> np.ndarray:
        """uint8 [n, image_size, image_size, 3] -> float32 [n, num_classes]."""
        return self.answers(views)[0]

    def answers(self, views: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """(probabilities float32 [n, num_classes], unknown scores float32 [n], above 0 for what is no known breed).

        No scores where the model was trained without them.
        """
        logits = self.network(views)
        return optimized.softmax(logits), unknown.scores(logits, self.info)

    def predict(self, data: bytes, top: int = 5) -> list[Prediction]:
        """The `top` most probable breeds of one image, most probable first. Raises Rejected."""
        probabilities = self.probabilities(self.view(data)[None])[0]
        best = np.argsort(-probabilities, kind="stable")[:top]
        return [Prediction(self.classes[i], float(probabilities[i])) for i in best]

    def warm_up(self) -> None:
        """A few predictions, so that the first request does not pay for what only a first one needs."""
        picture = io.BytesIO()
        Image.fromarray(smooth_noise(2 * self.image_size, 1)[0]).save(picture, "JPEG")
        for _ in range(WARM_UP_ROUNDS):
            self.predict(picture.getvalue())


def smooth_noise(size: int, count: int = 4) -> np.ndarray:
    """uint8 [count, size, size, 3], the same each time: coarse to fine noise, in place of photos to compare on."""
    random = np.random.default_rng(0)
    layers = [random.normal(size=(count, cells, cells, 3)).astype(np.float32) for cells in (3, 6, 12, 24, 48)]
    scaled = [nn.functional.interpolate(torch.from_numpy(x).permute(0, 3, 1, 2), size, mode="bilinear") for x in layers]
    total = sum(scaled, start=torch.zeros(()))
    return (128 + 40 * total).clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


def load(directory: Path) -> Predictor:
    """The predictor of a model directory, in the fastest form that training found to agree and that runs here.

    Raises InputError where a file is missing, damaged or not whole.
    """
    info = load_info(directory)
    if info.get("head_only"):
        raise InputError(
            f"{directory} holds a head without its backbone: a tuning trial.", "Serve what the Train step made."
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network: Network | None = optimized.load(directory, info) if device.type == "cpu" else None
    if network is None:
        network = PyTorch(load_classifier(directory, info), info["preprocessing"]["image_size"], device)
    return Predictor(network, info)


def load_classifier(directory: Path, info: dict[str, Any]) -> Classifier:
    """model.pth as float32 on the CPU. Raises InputError."""
    # Loading into an empty shell skips the random weights that would be overwritten anyway.
    with torch.device("meta"):
        backbone, feature_dim = backbones.architecture(info["backbone"])
        hidden_width = info["hyperparameters"]["hidden_width"]
        classifier = Classifier(backbone, Head(feature_dim, hidden_width, len(info["classes"])))
    try:
        state = torch.load(directory / "model.pth", map_location="cpu", weights_only=True)
        classifier.load_state_dict(state, assign=True)
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        problem = f"{directory / 'model.pth'} cannot be used: {first_line(error)}"
        raise InputError(problem, "Train the model again.") from None
    return classifier


def load_info(directory: Path) -> dict[str, Any]:
    """model.json. Raises InputError where it is missing or of another format."""
    path = directory / "model.json"
    try:
        info = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{directory} holds no model: {error}.", "Give the content of a model.tar.gz.") from None
    if info.get("format") != 1:
        raise InputError(f"{path} has format {info.get('format')}; this code reads format 1.", "Train the model again.")
    return info


def unpack(archive: Path, directory: Path) -> None:
    """Unpack a model.tar.gz; links, devices and paths that lead outside are refused. Raises InputError."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            tar.extractall(directory, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(
            f"{archive} cannot be unpacked: {error}.", "Give the model.tar.gz of a training job."
        ) from None
