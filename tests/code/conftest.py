"""Features, tensors and a whole small model for the tests of `code/`, all made by the real scripts."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from breeds.debugger import hook
from breeds.model import features
from breeds.model.classifier import Head
from PIL import Image, ImageDraw
from torch import nn

from contract.tensors import collections as default_collections
from tests.waiting import HANG

CODE = Path(__file__).resolve().parents[2] / "code"


def load_script(name: str) -> ModuleType:
    """An entry point of `code/` by path: `code` is also a module of the standard library."""
    spec = importlib.util.spec_from_file_location(f"pawline_code_{name}", CODE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def run_script(name: str, *arguments: object, env: dict[str, str] | None = None, launcher: tuple = ()):
    """Run an entry point as a process of its own; returns what subprocess.run returns, with text output."""
    command = [sys.executable, *launcher, str(CODE / f"{name}.py"), *map(str, arguments)]
    # One thread each: the machines that run tests have few cores and several processes.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANG)


@pytest.fixture(scope="session")
def script() -> Callable[..., subprocess.CompletedProcess]:
    return run_script


@pytest.fixture
def script_process():
    """Start an entry point and leave it running; its output is a pipe of text. What still runs at the end is killed."""
    started = []

    def start(name: str, *arguments: object, env: dict[str, str]) -> subprocess.Popen:
        command = [sys.executable, str(CODE / f"{name}.py"), *map(str, arguments)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **env}
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="session")
def scripts() -> Callable[[str], ModuleType]:
    return load_script


def save_part(directory: Path, split: str, host: str, labels: np.ndarray, x: np.ndarray) -> None:
    """One host's features [views, n, dim], with keys that count the images."""
    with features.Writer(directory, split, host, x.shape) as writer:
        writer.add([f"{split}-{i:012x}" for i in range(len(labels))], labels.tolist(), x)


@pytest.fixture(scope="session")
def save_features() -> Callable[..., None]:
    return save_part


def write_features(
    directory: Path,
    *,
    num_train: int = 120,
    num_valid: int = 60,
    dim: int = 16,
    classes: int = 4,
    views: int = 2,
    separation: float = 2.0,
    weights: str = "random:0",
    backbone: str = "resnet18",
    seed: int = 0,
) -> Path:
    """Gaussian clusters in the features format; `separation` is how far apart they are in standard
    deviations; 0 leaves labels that have nothing to do with the features."""
    rng = np.random.default_rng(seed)
    directory.mkdir(parents=True, exist_ok=True)
    centres = rng.normal(size=(classes, dim)) * separation
    counts = {"train": num_train, "valid": num_valid, "test": num_valid}
    for split, count in counts.items():
        labels = rng.integers(classes, size=count)
        x = centres[labels] + rng.normal(size=(views if split == "train" else 1, count, dim))
        save_part(directory, split, "algo-1", labels, x)
    info = {
        "backbone": backbone,
        "feature_dim": dim,
        "image_size": 224,
        "views": views,
        "classes": [f"breed {i}" for i in range(classes)],
        "weights_sha256": weights,
        "precision": "fp32",
        "view_size": 256,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "counts": counts,
    }
    features.save_info(directory, info)
    return directory


@pytest.fixture(scope="session")
def make_features() -> Callable[..., Path]:
    return write_features


@pytest.fixture
def one_thread():
    """PyTorch in this process on one thread: the same sums everywhere, and no waiting for a core that is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def train(monkeypatch, capsys) -> Callable[..., str]:
    """Run train.py's main in this process; returns what it printed."""
    module = load_script("train")
    for name in [name for name in os.environ if name.startswith("SM_")]:
        monkeypatch.delenv(name)

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["train.py", *map(str, arguments)])
        module.main()
        return capsys.readouterr().out

    return run


def write_hook_configuration(directory: Path, tensors: Path, collections: list[dict] | None = None) -> Path:
    path = directory / "debughookconfig.json"
    content = {
        "LocalPath": str(tensors),
        "CollectionConfigurations": default_collections() if collections is None else collections,
    }
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(scope="session")
def hook_configuration() -> Callable[..., Path]:
    return write_hook_configuration


@pytest.fixture(scope="session")
def tensors(script, make_features, hook_configuration, tmp_path_factory):
    """What the real hook saved of a small training."""
    root = tmp_path_factory.mktemp("trial")
    data = make_features(root / "f", num_train=120, dim=32, separation=0.6)
    env = {"SMDEBUG_CONFIG_FILE_PATH": str(hook_configuration(root, root / "tensors"))}
    done = script("train", "--features", data, "--model-dir", root / "m", "--hidden-width", 64, "--epochs", 3, env=env)
    assert done.returncode == 0, done.stderr
    return root / "tensors"


