"""How the server's memory grows with pipelines that it runs: two steps and a tuning job, again and again.

    python -m benchmarks.soak [--minutes 8]

The first fifth of the time is left out: caches fill in it. What is wanted is less than 5 MB for 1,000 runs.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import boto3
import psutil

from benchmarks.archives import tar_gz
from benchmarks.machine import print_table
from sagelocal.core import lifecycle

ROLE = "arn:aws:iam::123456789012:role/bench"
RESOURCES = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
PREPARE = "open('/opt/ml/processing/output/data', 'w').write('data')"
TRAIN = """
import os, sys
rate = float(sys.argv[sys.argv.index("--rate") + 1])
print(f"valid:loss={(rate - 0.3) ** 2}")
open(os.environ["SM_MODEL_DIR"] + "/rate", "w").write(str(rate))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=8.0)
    seconds = parser.parse_args().minutes * 60
    with tempfile.TemporaryDirectory() as folder:
        running = lifecycle.ensure(Path(folder))
        try:
            points = soak(running, seconds)
        finally:
            lifecycle.stop(Path(folder))
    first = next(point for point in points if point[0] >= seconds / 5)
    last = points[-1]
    per_run = (last[2] - first[2]) / (last[1] - first[1])
    rows = [("growth of 1,000 runs", f"{1000 * per_run / 1e6:.1f} MB, by {last[1] - first[1]:.0f} runs", "under 5 MB")]
    print_table(f"Soak: {last[1]:.0f} runs in {seconds / 60:g} min", rows, figures={"growth": 1000 * per_run})


def soak(running: lifecycle.Running, seconds: float) -> list[tuple[float, float, float]]:
    """(seconds, runs, resident bytes) after each run."""
    server, settings = psutil.Process(running.pid), running.client_settings()
    sagemaker = boto3.client("sagemaker", **settings)
    set_up(boto3.client("s3", **settings), sagemaker)
    points: list[tuple[float, float, float]] = []
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        run(sagemaker, len(points))
        points.append((time.monotonic() - began, len(points) + 1.0, float(server.memory_info().rss)))
    return points


def run(sagemaker: Any, number: int) -> None:
    token = f"{number:032d}"
    arn = sagemaker.start_pipeline_execution(PipelineName="bench", ClientRequestToken=token)["PipelineExecutionArn"]
    while True:
        found = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
        if found["PipelineExecutionStatus"] != "Executing":
            break
        time.sleep(0.02)
    assert found["PipelineExecutionStatus"] == "Succeeded", found
    sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)
    sagemaker.list_training_jobs(MaxResults=10)


def set_up(s3: Any, sagemaker: Any) -> None:
    s3.create_bucket(Bucket="bench")
    s3.put_object(Bucket="bench", Key="code.tar.gz", Body=tar_gz({"train.py": TRAIN}))
    sagemaker.create_pipeline(
        PipelineName="bench", PipelineDefinition=definition(), RoleArn=ROLE, ClientRequestToken="x" * 32
    )


def definition() -> str:
    output = {"S3Uri": "s3://bench/data", "LocalPath": "/opt/ml/processing/output", "S3UploadMode": "EndOfJob"}
    prepare = {
        "RoleArn": ROLE,
        "AppSpecification": {"ImageUri": "python", "ContainerEntrypoint": ["python3", "-c", PREPARE]},
        "ProcessingResources": {"ClusterConfig": RESOURCES},
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "data", "S3Output": output}]},
    }
    metric = {"Name": "valid:loss", "Regex": "valid:loss=([0-9.e-]+)"}
    job = {
        "AlgorithmSpecification": {
            "TrainingImage": "python",
            "TrainingInputMode": "File",
            "MetricDefinitions": [metric],
        },
        "OutputDataConfig": {"S3OutputPath": "s3://bench/models"},
        "ResourceConfig": RESOURCES,
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        "RoleArn": ROLE,
    }
    script = {"sagemaker_program": "train.py", "sagemaker_submit_directory": "s3://bench/code.tar.gz"}
    search = {
        "Strategy": "Random",
        "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "valid:loss"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2},
        "ParameterRanges": {"ContinuousParameterRanges": [{"Name": "rate", "MinValue": "0", "MaxValue": "1"}]},
    }
    tune = {"HyperParameterTuningJobConfig": search, "TrainingJobDefinition": {**job, "StaticHyperParameters": script}}
    best = {"Get": "Steps.Tune.BestTrainingJob.TunedHyperParameters['rate']"}
    steps = [
        {"Name": "Prepare", "Type": "Processing", "Arguments": prepare},
        {"Name": "Tune", "Type": "Tuning", "DependsOn": ["Prepare"], "Arguments": tune},
        {"Name": "Train", "Type": "Training", "Arguments": {**job, "HyperParameters": {**script, "rate": best}}},
    ]
    return json.dumps({"Version": "2020-12-01", "Steps": steps})


if __name__ == "__main__":
    main()
