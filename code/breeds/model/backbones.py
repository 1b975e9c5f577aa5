"""The three backbones: torchvision networks without their classifier, with pretrained or seeded random weights."""

import copy
import hashlib
import json
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision import models

from breeds.base.container import InputError, first_line

WEIGHT_SUFFIXES = (".pth", ".pt")
RANDOM_FILE = "random.json"


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A network this project can use; `stages` are ordered from the image to the features."""

    build: Callable[..., nn.Module]
    feature_dim: int
    classifier: str
    stages: tuple[tuple[str, tuple[str, ...]], ...]


_RESNET_STAGES = (
    ("stem", ("conv1", "bn1", "relu", "maxpool")),
    *((layer, (layer,)) for layer in ("layer1", "layer2", "layer3", "layer4")),
)


def _mobilenet_stage(first: int, last: int) -> tuple[str, ...]:
    return tuple(f"features.{block}" for block in range(first, last + 1))


_MOBILENET_STAGES = (
    ("stem", _mobilenet_stage(0, 1)),
    ("blocks1", _mobilenet_stage(2, 3)),
    ("blocks2", _mobilenet_stage(4, 6)),
    ("blocks3", _mobilenet_stage(7, 13)),
    ("blocks4", _mobilenet_stage(14, 18)),
)

BACKBONES: Mapping[str, Backbone] = {
    "resnet50": Backbone(build=models.resnet50, feature_dim=2048, classifier="fc", stages=_RESNET_STAGES),
    "resnet18": Backbone(build=models.resnet18, feature_dim=512, classifier="fc", stages=_RESNET_STAGES),
    "mobilenet_v2": Backbone(
        build=models.mobilenet_v2, feature_dim=1280, classifier="classifier", stages=_MOBILENET_STAGES
    ),
}


def architecture(name: str) -> tuple[nn.Module, int]:
    """The network with arbitrary weights, ready for a state dict, and its feature dimension.

    It maps float32 [n, 3, h, w] to [n, feature_dim]. Activations are not in place, so that a hook on a ReLU
    sees its real input. Raises InputError for an unknown name.
    """
    backbone = _lookup(name)
    network = backbone.build(weights=None)
    setattr(network, backbone.classifier, nn.Identity())
    for module in network.modules():
        if isinstance(module, nn.ReLU | nn.ReLU6):
            module.inplace = False
    return network, backbone.feature_dim


def build_backbone(name: str, weights: Path | None, *, seed: int = 0) -> tuple[nn.Module, int]:
    """The network in eval mode with the weights of a weights channel (docs/formats.md), and its feature dimension.

    `weights` is that directory; None means random weights from `seed`. Raises InputError for an unknown name, and
    for a file that is not a state dict of this backbone, naming the first key that does not fit.
    """
    _lookup(name)
    source = _weights_file(weights) if weights is not None else None
    if source is None or source.name == RANDOM_FILE:
        return _random_backbone(name, _random_seed(source) if source else seed), BACKBONES[name].feature_dim
    state = _load_state_dict(source)
    _check_fits(name, state, source)
    network, feature_dim = architecture(name)
    network.load_state_dict(_without_classifier(name, state), strict=False)
    return network.eval(), feature_dim


def weights_fingerprint(weights: Path) -> str:
    """`random:<seed>`, or the sha256 of the weights file: the `weights_sha256` of features.json."""
    source = _weights_file(weights)
    if source.name == RANDOM_FILE:
        return f"random:{_random_seed(source)}"
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stages(name: str) -> list[str]:
    """Names of the backbone's stages from image to features."""
    return [stage for stage, _ in _lookup(name).stages]


def split_stages(network: nn.Module, name: str, trainable: int) -> tuple[nn.Sequential, nn.Sequential]:
    """(frozen, trainable) halves that share the network's modules; trainable(frozen(x)) equals network(x).

    `trainable` counts stages from the end, 0 to 5 (all), else InputError is raised; pooling belongs to the second half.
    The halves' modules are named as in the network, with `_` for `.`.
    """
    all_stages = _lookup(name).stages
    if not 0 <= trainable <= len(all_stages):
        raise InputError(
            f"TrainableStages={trainable} is not possible: {name} has {len(all_stages)} stages.",
            f"Use a number from 0 (head only) to {len(all_stages)} (all of it).",
        )
    cut = len(all_stages) - trainable
    halves = [
        nn.Sequential(
            OrderedDict((path.replace(".", "_"), network.get_submodule(path)) for _, paths in part for path in paths)
        )
        for part in (all_stages[:cut], all_stages[cut:])
    ]
    halves[1].add_module("pool", nn.AdaptiveAvgPool2d(1))
    halves[1].add_module("flatten", nn.Flatten(1))
    return halves[0], halves[1]


