"""What a step costs beside its work: a chain of no-op processing steps on the embedded SageMaker.

Arms, interleaved: the bare subprocess, the same job through CreateProcessingJob alone, and the step in a pipeline.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import boto3

from benchmarks.machine import print_table, spread
from embedded import lifecycle

STEPS = 20
ROUNDS = 5
COMMAND = ["/bin/true"]
JOB = {
    "RoleArn": "arn:aws:iam::123456789012:role/bench-job",
    "AppSpecification": {"ImageUri": "python", "ContainerEntrypoint": COMMAND},
    "ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}},
}


def bare() -> float:
    began = time.perf_counter()
    for _ in range(STEPS):
        subprocess.run(COMMAND, check=True)
    return (time.perf_counter() - began) / STEPS


def jobs_alone(sagemaker) -> float:
    """Seconds from CreateProcessingJob to Completed, as the server recorded them, per job."""
    took = []
    for _ in range(STEPS):
        name = f"bench-{time.time_ns()}"
        sagemaker.create_processing_job(ProcessingJobName=name, **JOB)
        while (job := sagemaker.describe_processing_job(ProcessingJobName=name))["ProcessingJobStatus"] == "InProgress":
            time.sleep(0.002)
        took.append((job["ProcessingEndTime"] - job["CreationTime"]).total_seconds())
    return sum(took) / STEPS


def pipeline(sagemaker) -> float:
    """Seconds per step of a chain, from the execution's start to its end."""
    arn = sagemaker.start_pipeline_execution(PipelineName="bench", ClientRequestToken="x" * 32 + str(time.time_ns()))[
        "PipelineExecutionArn"
    ]
    while True:
        execution = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
        if execution["PipelineExecutionStatus"] != "Executing":
            break
        time.sleep(0.01)
    assert execution["PipelineExecutionStatus"] == "Succeeded", execution
    return (execution["LastModifiedTime"] - execution["CreationTime"]).total_seconds() / STEPS


def chain() -> str:
    steps = [
        {"Name": f"S{i}", "Type": "Processing", "Arguments": JOB, "DependsOn": [f"S{i - 1}"] if i else []}
        for i in range(STEPS)
    ]
    return json.dumps({"Version": "2020-12-01", "Metadata": {}, "Parameters": [], "Steps": steps})


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = lifecycle.ensure(Path(folder))
        try:
            sagemaker = boto3.client(
                "sagemaker",
                endpoint_url=server.url,
                region_name="us-east-1",
                aws_access_key_id="embedded",
                aws_secret_access_key="embedded",
            )
            sagemaker.create_pipeline(
                PipelineName="bench",
                PipelineDefinition=chain(),
                RoleArn="arn:aws:iam::123456789012:role/bench-pipeline",
                ClientRequestToken="c" * 32,
            )
            pipeline(sagemaker)  # a warm-up, not counted
            rounds = [(bare(), jobs_alone(sagemaker), pipeline(sagemaker)) for _ in range(ROUNDS)]
        finally:
            lifecycle.stop(Path(folder))
    own = [step - job for _, job, step in rounds]
    print_table(
        f"A no-op processing step ({STEPS} in a chain)",
        [
            ("bare subprocess", spread([1000 * r[0] for r in rounds], "ms", 1), "—"),
            ("processing job alone", spread([1000 * r[1] for r in rounds], "ms", 1), "—"),
            ("pipeline step, process included", spread([1000 * r[2] for r in rounds], "ms", 1), "under 150 ms"),
            ("the engine's own cost", spread([1000 * o for o in own], "ms", 1), "under 50 ms"),
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
