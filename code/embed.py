"""Embed step: the frozen backbone once over every image; train images in several augmented views.

    python code/embed.py --prepared DIR --weights DIR --output DIR --backbone resnet50

File formats: docs/formats.md (prepared, weights, features).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from breeds.base import container
from breeds.base.container import Hosts, InputError
from breeds.data import images, manifest, shards
from breeds.data.manifest import SPLITS, Manifest
from breeds.data.outputs import staged
from breeds.data.views import make_views
from breeds.model import backbones, features, graph_embedder
from breeds.model.embedding import Embedder, choose_embedder, map_in_threads
from breeds.model.graph_embedder import GraphEmbedder
from torch import nn


class Share(NamedTuple):
    """The shards of a split that this host was given, and the images in them."""

    paths: list[Path]
    images: int


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What one run of Embed is asked to do."""

    prepared: Path
    weights: Path
    output: Path
    backbone: str
    image_size: int
    views: int
    seed: int
    batch_size: int | None

    def __post_init__(self) -> None:
        if not 32 <= self.image_size <= 1024:
            raise InputError(f"image-size {self.image_size} is out of bounds.", "Use 32 to 1024 pixels.")
        if not 1 <= self.views <= 32:
            raise InputError(f"views {self.views} is out of bounds.", "Use 1 (no augmentation) to 32.")
        if self.batch_size is not None and self.batch_size < 1:
            raise InputError(f"batch-size {self.batch_size} is out of bounds.", "Use 1 or more.")


def main(arguments: list[str] | None = None) -> None:
    settings = _parse(arguments)
    hosts = container.hosts()
    whole = manifest.load(settings.prepared)
    shares = {split: _share(split, whole, settings, hosts) for split in SPLITS}
    network, _ = backbones.build_backbone(settings.backbone, settings.weights)
    embedder = _embedder(network, settings, whole)
    with staged(settings.output) as staging:
        for split in SPLITS:
            embed_split(split, shares[split], whole, embedder, settings, hosts, staging)
        features.save_info(staging, _info(settings, whole, embedder.precision))


def _share(split: str, whole: Manifest, settings: Settings, hosts: Hosts) -> Share:
    """This host's shards of a split: SageMaker distributed them (ShardedByS3Key), in an order of its own.

    Raises InputError where images are missing; with several hosts only `features.load` can tell.
    """
    paths = shards.shard_paths(settings.prepared, split)
    share, known = Share(paths, sum(map(shards.count, paths))), len(whole.images[split])
    if hosts.count > 1:
        print(f"{split} on {hosts.current}: shards {len(paths)}, images {share.images} of {known}", flush=True)
    elif share.images != known:
        raise InputError(
            f"{settings.prepared} holds {share.images} {split} images; its manifest lists {known}.",
            "Give all of the Prepare step's output, or run that step again.",
        )
    return share


def embed_split(
    split: str,
    share: Share,
    whole: Manifest,
    embedder: Embedder | GraphEmbedder,
    settings: Settings,
    hosts: Hosts,
    output: Path,
) -> None:
    """Write the features of this host's share of a split; one view of each image unless the split is train.

    Raises InputError for shards the manifest does not know and for features that float16 cannot hold.
    """
    views = settings.views if split == "train" else 1
    labels = whole.labels(split)
    progress = container.Progress(f"embedding {split}, {views} views", share.images)

    def embed(batch: list[tuple[str, bytes]]) -> np.ndarray:
        made = (make_views(jpeg, key, views, settings.image_size, settings.seed) for key, jpeg in batch)
        return np.stack([embedder(np.stack(view)) for view in zip(*made, strict=True)])

    shape = (views, share.images, backbones.BACKBONES[settings.backbone].feature_dim)
    with features.Writer(output, split, hosts.current, shape) as writer:
        for batch, found in map_in_threads(embed, _batches(share.paths, settings.batch_size or embedder.batch_size)):
            keys = [key for key, _ in batch]
            _check(settings, split, keys, labels, found)
            writer.add(keys, [labels[key] for key in keys], found)
            progress.step(len(batch))
    progress.finish()


def _check(settings: Settings, split: str, keys: list[str], labels: dict[str, int], found: np.ndarray) -> None:
    unknown = next((key for key in keys if key not in labels), None)
    if unknown:
        raise InputError(f"The {split} shards hold {unknown}, which no manifest lists.", "Run the Prepare step again.")
    if not np.isfinite(found).all():
        raise InputError(
            f"The features of {settings.backbone} are too large for float16.",
            "The weights do not suit ImageNet-normalised images: check the weights file.",
        )


def _embedder(network: nn.Module, settings: Settings, whole: Manifest) -> Embedder | GraphEmbedder:
    """The fastest embedder that agrees with float32; all hosts choose the same."""
    sample = _sample(settings)
    embedder = choose_embedder(network, sample)
    counts = {split: len(whole.images[split]) for split in SPLITS}
    if settings.views * counts["train"] + counts["valid"] + counts["test"] < graph_embedder.MIN_VIEWS:
        return embedder
    return graph_embedder.or_faster(embedder, network, sample)


def _batches(paths: list[Path], size: int) -> Iterator[list[tuple[str, bytes]]]:
    items = chain.from_iterable(shards.read_shard(path) for path in paths)
    while batch := list(islice(items, size)):
        yield batch


def _sample(settings: Settings) -> np.ndarray:
    """Center views of the first train images, whichever shards this host has: all must choose the same precision."""
    size = images.view_size(settings.image_size)
    return np.stack([images.center_view(shards.decode(jpeg), size) for jpeg in shards.read_sample(settings.prepared)])


def _info(settings: Settings, whole: Manifest, precision: str) -> dict:
    return {
        "backbone": settings.backbone,
        "feature_dim": backbones.BACKBONES[settings.backbone].feature_dim,
        "image_size": settings.image_size,
        "view_size": images.view_size(settings.image_size),
        "views": settings.views,
        "seed": settings.seed,
        "classes": list(whole.classes),
        "weights_sha256": backbones.weights_fingerprint(settings.weights),
        "precision": precision,
        "mean": list(images.MEAN),
        "std": list(images.STD),
        "counts": {split: len(whole.images[split]) for split in SPLITS},
    }


def _parse(arguments: list[str] | None) -> Settings:
    parser = container.ArgumentParser(description=__doc__)
    parser.add_argument("--prepared", type=Path, default=container.base_dir() / "processing/input/prepared")
    parser.add_argument("--weights", type=Path, default=container.base_dir() / "processing/input/weights")
    parser.add_argument("--output", type=Path, default=container.base_dir() / "processing/output/features")
    parser.add_argument("--backbone", default="resnet50", help=", ".join(backbones.BACKBONES))
    parser.add_argument(
        "--image-size", type=int, default=224, help="pixels of a random crop; the center view has 8/7 of them"
    )
    parser.add_argument("--views", type=int, default=4, help="of each train image; the first is the center view")
    parser.add_argument("--seed", type=int, default=7, help="of the augmented views")
    parser.add_argument("--batch-size", type=int, help="images per forward pass (8 on a CPU, 64 on a GPU)")
    return Settings(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    container.run(main)
