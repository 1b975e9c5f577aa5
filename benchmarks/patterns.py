"""How long the server takes to answer while training jobs read their logs with expressions that backtrack for ever.

    python -m benchmarks.patterns [--jobs 20]

Half of the expressions run on RE2, half need the process with a deadline. Each job prints the lines on which Python's
own engine does not come to an end. Prints how long /_sagelocal/health took meanwhile, and beside the same jobs without
metrics.
"""

import argparse
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import boto3

from benchmarks.archives import tar_gz
from sagelocal.core import lifecycle

LINEAR = [r"loss=((a+)+)$", r".*loss=(.*?);.*x", r".*loss=(\S+);", r"(x+x+)+y", r"(\w+\s?)*:(\d)"]
ENDED = [r"(?=((a+)+)$)", r"(a|aa)+(?!b)$", r"((a*)*)*b", r"(a|b|ab)*\1c", r"(?<!x)(\w+\s?)+$!"]
SCRIPT = b"for _ in range(50):\n    print('loss=' + 'a' * 60 + '!')\n    print('loss=1;' * 9000)\n"
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.6.0-cpu-py312-ubuntu22.04-sagemaker"


def start(sagemaker: Any, name: str, regex: str) -> None:
    """`regex`: "" for a job without metrics."""
    sagemaker.create_training_job(
        TrainingJobName=name,
        RoleArn="arn:aws:iam::123456789012:role/bench",
        AlgorithmSpecification={
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            **({"MetricDefinitions": [{"Name": "m", "Regex": regex}]} if regex else {}),
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


def while_running(url: str, sagemaker: Any, name: str) -> list[float]:
    """How long each answer took until the jobs of that name had ended, in order."""
    answers: list[float] = []
    while True:
        answers += [health(url) for _ in range(20)]
        jobs = sagemaker.list_training_jobs(MaxResults=100, NameContains=name)["TrainingJobSummaries"]
        statuses = {job["TrainingJobStatus"] for job in jobs}
        if "InProgress" not in statuses:
            assert statuses == {"Completed"}, statuses
            return sorted(answers)
        time.sleep(0.05)


def show(arm: str, answers: list[float]) -> None:
    middle, last = answers[len(answers) // 2], answers[int(len(answers) * 0.99) - 1]
    figures = ", ".join(f"{name} {value * 1000:.1f} ms" for name, value in (("median", middle), ("99 %", last)))
    print(f"{arm}: {len(answers)} answers, {figures}, slowest {answers[-1] * 1000:.1f} ms")


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
            s3.put_object(Bucket="patterns", Key="src.tar.gz", Body=tar_gz({"train.py": SCRIPT}))
            regexes = [pattern for pair in zip(LINEAR, ENDED, strict=True) for pattern in pair]
            show("quiet", sorted(health(running.url) for _ in range(100)))
            for arm, wanted in (("without", [""]), ("with", regexes)):
                names = [f"{arm}-{number}" for number in range(jobs)]
                for number, name in enumerate(names):
                    start(sagemaker, name, wanted[number % len(wanted)])
                show(f"{jobs} jobs {arm} metrics", while_running(running.url, sagemaker, arm))
        finally:
            lifecycle.stop(Path(folder))


if __name__ == "__main__":
    main()
