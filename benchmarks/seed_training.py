"""Training as the starting document does it, B0, made to run; B1 is the same with settings that learn.

A frozen network in train mode, so that its batch norm drifts; Pillow and torchvision's transforms without
normalisation; no workers, no seed, float32 on the CPU; gradients are not disabled in evaluation either.
"""

import io
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import models, transforms

TRAIN = transforms.Compose(
    [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
)
EVALUATE = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor()])


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Adam's learning rate and the batch size."""

    learning_rate: float
    batch_size: int


B0 = Recipe(learning_rate=0.01226, batch_size=128)
B1 = Recipe(learning_rate=0.00136, batch_size=32)


class Photos(Dataset):
    """One split of a dogImages-shaped zip: (float [3, 224, 224], label)."""

    def __init__(self, archive: Path, split: str, transform: transforms.Compose):
        self.archive, self.transform = zipfile.ZipFile(archive), transform
        paths = [PurePosixPath(name) for name in sorted(self.archive.namelist()) if name.lower().endswith(".jpg")]
        self.classes = sorted({path.parent.name for path in paths})
        label = {name: number for number, name in enumerate(self.classes)}
        self.files = [(str(path), label[path.parent.name]) for path in paths if path.parent.parent.name == split]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        name, label = self.files[index]
        return self.transform(Image.open(io.BytesIO(self.archive.read(name))).convert("RGB")), label


def network(backbone: str, classes: int, weights: Path | None = None) -> nn.Module:
    """torchvision's network, frozen, with the document's head Linear(n, 128)-ReLU-Linear(128, classes)."""
    model = getattr(models, backbone)(weights=None)
    if weights is not None:
        model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True), strict=False)
    model.requires_grad_(False)
    name = "fc" if backbone.startswith("resnet") else "classifier"
    last = getattr(model, name)
    width = last.in_features if name == "fc" else last[-1].in_features
    setattr(model, name, nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, classes)))
    return model


@dataclass
class Rate:
    """Images passed and seconds taken so far."""

    images: int = 0
    seconds: list[float] = field(default_factory=list)

    @property
    def per_image(self) -> float:
        return sum(self.seconds) / self.images


class Training:
    """One training of a recipe; whole epochs, or so many batches at a time.

    Without `drifts` the frozen network is in eval mode, which the document's was not.
    """

    def __init__(
        self, archive: Path, backbone: str, recipe: Recipe, weights: Path | None = None, *, drifts: bool = True
    ):
        self.drifts = drifts
        transform = {"train": TRAIN, "valid": EVALUATE, "test": EVALUATE}
        self.splits = {split: Photos(archive, split, each) for split, each in transform.items()}
        self.recipe = recipe
        self.model = network(backbone, len(self.splits["train"].classes), weights)
        self.criterion = nn.CrossEntropyLoss()
        head = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(head, lr=recipe.learning_rate)

    def loader(self, split: str, images: int | None = None) -> DataLoader:
        """The split shuffled, or as many of its images at random."""
        chosen = RandomSampler(self.splits[split], num_samples=images)
        return DataLoader(self.splits[split], batch_size=self.recipe.batch_size, sampler=chosen, num_workers=0)

    def train(self, images: int | None = None) -> Rate:
        """One epoch, or as many images of one."""
        self.model.train(self.drifts)
        return _timed(self._train_steps(self.loader("train", images)))

    def evaluate(self, split: str, images: int | None = None) -> tuple[float, Rate]:
        """Accuracy on a split, or on as many images of it."""
        self.model.eval()
        correct: list[int] = []
        rate = _timed(self._evaluation_steps(self.loader(split, images), correct))
        return sum(correct) / rate.images, rate

    def _train_steps(self, batches: DataLoader) -> Iterator[int]:
        for inputs, labels in batches:
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(inputs), labels)
            loss.backward()
            self.optimizer.step()
            yield len(labels)

    def _evaluation_steps(self, batches: DataLoader, correct: list[int]) -> Iterator[int]:
        for inputs, labels in batches:
            logits = self.model(inputs)
            self.criterion(logits, labels).item()
            correct.append(int((logits.argmax(1) == labels).sum()))
            yield len(labels)


def _timed(steps: Iterator[int]) -> Rate:
    rate, began = Rate(), time.perf_counter()
    for images in steps:
        rate.images += images
        rate.seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
    return rate


def whole_way(counts: dict[str, int], train: Rate, evaluate: Rate, *, trials: int, epochs: int) -> float:
    """Seconds of `trials` trainings and the final one: each `epochs` passes over train and valid, then test once."""
    epoch = counts["train"] * train.per_image + counts["valid"] * evaluate.per_image
    return (trials + 1) * (epochs * epoch + counts["test"] * evaluate.per_image)