@pytest.fixture
def save_losses(tmp_path, hook_configuration, monkeypatch):
    """Save a trial with chosen losses: epochs of (training losses, validation losses)."""

    from breeds.debugger.rules import open_trial

    def save(epochs):
        monkeypatch.setenv("SMDEBUG_CONFIG_FILE_PATH", str(hook_configuration(tmp_path, tmp_path / "tensors")))
        debugger, model, criterion = hook.create(), nn.Linear(1, 1), nn.L1Loss()
        debugger.register(model, criterion)
        for train_losses, validation_losses in epochs:
            for set_mode, values in ((debugger.train, train_losses), (debugger.eval, validation_losses)):
                set_mode()
                for value in values:
                    model(torch.ones(1, 1)).sum().backward()
                    criterion(torch.tensor([float(value)]), torch.zeros(1))
        debugger.close()
        return open_trial(tmp_path / "tensors")

    return save


@pytest.fixture
def save_head_training(tmp_path, hook_configuration, monkeypatch):
    """Train a head on standard normal features under the hook, after `prepare` had its way with it."""

    from breeds.debugger.rules import open_trial

    def save(prepare=lambda head: None, steps=12, learning_rate=1e-3, evaluate=False, collections=None):
        configuration = hook_configuration(tmp_path, tmp_path / "tensors", collections)
        monkeypatch.setenv("SMDEBUG_CONFIG_FILE_PATH", str(configuration))
        torch.manual_seed(0)
        head, criterion, debugger = Head(32, 64, 4), nn.CrossEntropyLoss(), hook.create()
        prepare(head)
        debugger.register(head, criterion)
        optimizer = torch.optim.AdamW(head.parameters(), lr=learning_rate)
        features = torch.randn(64, 32)
        labels = (features[:, 0] > 0).long() + 2 * (features[:, 1] > 0).long()
        debugger.train()
        for _ in range(steps):
            optimizer.zero_grad()
            criterion(head(features), labels).backward()
            optimizer.step()
        if evaluate:
            debugger.eval()
            criterion(head(features), labels)
        debugger.close()
        return open_trial(tmp_path / "tensors")

    return save


@dataclass(frozen=True)
class SmallModel:
    """One run of prepare, embed and train on drawn pictures of three classes, with random weights of a resnet18."""

    prepared: Path
    weights: Path
    features: Path
    model: Path
    picture: Path


COLOURS = {"001.Red_circle": "red", "002.Blue_square": "blue", "003.Green_triangle": "green"}


def draw(kind: str, rng: np.random.Generator) -> Image.Image:
    image = Image.fromarray(rng.integers(90, 160, (72, 84, 3), dtype=np.uint8))
    x, y, size = rng.integers(8, 30), rng.integers(8, 24), rng.integers(30, 40)
    pen, box = ImageDraw.Draw(image), (x, y, x + size, y + size)
    if "circle" in kind:
        pen.ellipse(box, COLOURS[kind])
    elif "square" in kind:
        pen.rectangle(box, COLOURS[kind])
    else:
        pen.polygon([(x, y + size), (x + size // 2, y), (x + size, y + size)], COLOURS[kind])
    return image


@pytest.fixture(scope="session")
def small_model(tmp_path_factory) -> SmallModel:
    root = tmp_path_factory.mktemp("small-model")
    rng = np.random.default_rng(0)
    for split, count in {"train": 12, "valid": 6, "test": 7}.items():
        for kind in COLOURS:
            folder = root / "raw" / "data" / split / kind
            folder.mkdir(parents=True)
            for number in range(count):
                draw(kind, rng).save(folder / f"{number}.jpg", quality=90)
    weights = root / "weights"
    weights.mkdir()
    (weights / "random.json").write_text('{"kind": "random", "seed": 0}')
    made = SmallModel(root / "prepared", weights, root / "features", root / "model", root / "picture.jpg")
    draw("001.Red_circle", rng).save(made.picture)
    for name, arguments in {
        "prepare": ("--input", root / "raw", "--output", made.prepared, "--short-side", 72),
        "embed": (
            *("--prepared", made.prepared, "--weights", weights, "--output", made.features),
            *("--backbone", "resnet18", "--image-size", 64, "--views", 2),
        ),
        "train": ("--features", made.features, "--weights", weights, "--model-dir", made.model, "--batch-size", 8),
    }.items():
        done = run_script(name, *arguments)
        assert done.returncode == 0, done.stderr
    return made
