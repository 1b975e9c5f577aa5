"""Jobs that are documents only, for tests of what the engine does without what jobs do."""

import threading
import time
from collections import defaultdict

from sagelocal.core import registry
from sagelocal.core.errors import AwsError
from sagelocal.services.s3 import objects
from tests.waiting import until


class FakeJobs:
    """Processing and training jobs that end at once, or as planned by the STEP in their Environment.

    plan["Train"] = ["InternalServerError: x", None]: Train's first job fails with that reason, the second ends well.
    A reason "hold" keeps a job InProgress until it is stopped or released.
    """

    def __init__(self, context):
        self.context = context
        self.plan = defaultdict(list)
        self.created = []
        self.lock = threading.Lock()

    def install(self, monkeypatch):
        for job, kind in (("ProcessingJob", "processing-job"), ("TrainingJob", "training-job")):
            for verb in ("Create", "Describe", "Stop"):
                handler = getattr(self, verb.lower())
                monkeypatch.setitem(
                    registry.OPERATIONS,
                    ("sagemaker", f"{verb}{job}"),
                    lambda context, request, handler=handler, job=job, kind=kind: handler(request, job, kind),
                )
        return self

    def create(self, request, job, kind):
        step = request.get("Environment", {}).get("STEP", "?")
        with self.lock:
            self.created.append(step)
            outcome = self.plan[step].pop(0) if self.plan[step] else None
        if isinstance(outcome, AwsError):
            raise outcome
        name = request[f"{job}Name"]
        arn = self.context.arn("sagemaker", f"{kind}/{name}")
        body = {**request, f"{job}Arn": arn, "CreationTime": time.time(), "_Started": time.monotonic()}
        if job == "TrainingJob":
            archive = f"{request['OutputDataConfig']['S3OutputPath']}/{name}/output/model.tar.gz"
            objects.write_bytes(self.context, archive, b"model")
            body.update(
                ModelArtifacts={"S3ModelArtifacts": archive},
                FinalMetricDataList=[{"MetricName": "validation:accuracy", "Value": 0.93, "Timestamp": time.time()}],
                SecondaryStatus="Completed",
            )
        status = {None: "Completed", "hold": "InProgress"}.get(outcome, "Failed")
        body[f"{job}Status"] = status
        if status == "Failed":
            body["FailureReason"] = outcome
        self.context.store.insert(kind, name, body)
        return {f"{job}Arn": arn}

    def describe(self, request, job, kind):
        return self.context.store.get(kind, request[f"{job}Name"])

    def stop(self, request, job, kind):
        body = self.context.store.get(kind, request[f"{job}Name"])
        if body is None or body[f"{job}Status"] != "InProgress":
            raise AwsError("ValidationException", "The job is not in progress.")
        self.context.store.update(kind, request[f"{job}Name"], {f"{job}Status": "Stopped"})
        return {}

    def release(self, step):
        for body in self.context.store.list("processing-job"):
            if body["Environment"]["STEP"] == step and body["ProcessingJobStatus"] == "InProgress":
                self.context.store.update(
                    "processing-job", body["ProcessingJobName"], {"ProcessingJobStatus": "Completed"}
                )

    def wait_for(self, *steps):
        """Block until a job of each step is in progress."""

        def running() -> set[str]:
            return {
                body["Environment"]["STEP"]
                for body in self.context.store.list("processing-job")
                if body["ProcessingJobStatus"] == "InProgress"
            }

        until(running, lambda found: found >= set(steps))
