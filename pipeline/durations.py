"""How long each step is expected to take on AWS: a rough model with its assumptions written out.

The rates are per vCPU of an m5 (half a core). Where they come from:
- the starting document's run: frozen ResNet-50, fp32, ml.m5.xlarge, 8,351 images in 1,121 s, so 1.86 images/s a vCPU;
- the other backbones by their share of ResNet-50's multiplications (torchvision's table of weights), rounded down;
- decode, resize and encode, and a head epoch (0.23 s on 6,680 features on two cores): measured on faster cores, halved.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.parameters import Value

IMAGES_PER_VCPU_SECOND = {"resnet50": 1.86, "resnet18": 4.0, "mobilenet_v2": 5.0}
PREPARED_PER_VCPU_SECOND = 60.0
GPU_IMAGES_PER_SECOND = 250.0
HEAD_SECONDS_PER_FEATURE = 0.23 / 6680 * 2
START_SECONDS = 90.0  # billed before and after the script: download of image and data, upload of results
CENTER_VIEW = (8 / 7) ** 2  # what a pass over a center view costs against one over a random crop
BACKWARD = 3.0  # a training pass costs that many forward passes
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
    def train_features(self) -> float:
        return self.images * SPLIT["train"] * self.number("AugmentedViews")


def vcpus(instance_type: str) -> int:
    """vCPUs by the size in a type's name: large has 2, xlarge 4, 12xlarge 48."""
    size = instance_type.rpartition(".")[2]
    times = re.fullmatch(r"(\d+)xlarge", size)
    return 4 * int(times[1]) if times else SIZES.get(size, 4)


def images_per_second(instance_type: str, backbone: str) -> float:
    """Forward passes of a backbone, decoding included."""
    if instance_type.split(".")[1].startswith(GPU_FAMILIES):
        return GPU_IMAGES_PER_SECOND
    return IMAGES_PER_VCPU_SECOND.get(backbone, IMAGES_PER_VCPU_SECOND["resnet50"]) * vcpus(instance_type)


def expected_seconds(step: str, work: Work, instance_type: str, instances: int) -> float | None:
    """Billed seconds of one job of a step on each of its instances; None for a step that is not this pipeline's."""
    known = _SECONDS.get(step)
    return None if known is None else START_SECONDS + known(work, instance_type) / instances


def _prepare(work: Work, instance_type: str) -> float:
    return work.images / (PREPARED_PER_VCPU_SECOND * vcpus(instance_type))


def _embed(work: Work, instance_type: str) -> float:
    crops = work.images * SPLIT["train"] * (work.number("AugmentedViews") - 1)
    passes = crops + work.images * CENTER_VIEW
    return passes * _scale(work) / images_per_second(instance_type, str(work.values["Backbone"]))


def _scale(work: Work) -> float:
    """What a pass costs against one of 224 pixels."""
    return (work.number("ImageSize") / 224) ** 2


def _trial(work: Work, instance_type: str) -> float:
    return work.number("Epochs") * work.train_features * HEAD_SECONDS_PER_FEATURE


def _train(work: Work, instance_type: str) -> float:
    if not work.number("TrainableStages"):
        return _trial(work, instance_type)
    passes = work.number("Epochs") * work.images * (SPLIT["train"] * BACKWARD + SPLIT["valid"])
    return passes / images_per_second(instance_type, str(work.values["Backbone"]))


def _debug(work: Work, instance_type: str) -> float:
    return 30.0


def _evaluate(work: Work, instance_type: str) -> float:
    passes = work.images * SPLIT["test"] * CENTER_VIEW
    return passes * _scale(work) / images_per_second(instance_type, str(work.values["Backbone"]))


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
        f"document's run), {GPU_IMAGES_PER_SECOND:.0f}/s on a GPU; fine-tuning costs {BACKWARD:.0f} forward passes",
        f"{PREPARED_PER_VCPU_SECOND:.0f} images/s and vCPU are decoded, resized and written",
        f"each job is billed {START_SECONDS:.0f} s for starting, downloading and uploading",
        "no step is taken from the cache; S3, Lambda, logs and data transfer (cents) are left out",
    ]
