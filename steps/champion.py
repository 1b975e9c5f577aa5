"""Champion: which approved model the new one must not fall behind. Evaluate scores both on the same photos."""

from typing import Any

from steps.base import BuildContext, RequestStep, call_function, output_parameter

OUTPUTS = ("model_data", "model_package_arn", "message")


def step(build: BuildContext, *, train: RequestStep) -> RequestStep:
    event = {
        "action": "champion",
        "model_package_group": build.settings.model_package_group,
        "candidate": train.properties.ModelArtifacts.S3ModelArtifacts,
    }
    return call_function(
        build,
        "Champion",
        event,
        outputs=OUTPUTS,
        title="Find the champion",
        description="Looks up the newest approved model that is another one than this execution's.",
    )


def archive(champion: RequestStep) -> Any:
    """The champion's model.tar.gz; the candidate's own where there is no champion."""
    return output_parameter(champion, "model_data")
