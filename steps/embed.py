"""Embed: the frozen backbone once over every view of every photo, so that tuning and training take seconds."""

from typing import Any

from steps.base import RequestStep, Site, processing


def step(site: Site, *, prepared: Any) -> RequestStep:
    return processing(
        site,
        "Embed",
        title="Compute features",
        description="Runs the frozen backbone once over train (augmented views), valid and test.",
        script="embed.py",
        inputs={"prepared": prepared, "weights": site["PretrainedWeightsUri"]},
        output="features",
        arguments={
            "backbone": site["Backbone"],
            "image-size": site["ImageSize"],
            "views": site["AugmentedViews"],
            "seed": site["Seed"],
        },
        instance_count=site["ProcessingInstanceCount"],
    )
