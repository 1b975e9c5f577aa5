"""How long each step is expected to take on AWS: a rough model with its assumptions written out.

The rates are per vCPU of an m5 (half a core). Where they come from:
- the starting document's run: frozen ResNet-50, fp32, ml.m5.xlarge, 8,351 images in 1,121 s, so 1.86 images/s a vCPU;
- the other backbones by their share of ResNet-50's multiplications (torchvision's table of weights), rounded down;
- decode, resize and encode, and a head epoch (0.23 s on 6,680 features on two cores): measured on faster cores, halved.

A step does as many passes as its script: an epoch of the head takes each train photo once, in one of its views, so
views cost Embed and no epoch; stages are fine-tuned after the head, for the epochs that code/train.py has by default,
and the frozen stages before them pass each photo once an epoch, in another crop.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from contract.hyperparameters import Hyperparameters
from pipeline.parameters import Value

IMAGES_PER_VCPU_SECOND = {"resnet50": 1.86, "resnet18": 4.0, "mobilenet_v2": 5.0}
PREPARED_PER_VCPU_SECOND = 60.0
GPU_IMAGES_PER_SECOND = 250.0
HEAD_SECONDS_PER_FEATURE = 0.23 / 6680 * 2
START_SECONDS = 90.0  # billed before and after the script: download of image and data, upload of results
CENTER_VIEW = (8 / 7) ** 2  # what a pass over a center view costs against one over a random crop
BACKWARD = 3.0  # a training pass costs that many forward passes
FINE_TUNE_EPOCHS = Hyperparameters.fine_tune_epochs  # no parameter of the pipeline sets it
# The last 1, 2, … 5 stages' part of the multiplications, which is what fine-tuning trains of a pass.
TRAINED = {
    "resnet50": (0.20, 0.56, 0.81, 0.97, 1.0),
    "resnet18": (0.23, 0.45, 0.68, 0.93, 1.0),
    "mobilenet_v2": (0.30, 0.62, 0.75, 0.93, 1.0),
}
# FasterServing: Train passes 128 photos to quantise and 256 validation photos through each of the forms; the form that
# is served then passes photos this much faster than the frozen backbone does.
OPTIMISING_PHOTOS = 128 + 2 * 256
SERVED = 2.0
ROBUSTNESS_PHOTOS = 7 * 128  # test photos of Evaluate that are changed: seven ways
SPLIT = {"train": 0.8, "valid": 0.1, "test": 0.1}
SIZES = {"medium": 2, "large": 2, "xlarge": 4}
GPU_FAMILIES = ("g", "p")


@dataclass(frozen=True)
class Work:
    """What the expectation is made from: the data set's size and the parameters that change the work."""

    images: int
    values: Mapping[str, Value]

    def number(self, name: str) -> float:
        return float(self.values[name])

    @property
    def backbone(self) -> str:
        return str(self.values["Backbone"])

    @property
    def train_images(self) -> float:
        return self.images * SPLIT["train"]

    @property
    def pixels(self) -> float:
        """What a pass costs against one of 224 pixels."""
        return (self.number("ImageSize") / 224) ** 2


def vcpus(instance_type: str) -> int:
    """vCPUs by the size in a type's name: large has 2, xlarge 4, 12xlarge 48."""
    size = instance_type.rpartition(".")[2]
    times = re.fullmatch(r"(\d+)xlarge", size)
    return 4 * int(times[1]) if times else SIZES.get(size, 4)


def images_per_second(instance_type: str, backbone: str) -> float:
    """Forward passes of a backbone, decoding included."""
    if instance_type.split(".")[1].startswith(GPU_FAMILIES):
        return GPU_IMAGES_PER_SECOND
    return _on_cpu(instance_type, backbone)


def _on_cpu(instance_type: str, backbone: str) -> float:
    return IMAGES_PER_VCPU_SECOND.get(backbone, IMAGES_PER_VCPU_SECOND["resnet50"]) * vcpus(instance_type)


def expected_seconds(step: str, work: Work, instance_type: str, instances: int) -> float | None:
    """Billed seconds of one job of a step on each of its instances; None for a step that is not this pipeline's."""
    known = _SECONDS.get(step)
    return None if known is None else START_SECONDS + known(work, instance_type, instances)


def _prepare(work: Work, instance_type: str, instances: int) -> float:
    return work.images / (PREPARED_PER_VCPU_SECOND * vcpus(instance_type)) / instances


def _embed(work: Work, instance_type: str, instances: int) -> float:
    crops = work.train_images * (work.number("AugmentedViews") - 1)
    passes = crops + work.images * CENTER_VIEW
    return passes * work.pixels / images_per_second(instance_type, work.backbone) / instances


def _trial(work: Work, instance_type: str, instances: int) -> float:
    return work.number("Epochs") * work.train_images * HEAD_SECONDS_PER_FEATURE / instances


def _train(work: Work, instance_type: str, instances: int) -> float:
    """The first of several instances makes the faster forms alone, without its GPU."""
    optimising = 0.0
    if work.values.get("FasterServing") == "on":
        optimising = OPTIMISING_PHOTOS * CENTER_VIEW * work.pixels / _on_cpu(instance_type, work.backbone)
    return _trial(work, instance_type, instances) + _fine_tuning(work, instance_type, instances) + optimising


def _fine_tuning(work: Work, instance_type: str, instances: int) -> float:
    stages = int(work.number("TrainableStages"))
    if not stages:
        return 0.0
    trained = TRAINED.get(work.backbone, TRAINED["resnet50"])[stages - 1]
    valid = work.images * SPLIT["valid"] * CENTER_VIEW
    frozen_passes = FINE_TUNE_EPOCHS * work.train_images + valid
    trained_passes = FINE_TUNE_EPOCHS * (work.train_images * BACKWARD + valid)
    passes = (1 - trained) * frozen_passes + trained * trained_passes
    return passes * work.pixels / images_per_second(instance_type, work.backbone) / instances


def _debug(work: Work, instance_type: str, instances: int) -> float:
    return 30.0


def _evaluate(work: Work, instance_type: str, instances: int) -> float:
    """The test photos pass the model, and the champion."""
    photos = 2 * work.images * SPLIT["test"] + ROBUSTNESS_PHOTOS
    rate = _on_cpu(instance_type, work.backbone) * (SERVED if work.values.get("FasterServing") == "on" else 1)
    return photos * CENTER_VIEW * work.pixels / rate


_SECONDS = {
    "Prepare": _prepare,
    "Embed": _embed,
    "Tune": _trial,
    "Train": _train,
    "Debug": _debug,
    "Evaluate": _evaluate,
}


def assumptions(images: int) -> list[str]:
    """What the expected cost takes for granted, for people to read beside it."""
    return [
        f"{images:,} images of about 500 x 375 pixels, {SPLIT['train']:.0%} for training",
        f"a frozen ResNet-50 passes {IMAGES_PER_VCPU_SECOND['resnet50']} images/s on a vCPU of an m5 (the starting "
        f"document's run), {GPU_IMAGES_PER_SECOND:.0f}/s on a GPU",
        f"stages are fine-tuned for {FINE_TUNE_EPOCHS} epochs, each costing them {BACKWARD:.0f} forward passes a photo",
        f"{PREPARED_PER_VCPU_SECOND:.0f} images/s and vCPU are decoded, resized and written",
        f"each job is billed {START_SECONDS:.0f} s for starting, downloading and uploading",
        "no step is taken from the cache; S3, Lambda, logs and data transfer (cents) are left out",
    ]
