"""ResNet-50 fine-tuning, images per second on a GPU: ours in bf16, ours in fp32, and torchvision's reference recipe.

    python -m benchmarks.gpu [--images 4000 | --full | --quick | --device cpu]

Ours is code/train.py with all stages trainable on what Prepare and Embed made; in fp32 it is the same script, told by
features.json that the features are. The recipe is what torchvision's references/classification/train.py does by
default: all layers, SGD 0.1 with momentum 0.9 and weight decay 1e-4, batch 32, RandomResizedCrop and flip on Pillow in
16 worker processes, float32; and the same with --amp. Weights are random: they change no time.

Where there is no GPU it says so and measures nothing.
"""

import argparse
import io
import json
import os
import shutil
import tempfile
import time
import zipfile
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import models, transforms

from benchmarks.jobs import script
from benchmarks.machine import Row, print_table, spread
from benchmarks.photos import write_data_set

NORMALISE = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Photos(Dataset):
    """The train split of a zip as torchvision's recipe reads it, each worker with its own handle."""

    def __init__(self, archive: Path, image_size: int):
        self.path, self.archive = archive, None
        crop = transforms.RandomResizedCrop(image_size, antialias=True)
        steps = [crop, transforms.RandomHorizontalFlip(), transforms.PILToTensor()]
        self.transform = transforms.Compose([*steps, transforms.ConvertImageDtype(torch.float), NORMALISE])
        with zipfile.ZipFile(archive) as zipped:
            self.names = [name for name in zipped.namelist() if "/train/" in name]
        self.classes = sorted({name.split("/")[-2] for name in self.names})

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        self.archive = self.archive or zipfile.ZipFile(self.path)
        name = self.names[index]
        image = Image.open(io.BytesIO(self.archive.read(name))).convert("RGB")
        return self.transform(image), self.classes.index(name.split("/")[-2])


def recipe(archive: Path, device: str, image_size: int, epochs: int, *, amp: bool) -> list[float]:
    """Images per second of each epoch after the first, which starts the workers and tunes the kernels."""
    photos = Photos(archive, image_size)
    batches = DataLoader(
        photos,
        batch_size=32,
        shuffle=True,
        num_workers=min(16, os.cpu_count() or 1),
        pin_memory=device == "cuda",
        persistent_workers=True,
    )
    model = models.resnet50(weights=None, num_classes=len(photos.classes)).to(device).train()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    scaler = torch.amp.GradScaler(device, enabled=amp)
    rates = []
    for _ in range(epochs):
        began, images = time.perf_counter(), 0
        for inputs, labels in batches:
            inputs, labels = inputs.to(device), labels.to(device)
            with torch.autocast(device, enabled=amp, dtype=torch.float16 if device == "cuda" else torch.bfloat16):
                loss = criterion(model(inputs), labels)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            images += len(labels)
        loss.item()  # waits for the device
        rates.append(images / (time.perf_counter() - began))
    return rates[1:] or rates


def ours(folder: Path, features: Path, epochs: int, batch_size: int) -> list[float]:
    """Images per second of each fine-tuning epoch after the first, validation included, as train.py prints them."""
    done = script(
        "train",
        *("--features", features, "--prepared", folder / "prepared", "--weights", folder / "weights"),
        *("--model-dir", folder / "model", "--epochs", 1, "--trainable-stages", 5, "--optimize", "off"),
        *("--fine-tune-epochs", epochs, "--batch-size", batch_size, "--patience", 1000),
    )
    seconds = done.epoch_seconds[1:]  # the first is the head's
    images = json.loads((features / "features.json").read_text())["counts"]["train"]
    return [images / each for each in seconds[1:] or seconds]


def as_fp32(features: Path) -> Path:
    copy = features.with_name("features-fp32")
    shutil.copytree(features, copy)
    info = json.loads((copy / "features.json").read_text())
    (copy / "features.json").write_text(json.dumps({**info, "precision": "fp32"}))
    return copy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=4, help="the first is not counted")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--full", action="store_true", help="10,000 images")
    parser.add_argument("--quick", action="store_true", help="whether it runs, on what there is: 48 small images")
    given = parser.parse_args()
    images, epochs, image_size, device = given.images, given.epochs, 224, given.device
    if given.quick:
        images, epochs, image_size, device = 48, 1, 64, "cuda" if torch.cuda.is_available() else "cpu"
    elif given.full:
        images = 10_000
    if device == "cuda" and not torch.cuda.is_available():
        print("No GPU here: fine-tuning on one is not measured. Run this script on a machine that has one.")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_data_set(folder / "raw" / "dogs.zip", images)
        (folder / "weights").mkdir()
        (folder / "weights" / "random.json").write_text('{"kind": "random", "seed": 0}')
        script("prepare", "--input", data.parent, "--output", folder / "prepared")
        words = ["--prepared", folder / "prepared", "--weights", folder / "weights", "--output", folder / "features"]
        script("embed", *words, "--backbone", "resnet50", "--views", 1, "--image-size", image_size)
        precision = json.loads((folder / "features" / "features.json").read_text())["precision"]
        rates = {
            f"ours, {precision}": ours(folder, folder / "features", epochs, 32),
            "ours, fp32": ours(folder, as_fp32(folder / "features"), epochs, 32),
            "torchvision's recipe, fp32": recipe(data, device, image_size, epochs, amp=False),
            "torchvision's recipe, --amp": recipe(data, device, image_size, epochs, amp=True),
        }
    rows: list[Row] = [(arm, spread(found, "images/s", 0), "—") for arm, found in rates.items()]
    figures = {arm: sorted(found)[len(found) // 2] for arm, found in rates.items()}
    where = torch.cuda.get_device_name() if device == "cuda" else "the CPU"
    print_table(f"Fine-tuning ResNet-50 on {where}, batch 32, {images:,} images", rows, figures=figures)


if __name__ == "__main__":
    main()
