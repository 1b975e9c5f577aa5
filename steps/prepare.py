"""Prepare: every photo decoded once, upright, RGB, short side 256; broken ones set aside with the reason."""

from steps.base import RequestStep, Site, processing


def step(site: Site) -> RequestStep:
    return processing(
        site,
        "Prepare",
        title="Prepare the photos",
        description="Checks and resizes every photo once; writes shards, manifest.json and quarantine.csv.",
        script="prepare.py",
        inputs={"raw": site["InputDataUri"]},
        output="prepared",
        arguments={
            "max-broken-fraction": site["MaxBrokenFraction"],
            "max-duplicates": site["MaxDuplicates"],
            "max-pixels": site["MaxImagePixels"],
        },
        instance_count=site["ProcessingInstanceCount"],
    )
