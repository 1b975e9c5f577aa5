"""Champion: which approved model the new one must not fall behind. Evaluate scores both on the same photos."""

from typing import Any

from steps.base import RequestStep, Site, call_function, output_parameter

OUTPUTS = ("model_data", "model_package_arn", "message")


def step(site: Site, *, train: RequestStep) -> RequestStep:
    event = {
        "action": "champion",
        "model_package_group": site.settings.model_package_group,
        "candidate": train.properties.ModelArtifacts.S3ModelArtifacts,
    }
    return call_function(
        site,
        "Champion",
        event,
        function="deploy",
        outputs=OUTPUTS,
        title="Find the champion",
        description="Looks up the newest approved model that is another one than this execution's.",
    )


def archive(champion: RequestStep) -> Any:
    """The champion's model.tar.gz; the candidate's own where there is no champion."""
    return output_parameter(champion, "model_data")
