"""How long the server takes to answer while training jobs read their logs with expressions that backtrack for ever.

    python -m benchmarks.patterns [--jobs 20]

Half of the expressions run on RE2, half need the process with a deadline. Each job prints the lines on which Python's
own engine does not come to an end. Prints the slowest answer of /_sagelocal/health while they run.
"""

import argparse
import io
import tarfile
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import boto3

from sagelocal.core import lifecycle

LINEAR = [r"loss=((a+)+)$", r".*loss=(.*?);.*x", r".*loss=(\S+);", r"(x+x+)+y", r"(\w+\s?)*:(\d)"]
ENDED = [r"(?=((a+)+)$)", r"(a|aa)+(?!b)$", r"((a*)*)*b", r"(a|b|ab)*\1c", r"(?<!x)(\w+\s?)+$!"]
SCRIPT = b"for _ in range(50):\n    print('loss=' + 'a' * 60 + '!')\n    print('loss=1;' * 9000)\n"
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.6.0-cpu-py312-ubuntu22.04-sagemaker"


def archive() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as files:
        entry = tarfile.TarInfo("train.py")
        entry.size = len(SCRIPT)
        files.addfile(entry, io.BytesIO(SCRIPT))
    return packed.getvalue()


def start(sagemaker: Any, name: str, regex: str) -> None:
    sagemaker.create_training_job(
        TrainingJobName=name,
        RoleArn="arn:aws:iam::123456789012:role/bench",
        AlgorithmSpecification={
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "m", "Regex": regex}],
        },
        OutputDataConfig={"S3OutputPath": "s3://patterns/out"},
        ResourceConfig={"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
        HyperParameters={"sagemaker_program": "train.py", "sagemaker_submit_directory": "s3://patterns/src.tar.gz"},
    )


def health(url: str) -> float:
    began = time.perf_counter()
    with urllib.request.urlopen(f"{url}/_sagelocal/health", timeout=60) as answer:
        answer.read()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=20)
    jobs = parser.parse_args().jobs
    with tempfile.TemporaryDirectory() as folder:
        running = lifecycle.ensure(Path(folder))
        try:
            given = running.environment()
            session = boto3.Session(given["AWS_ACCESS_KEY_ID"], given["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1")
            s3, sagemaker = (session.client(name, endpoint_url=running.url) for name in ("s3", "sagemaker"))
            s3.create_bucket(Bucket="patterns")
            s3.put_object(Bucket="patterns", Key="src.tar.gz", Body=archive())
            regexes = [pattern for pair in zip(LINEAR, ENDED, strict=True) for pattern in pair]
            quiet = sorted(health(running.url) for _ in range(100))
            for number in range(jobs):
                start(sagemaker, f"job-{number}", regexes[number % len(regexes)])
            answers, statuses = [], ["InProgress"]
            while "InProgress" in statuses:
                answers += [health(running.url) for _ in range(20)]
                found = sagemaker.list_training_jobs(MaxResults=100)["TrainingJobSummaries"]
                statuses = [job["TrainingJobStatus"] for job in found]
                time.sleep(0.05)
        finally:
            lifecycle.stop(Path(folder))
    answers.sort()
    print(f"{jobs} jobs: {statuses.count('Completed')} completed, {len(answers)} answers")
    print(f"health, quiet: median {quiet[50] * 1000:.1f} ms, slowest {quiet[-1] * 1000:.1f} ms")
    print(
        f"health, with the jobs: median {answers[len(answers) // 2] * 1000:.1f} ms, slowest {answers[-1] * 1000:.1f} ms"
    )


if __name__ == "__main__":
    main()
