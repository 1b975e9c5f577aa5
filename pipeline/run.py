"""The main job: photos in, a served classifier out, one photo predicted."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline import bundle, console, execution, infra, local, parameters, predict, upload
from pipeline.cloud import Cloud, state_dir
from pipeline.errors import UserError
from pipeline.parameters import Value
from pipeline.sample_data import draw_sample_data

# Drawn pictures need no pretrained network: a small one with random weights separates them, in seconds.
SAMPLE_PARAMETERS: dict[str, Value] = {
    "Backbone": "resnet18",
    "ImageSize": 128,
    "AugmentedViews": 2,
    "MaxTuningJobs": 6,
    "Epochs": 12,
}


def run(
    data: str, weights: str, backbone: str, assignments: list[str], *, connect: Callable[[], Cloud], quiet: bool
) -> dict[str, Any]:
    """Upload, upsert, start, follow, predict. Returns the report that `--json` prints.

    Everything the user gave is checked before anything is started. Raises UserError.
    """
    given = parameters.parse_assignments(assignments)
    if backbone:
        given.setdefault("Backbone", backbone)
    values = parameters.check(given)
    if not data:
        values = {**SAMPLE_PARAMETERS, **values}
    elif not data.startswith(("s3://", "https://")) and not Path(data).expanduser().exists():
        raise UserError(f"There is no data at {data}.", "Give a zip, a tar, a folder, an https:// or an s3:// address.")
    weights = weights or ("imagenet" if data else "random")
    chosen = str(values.get("Backbone", parameters.BY_NAME["Backbone"].default))

    from pipeline.upsert import upsert  # not before the checks: it imports the SDK, which takes seconds

    began = time.monotonic()
    cloud = connect()
    say = console.say if not quiet else (lambda text: None)
    say(f"SageMaker at {os.environ.get('AWS_ENDPOINT_URL', cloud.settings.region)}")
    with local.one_at_a_time():
        infra.ensure(cloud)
        data = data or _sample(say)
        s3 = cloud.client("s3")
        code = bundle.read()  # once: it may be edited while this starts
        with console.upload_progress() as progress:
            upload.upload_code(s3, cloud.settings, code)
            data_uri = upload.upload_data(s3, cloud.settings, data, progress)
            weights_uri = upload.upload_weights(s3, cloud.settings, weights, chosen, progress)
        values.update(InputDataUri=data_uri, PretrainedWeightsUri=weights_uri)
        # The pipeline's defaults too, so that `start`, a schedule and Studio take the same data.
        cloud.settings = replace(cloud.settings, input_data_uri=data_uri, weights_uri=weights_uri)
        pipeline = upsert(cloud, code)
    say(f"Pipeline {pipeline.change}: {pipeline.arn}")

    arn = execution.start(cloud, values)
    say(f"Execution {arn.rpartition('/')[2]}\n")
    steps = console.follow(cloud, arn, quiet=quiet)
    report = execution.report(cloud, arn, began=began)
    report["prediction"] = None
    if report["status"] == "Succeeded" and report["endpoint"]:
        report["prediction"] = predict.of_a_test_photo(cloud, data, arn)
        report["seconds"] = round(time.monotonic() - began, 2)
    if report["status"] != "Succeeded":
        console.failure(cloud, arn, steps)
    elif not quiet:
        console.summary(report)
    return report


def _sample(say: Callable[..., None]) -> str:
    """The drawn picture set, drawn once and kept beside the embedded state."""
    path = state_dir() / "sample-dogs.zip"
    if not path.exists():
        say("No --data given: drawing a small picture set.")
        draw_sample_data(state_dir())
    return str(path)