def for_inference(network: nn.Module) -> nn.Module:
    """A copy with each batch norm folded into its convolution and channels-last weights: the same outputs, faster.

    Relies on torchvision's habit of registering a batch norm right after its convolution.
    """
    network = copy.deepcopy(network).eval()
    leaves = [(path, module) for path, module in network.named_modules() if not list(module.children())]
    for (conv_path, conv), (norm_path, norm) in pairwise(leaves):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            network.set_submodule(conv_path, fuse_conv_bn_eval(conv, norm))
            network.set_submodule(norm_path, nn.Identity())
    for module in network.modules():
        if isinstance(module, nn.ReLU | nn.ReLU6):
            module.inplace = True
    return network.requires_grad_(False).to(memory_format=torch.channels_last)


def _lookup(name: str) -> Backbone:
    if name not in BACKBONES:
        raise InputError(f"Backbone {name!r} is not known.", f"Choose one of {', '.join(BACKBONES)}.")
    return BACKBONES[name]


def _weights_file(directory: Path) -> Path:
    if not directory.is_dir():
        raise InputError(f"The weights directory {directory} does not exist.", "Give a directory with one .pth file.")
    found = sorted(
        path for path in directory.rglob("*") if path.name == RANDOM_FILE or path.suffix.lower() in WEIGHT_SUFFIXES
    )
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise InputError(
            f"The weights directory {directory} must hold exactly one .pth file or {RANDOM_FILE}; found: {names}.",
            "Point PretrainedWeightsUri at a prefix with one weights file.",
        )
    return found[0]


def _random_seed(source: Path) -> int:
    try:
        content = json.loads(source.read_text())
        if content["kind"] == "random":
            return int(content["seed"])
    except (ValueError, KeyError, TypeError):
        pass
    raise InputError(f"{source.name} does not say which random weights to use.", 'Write {"kind": "random", "seed": 0}.')


def _load_state_dict(source: Path) -> dict[str, torch.Tensor]:
    advice = "Save the backbone with torch.save(model.state_dict(), path) and upload that file."
    try:
        state = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{source.name} is not a plain state dict: it holds Python objects or is no torch file.", advice
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{source.name} cannot be read as torch weights ({first_line(error)[:200]}).", advice
        ) from error
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, torch.Tensor) for v in state.values()):
        held = type(state).__name__
        if isinstance(state, Mapping):
            held = f"keys such as {', '.join(map(str, list(state)[:3]))}"
        raise InputError(f"{source.name} is not a state dict: it holds {held}, not named tensors.", advice)
    not_finite = next((k for k, v in state.items() if v.is_floating_point() and not v.isfinite().all()), None)
    if not_finite:
        raise InputError(
            f"{source.name} holds NaN or infinite values in {not_finite}.", "Use a file from a healthy training."
        )
    return dict(state)


def _without_classifier(name: str, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    prefix = BACKBONES[name].classifier + "."
    return {key: value for key, value in state.items() if not key.startswith(prefix)}


def _first_mismatch(name: str, state: Mapping[str, torch.Tensor]) -> str | None:
    """What first keeps `state` from being this backbone's; the classifier and batch counters do not matter."""
    with torch.device("meta"):
        expected = architecture(name)[0].state_dict()
    given = _without_classifier(name, state)
    for key, tensor in expected.items():
        if key not in given:
            if not key.endswith("num_batches_tracked"):
                return f"{key} {list(tensor.shape)} is missing"
        elif given[key].shape != tensor.shape:
            return f"{key} is {list(given[key].shape)} in the file and {list(tensor.shape)} in {name}"
    extra = next((key for key in given if key not in expected), None)
    return f"{extra} {list(given[extra].shape)} is not part of {name}" if extra else None


def _check_fits(name: str, state: Mapping[str, torch.Tensor], source: Path) -> None:
    mismatch = _first_mismatch(name, state)
    if mismatch is None:
        return
    fits = next((other for other in BACKBONES if other != name and _first_mismatch(other, state) is None), None)
    advice = (
        f"The file fits {fits}: set Backbone={fits}, or give weights of {name}."
        if fits
        else f"It fits none of {', '.join(BACKBONES)}: give torchvision's state dict of {name}."
    )
    raise InputError(f"{source.name} does not hold {name} weights: {mismatch}.", advice)


def _random_backbone(name: str, seed: int) -> nn.Module:
    """Kaiming weights whose batch norms know the statistics of their inputs.

    With running means of 0 and variances of 1 a deep residual network doubles its activations block by block,
    past what float16 holds; one pass over smooth noise gives each layer the statistics it would have learned.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network, _ = architecture(name)
        sizes = (3, 6, 12, 24, 48)
        layers = (nn.functional.interpolate(torch.randn(16, 3, s, s), size=96, mode="bilinear") for s in sizes)
        images = sum(layers, start=torch.zeros(()))
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(images / images.std())
    for norm in norms:
        norm.momentum = 0.1
        norm.num_batches_tracked = torch.tensor(0)
    return network.eval()
