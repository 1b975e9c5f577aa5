"""Embed: the frozen backbone once over every view of every photo, so that tuning and training take seconds.

A host downloads the manifest and its share of the shards. Each split is an input of its own, so that every host gets
as much of train, which takes longest, as the others.
"""

from typing import Any

from steps.base import BuildContext, RequestStep, processing
from steps.prepare import manifest, shards

SPLITS = ("train", "valid", "test")


def step(build: BuildContext, *, prepared: Any) -> RequestStep:
    return processing(
        build,
        "Embed",
        title="Compute features",
        description="Runs the frozen backbone once over train (augmented views), valid and test.",
        script="embed.py",
        role="job",
        inputs={
            "manifest": manifest(prepared),
            **{split: shards(prepared, split, sharded=True) for split in SPLITS},
            "weights": build["PretrainedWeightsUri"],
        },
        output="features",
        arguments={
            "backbone": build["Backbone"],
            "image-size": build["ImageSize"],
            "views": build["AugmentedViews"],
            "seed": build["Seed"],
        },
        instance_count=build["ProcessingInstanceCount"],
    )
