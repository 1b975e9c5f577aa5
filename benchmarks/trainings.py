"""Trainings that the Debugger rules must tell apart: sabotaged ones, each with the rule that has to see it, and healthy
ones.

All are code/train.py's own, in this process, on cached features that are drawn here: clusters on a surface of few
dimensions in many, as a network's features are, so near to each other that one photo in ten is mistaken.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import nn

from contract.hyperparameters import Hyperparameters

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "code"))

from breeds.base import distributed  # noqa: E402
from breeds.base.container import InputError  # noqa: E402
from breeds.model import features  # noqa: E402
from breeds.model.classifier import Head  # noqa: E402
from breeds.training import batches, optimization  # noqa: E402

LATENT, DIM, VIEWS = 24, 512, 2
CLASSES, TRAIN, VALID = 20, 1500, 500
SEPARATION = 0.85  # of two cluster centres, in standard deviations of a cluster, along each latent dimension


@dataclass
class Split:
    """x float [views, n, dim]; labels int [n]."""

    x: np.ndarray
    labels: np.ndarray


@dataclass
class Data:
    """A data set before it is written; a sabotage may change it."""

    train: Split
    valid: Split
    classes: int

    def write(self, directory: Path) -> Path:
        directory.mkdir(parents=True)
        for name, split in {"train": self.train, "valid": self.valid}.items():
            with features.Writer(directory, name, "algo-1", split.x.shape) as writer:
                writer.add([f"{name}-{i:06d}" for i in range(len(split.labels))], split.labels.tolist(), split.x)
        info = {
            "backbone": "resnet18",
            "feature_dim": self.train.x.shape[2],
            "image_size": 224,
            "view_size": 256,
            "views": self.train.x.shape[0],
            "classes": [f"breed {number}" for number in range(self.classes)],
            "weights_sha256": "drawn",
            "precision": "fp32",
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
            "counts": {"train": len(self.train.labels), "valid": len(self.valid.labels)},
        }
        features.save_info(directory, info)
        return directory


def draw(
    seed: int,
    *,
    train: int = TRAIN,
    valid: int = VALID,
    classes: int = CLASSES,
    separation: float = SEPARATION,
    dim: int = DIM,
    views: int = VIEWS,
) -> Data:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, LATENT)) * separation
    surface = rng.normal(size=(LATENT, dim)) / LATENT**0.5

    def split(count: int, views: int) -> Split:
        labels = rng.permutation(np.arange(count) % classes)
        photos = centres[labels] + rng.normal(size=(count, LATENT))
        seen = photos + 0.4 * rng.normal(size=(views, count, LATENT))
        x = np.maximum(seen @ surface + 0.1 * rng.normal(size=(views, count, dim)), 0)
        return Split(x, labels)

    return Data(split(train, views), split(valid, 1), classes)


@dataclass(frozen=True, kw_only=True)
class Training:
    """`settings`: train.py's hyperparameters; `data` draws from a seed; `inside` is what goes on around the training.

    `caught_by`: the rule that must find something; empty where none that blocks may.
    """

    name: str
    caught_by: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: Callable[[int], Data] = draw
    inside: Callable[[], Any] = ExitStack
    seed: int = 0


def run(it: Training, folder: Path, collections: list[dict], data: Path | None = None) -> Path:
    """Train under the hook; returns the directory of its tensors. A training that ends itself, as one with NaN does,
    is run all the same. `data`: features that are written already."""
    data = data or it.data(it.seed).write(folder / "features")
    configuration = folder / "debughookconfig.json"
    tensors = folder / "tensors"
    configuration.write_text(json.dumps({"LocalPath": str(tensors), "CollectionConfigurations": collections}))
    with patch.dict(os.environ, {"SMDEBUG_CONFIG_FILE_PATH": str(configuration)}), it.inside():
        try:
            train(data, folder / "model", seed=it.seed, **it.settings)
        except InputError as error:
            print(f"{it.name}: {error}", flush=True)
    return tensors


def train(data: Path, model: Path, **settings: Any) -> None:
    """code/train.py on features, as the job would."""
    import train as script

    model.mkdir()
    script.train(
        script.Job(
            settings=Hyperparameters(optimize="off", checkpoint_seconds=0, **settings),
            directories=script.Directories(features=data, model=model, prepared=None, weights=None, checkpoints=None),
            info=features.load_info(data),
            world=distributed.World(rank=0, size=1, device=torch.device("cpu")),
        )
    )


# Sabotage of the data


def random_labels(seed: int) -> Data:
    data = draw(seed)
    rng = np.random.default_rng(seed)
    for split in (data.train, data.valid):
        split.labels = rng.permutation(split.labels)
    return data


def validation_in_training(seed: int) -> Data:
    """A fifth of the validation photos stand among the training photos too."""
    data = draw(seed)
    count = len(data.valid.labels) // 5
    data.train.x[:, :count] = data.valid.x[:, :count]
    data.train.labels[:count] = data.valid.labels[:count]
    return data


def label_in_the_features(seed: int) -> Data:
    """As where each class was photographed with a camera of its own."""
    data = draw(seed)
    marks = np.random.default_rng(seed).random((data.classes, DIM))
    for split in (data.train, data.valid):
        split.x += 3 * marks[split.labels]
    return data


def one_class_50_times(seed: int) -> Data:
    """Of all classes but the first, a fiftieth of its photos are left."""
    data = draw(seed, train=50 * 12 * CLASSES)
    kept = np.concatenate(
        [np.flatnonzero(data.train.labels == each)[: 600 if each == 0 else 12] for each in range(CLASSES)]
    )
    data.train = Split(data.train.x[:, kept], data.train.labels[kept])
    return data


def features_of_nothing(seed: int) -> Data:
    """Every photo has the same features, as from a broken decoder."""
    data = draw(seed)
    for split in (data.train, data.valid):
        split.x[:] = split.x[:, :1]
    return data


def sixty_images(seed: int) -> Data:
    return draw(seed, train=60, valid=60, classes=6)


def nan_in_one_image(seed: int) -> Data:
    """In one batch of an epoch, if view 1 is drawn: from view 0 the head's standardisation would spread it to all."""
    data = draw(seed)
    data.train.x[1, 700] = np.nan
    return data


