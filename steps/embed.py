"""Embed: the frozen backbone once over every view of every photo, so that tuning and training take seconds.

A host downloads the manifest and its share of the shards. Each split is an input of its own, so that every host gets
as much of train, which takes longest, as the others.
"""

from typing import Any

from steps.base import RequestStep, Site, processing
from steps.prepare import manifest, shards

SPLITS = ("train", "valid", "test")


def step(site: Site, *, prepared: Any) -> RequestStep:
    return processing(
        site,
        "Embed",
        title="Compute features",
        description="Runs the frozen backbone once over train (augmented views), valid and test.",
        script="embed.py",
        inputs={
            "manifest": manifest(prepared),
            **{split: shards(prepared, split, divided=True) for split in SPLITS},
            "weights": site["PretrainedWeightsUri"],
        },
        output="features",
        arguments={
            "backbone": site["Backbone"],
            "image-size": site["ImageSize"],
            "views": site["AugmentedViews"],
            "seed": site["Seed"],
        },
        instance_count=site["ProcessingInstanceCount"],
    )
