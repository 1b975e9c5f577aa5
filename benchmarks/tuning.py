"""Trials per minute on cached features, starting each trial included.

    python -m benchmarks.tuning [--trials 20 | --full | --quick]

The Tune step as it stands in the pipeline's definition, alone in a pipeline of the embedded SageMaker, on features of
4 views of MobileNetV2. Its arm: the same train.py started as a process for each trial, one per core at a time. No trial
stops early for want of progress, so all of them do their 8 epochs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.jobs import Flow
from benchmarks.machine import cores, print_table, spread
from benchmarks.photos import ROOT

IMAGES, VIEWS, IMAGE_SIZE, EPOCHS = 3127, 4, 64, 8
FEATURES_URI = "Steps.Embed.ProcessingOutputConfig.Outputs['features'].S3Output.S3Uri"
NO_STOPPING = {"patience": "1000"}
WANTED = 60


def make_features(folder: Path, images: int) -> Path:
    """What Prepare and Embed make of so many photos. Small views: a head costs the same whatever it reads."""
    flow = Flow.of(folder, images)
    flow.prepare()
    flow.embed(views=VIEWS, image_size=IMAGE_SIZE)
    return folder / "features"


class Embedded:
    """The Tune step on the embedded SageMaker of a state directory of its own."""

    def __init__(self, state: Path, local_features: Path):
        os.environ["SAGELOCAL_STATE_DIR"] = str(state)
        from pipeline import cloud, infra, upload

        self.cloud = cloud.connect(aws=False)
        infra.ensure(self.cloud)
        s3, settings = self.cloud.client("s3"), self.cloud.settings
        upload.upload_code(s3, settings)
        for path in local_features.iterdir():
            s3.upload_file(str(path), settings.bucket, f"{settings.project}/bench/features/{path.name}")
        self.document = self._document(f"{settings.root}/bench/features")
        self.sagemaker = self.cloud.client("sagemaker")
        self.names: list[str] = []

    def _document(self, uri: str) -> str:
        """The definition with its Tune step alone, reading these features."""
        from pipeline import definition

        whole = json.loads(definition.definition(self.cloud.settings))
        (tune,) = [step for step in whole["Steps"] if step["Name"] == "Tune"]
        text = json.dumps(tune).replace(json.dumps({"Get": FEATURES_URI}), json.dumps(uri))
        assert uri in text, "the Tune step reads its features from elsewhere now"
        tune = {**json.loads(text), "CacheConfig": {"Enabled": False}}
        tune["Arguments"]["TrainingJobDefinition"]["StaticHyperParameters"] |= NO_STOPPING
        return json.dumps({**whole, "Steps": [tune]})

    def trials_per_minute(self, trials: int, epochs: int) -> float:
        name = f"tune-{len(self.names)}"
        self.names.append(name)
        self.sagemaker.create_pipeline(
            PipelineName=name,
            PipelineDefinition=self.document,
            RoleArn=self.cloud.settings.role("pipeline"),
            ClientRequestToken="c" * 32 + name,
        )
        values = {"MaxTuningJobs": trials, "MaxParallelTuningJobs": cores(), "Epochs": epochs}
        began = time.perf_counter()
        arn = self.sagemaker.start_pipeline_execution(
            PipelineName=name,
            PipelineParameters=[{"Name": key, "Value": str(value)} for key, value in values.items()],
            ClientRequestToken="s" * 32 + name,
        )["PipelineExecutionArn"]
        while (found := self._describe(arn))["PipelineExecutionStatus"] == "Executing":
            time.sleep(0.05)
        took = time.perf_counter() - began
        if found["PipelineExecutionStatus"] != "Succeeded":
            steps = self.sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
            raise RuntimeError(steps[0].get("FailureReason", found))
        return 60 * trials / took

    def _describe(self, arn: str) -> dict[str, Any]:
        return self.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)


def as_processes(local_features: Path, trials: int, epochs: int) -> float:
    """Trials per minute when each is a process that starts from nothing."""

    def trial(number: int) -> None:
        with tempfile.TemporaryDirectory() as model:
            words = ["--features", str(local_features), "--model-dir", model, "--epochs", str(epochs)]
            words += ["--patience", NO_STOPPING["patience"], "--seed", str(number)]
            subprocess.run([sys.executable, "code/train.py", *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)

    began = time.perf_counter()
    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(trial, range(trials)))
    return 60 * trials / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--full", action="store_true", help="60 trials, 3 rounds")
    parser.add_argument("--quick", action="store_true", help="whether it runs: 2 short trials")
    given = parser.parse_args()
    trials, rounds, epochs, images = given.trials, given.rounds, EPOCHS, IMAGES
    if given.quick:
        trials, rounds, epochs, images = 2, 1, 1, 60
    elif given.full:
        trials, rounds = 60, 3
    rates: dict[str, list[float]] = {"embedded": [], "processes": []}
    with tempfile.TemporaryDirectory() as folder:
        local = make_features(Path(folder), images)
        trained = json.loads((local / "features.json").read_text())["counts"]["train"]
        state = Path(folder) / "state"
        embedded = Embedded(state, local)
        try:
            for _ in range(rounds):
                rates["embedded"].append(embedded.trials_per_minute(trials, epochs))
                rates["processes"].append(as_processes(local, max(cores(), trials // 5), epochs))
        finally:
            from sagelocal.core import lifecycle

            lifecycle.stop(state)
    ratio = median(rates["embedded"]) / median(rates["processes"])
    print_table(
        f"Trials per minute: {trained:,} train images, {VIEWS} views, MobileNetV2, {epochs} epochs, {trials} trials",
        [
            ("Tune step on the embedded SageMaker", spread(rates["embedded"], "a minute", 0), f"at least {WANTED}"),
            ("train.py as a process each", f"{spread(rates['processes'], 'a minute', 0)}; 1/{ratio:.1f}", "—"),
        ],
        figures={"trials_per_minute": median(rates["embedded"]), "ratio": ratio, "images": trained},
    )


if __name__ == "__main__":
    main()
