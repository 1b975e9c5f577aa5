"""Prepare: every photo checked once, upright, RGB, no larger than needed; broken ones set aside with the reason.

What it finds out about a photo is kept in the cache, by the photo's sha256: when a data set grows, only the new ones
are decoded. Its prefix is the same in every execution, so that the step itself is cached as before.
"""

from typing import Any

from steps.base import BuildContext, Input, RequestStep, folder_of, processing


def step(build: BuildContext) -> RequestStep:
    cache = build.settings.prepare_cache_uri
    return processing(
        build,
        "Prepare",
        title="Prepare the photos",
        description="Checks every photo, makes large ones smaller; writes shards, manifest.json and quarantine.csv.",
        script="prepare.py",
        role="job",
        inputs={"raw": build["InputDataUri"], "cache": cache},
        output="prepared",
        shared_outputs={"new-cache": cache},
        arguments={
            "cache": "/opt/ml/processing/input/cache",
            "new-cache": "/opt/ml/processing/output/new-cache",
            "max-broken-fraction": build["MaxBrokenFraction"],
            "max-duplicates": build["MaxDuplicates"],
            "max-pixels": build["MaxImagePixels"],
        },
        instance_count=build["ProcessingInstanceCount"],
    )


def manifest(prepared: Any) -> Input:
    """What Prepare says of all photos, as another step's input."""
    return Input(uri=folder_of(prepared, "manifest"), path="prepared/manifest")


def shards(prepared: Any, split: str, *, sharded: bool = False) -> Input:
    """The photos of one split."""
    folder = f"shards/{split}"
    return Input(uri=folder_of(prepared, folder), path=f"prepared/{folder}", sharded=sharded)