# Sabotage of the model and of the loop


def head_with(change: Callable[[Head], None]) -> Callable[[], Any]:
    def make(*arguments: Any) -> Head:
        head = Head(*arguments)
        with torch.no_grad():
            change(head)
        return head

    return lambda: patch("train.Head", make)


def scaled(factor: float) -> Callable[[Head], None]:
    def scale(head: Head) -> None:
        for layer in (head.hidden, head.output):
            layer.weight.mul_(factor)
            layer.bias.mul_(factor)

    return scale


def dead(head: Head) -> None:
    head.hidden.bias.fill_(-100.0)


class DeepSigmoid(Head):
    """Ten sigmoid layers where the head has one of ReLUs."""

    def __init__(self, feature_dim: int, hidden_width: int, *arguments: Any):
        super().__init__(feature_dim, hidden_width, *arguments)
        layers = [layer for _ in range(10) for layer in (nn.Linear(hidden_width, hidden_width), nn.Sigmoid())]
        self.relu = nn.Sequential(*layers)


def in_order_of_classes() -> Any:
    def order(self: batches.FeatureBatches, epoch: int) -> torch.Tensor:
        return self.labels.argsort(stable=True)

    return patch.object(batches.FeatureBatches, "order", order)


def frozen_optimizer() -> Any:
    """The optimizer has copies of the parameters, a mistake that is easily made."""

    def of_copies(name: str, parameters: list[nn.Parameter], **options: Any) -> torch.optim.Optimizer:
        copies = [nn.Parameter(parameter.detach().clone()) for parameter in parameters]
        for copy in copies:
            copy.grad = torch.zeros_like(copy)
        return torch.optim.AdamW(copies, lr=options["learning_rate"])

    return patch.object(optimization, "optimizer", of_copies)


@contextmanager
def gradients_turned_round() -> Iterator[None]:
    """A sign that is wrong: training climbs."""
    made = optimization.optimizer

    def ascending(*arguments: Any, **options: Any) -> torch.optim.Optimizer:
        optimizer = made(*arguments, **options)
        optimizer.param_groups[0]["maximize"] = True
        return optimizer

    with patch.object(optimization, "optimizer", ascending):
        yield


SABOTAGED = (
    Training(name="random labels", caught_by="NotLearning", data=random_labels),
    Training(
        name="tiny initialisation (x 0.0001)", caught_by="PoorWeightInitialization", inside=head_with(scaled(1e-4))
    ),
    Training(name="huge initialisation (x 100)", caught_by="PoorWeightInitialization", inside=head_with(scaled(100.0))),
    Training(name="ten sigmoid layers", caught_by="VanishingGradient", inside=lambda: patch("train.Head", DeepSigmoid)),
    Training(
        name="Adam with learning rate 0.1",
        caught_by="LossNotDecreasing",
        settings={"optimizer": "adam", "learning_rate": 0.1},
    ),
    Training(
        name="no shuffling: in order of classes", caught_by="PoorWeightInitialization", inside=in_order_of_classes
    ),
    Training(name="a fifth of validation in training", caught_by="LabelLeak", data=validation_in_training),
    Training(name="the label in the features", caught_by="LabelLeak", data=label_in_the_features),
    Training(name="dead ReLUs (bias -100)", caught_by="DeadRelu", inside=head_with(dead)),
    Training(name="one class 50x", caught_by="ClassImbalance", data=one_class_50_times),
    Training(name="frozen optimizer", caught_by="UnchangedTensor", inside=frozen_optimizer),
    Training(name="NaN in one batch", caught_by="ExplodingTensor", data=nan_in_one_image),
    Training(
        name="200 epochs on 60 images",
        caught_by="Overfit",
        data=sixty_images,
        settings={"epochs": 200, "patience": 1000},
    ),
    Training(name="gradients turned round", caught_by="LossNotDecreasing", inside=gradients_turned_round),
    Training(name="the same features for all", caught_by="NotLearning", data=features_of_nothing),
)


def small(seed: int) -> Data:
    """As many images and classes as the sample data have, which a first run takes."""
    return draw(seed, train=400, valid=80, classes=8)


def easy(seed: int) -> Data:
    return draw(seed, separation=1.0)


def hard(seed: int) -> Data:
    return draw(seed, separation=0.65)


# Of what the tuner may choose, that which regularises least.
WEAKEST = {"hidden_width": 256, "dropout": 0.3, "batch_size": 128, "weight_decay": 1e-4, "label_smoothing": 0.05}

HEALTHY = (
    Training(name="defaults"),
    Training(name="defaults, another seed", seed=1),
    Training(name="defaults, 3 epochs", seed=2, settings={"epochs": 3}),
    Training(name="learning rate 0.0003", seed=3, settings={"learning_rate": 3e-4}),
    Training(name="learning rate 0.005", seed=4, settings={"learning_rate": 5e-3}),
    Training(name="20 epochs", seed=5, settings={"epochs": 20}),
    Training(name="128 hidden units, dropout 0.3", seed=6, settings={"hidden_width": 128, "dropout": 0.3}),
    Training(name="1024 hidden units", seed=7, settings={"hidden_width": 1024}),
    Training(name="mixup 0.2", seed=8, settings={"mixup_alpha": 0.2}),
    Training(name="mixup 0.2, 3 epochs", seed=9, settings={"mixup_alpha": 0.2, "epochs": 3}),
    Training(name="batch 32", seed=10, settings={"batch_size": 32}),
    Training(name="batch 256", seed=11, settings={"batch_size": 256, "learning_rate": 3e-3}),
    Training(name="moving average 0.99", seed=12, settings={"ema_decay": 0.99}),
    Training(name="easy data", seed=13, data=easy),
    Training(name="hard data, dropout 0.7", seed=14, data=hard, settings={"dropout": 0.7}),
    Training(name="400 images of 8 classes", seed=15, data=small),
    Training(name="400 images of 8 classes, 3 epochs", seed=16, data=small, settings={"epochs": 3}),
    Training(name="400 images of 8 classes, 1 epoch", seed=17, data=small, settings={"epochs": 1}),
    Training(name="60 images of 6 classes, 3 epochs", seed=18, data=sixty_images, settings={"epochs": 3}),
    Training(name="learning rate 0.005, mixup 0.4", seed=19, settings={"learning_rate": 5e-3, "mixup_alpha": 0.4}),
    Training(name="256 hidden units, dropout 0.3, batch 128", seed=20, settings=WEAKEST),
)


def default_collections(debugger: str = "open") -> list[dict[str, Any]]:
    """What the Train step of the pipeline saves, with this setting of who judges."""
    from pipeline import definition, settings

    steps = json.loads(definition.definition(settings.from_environment({"PAWLINE_DEBUGGER": debugger})))["Steps"]
    (step,) = [step for step in steps if step["Name"] == "Train"]
    return step["Arguments"]["DebugHookConfig"]["CollectionConfigurations"]
