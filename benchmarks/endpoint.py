"""An endpoint under constant load: exchanged, one of two instances killed, scaled out and in by its policy.

    python -m benchmarks.endpoint [--picture docs/pictures/scaling.png]

The model is a stand-in that answers after 10 ms: what is measured is the endpoint around it. The load comes from the
load generator of `pawline load-test`, at a rate, without retries.
"""

import argparse
import itertools
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

from benchmarks.archives import tar_gz
from benchmarks.machine import print_table
from pipeline import cloud as clouds
from pipeline.cloud import Cloud
from pipeline.load_test import clock, plot, scaling
from pipeline.load_test.plan import Phase, Plan, serving
from pipeline.load_test.process import Worker
from sagelocal.core import lifecycle

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/python:3.11"
SWAPPED, SCALED = "bench-swapped", "bench-scaled"  # endpoints: the load on one is no history of the other
VARIANT = "AllTraffic"
RATE = 60.0  # requests a second
USERS = 8
TARGET = 600.0  # requests a minute and instance
SPEED = 30.0
KILL_SECONDS = 45.0

SERVE = """
import http.server, json, os, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(b"")

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(0.01)
        self.answer(json.dumps({"port": self.server.server_port}).encode())

    def log_message(self, *arguments):
        pass

http.server.ThreadingHTTPServer.request_queue_size = 128  # as servers have it; the default of 5 drops connections
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", type=Path, help="draw the scaling run there")
    picture = parser.parse_args().picture
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SAGELOCAL_STATE_DIR"] = folder
        os.environ.pop("AWS_ENDPOINT_URL", None)
        cloud = clouds.connect(aws=False)
        try:
            photo = Path(folder) / "dog.jpg"
            Image.new("RGB", (224, 224), "peru").save(photo)
            plan = Plan(target="endpoint", name=SWAPPED, photo=str(photo), content_type="image/jpeg", phases=())
            register_model(cloud)
            create(cloud, SWAPPED)
            create(cloud, SCALED)
            rows = [
                ("blue/green swaps under load", under_load(plan, lambda: swap(cloud)), "0 failed"),
                ("one of two instances killed under load", under_load(plan, lambda: kill_one(cloud)), "0 failed"),
                ("instances killed and swapped under 64 callers", killed(cloud, plan), "0 failed"),
                ("step load of 2.8 times the target", scale(cloud, replace(plan, name=SCALED), picture), "1 → 3 → 1"),
            ]
        finally:
            lifecycle.stop(Path(folder))
    print_table(f"An endpoint under {RATE:g} requests/s", rows)


def register_model(cloud: Cloud) -> None:
    """The stand-in, and two configurations with one instance of it."""
    cloud.client("s3").create_bucket(Bucket="bench")
    cloud.client("s3").put_object(Bucket="bench", Key="model.tar.gz", Body=tar_gz({"code/serve.py": SERVE}))
    sagemaker = cloud.client("sagemaker")
    sagemaker.create_model(
        ModelName="bench",
        ExecutionRoleArn="arn:aws:iam::123456789012:role/bench-model",
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": "s3://bench/model.tar.gz"},
    )
    for colour in ("blue", "green"):
        variant = {"VariantName": VARIANT, "ModelName": "bench", "InitialInstanceCount": 1}
        sagemaker.create_endpoint_config(
            EndpointConfigName=colour, ProductionVariants=[{**variant, "InstanceType": "ml.m5.large"}]
        )


def create(cloud: Cloud, endpoint: str) -> None:
    cloud.client("sagemaker").create_endpoint(EndpointName=endpoint, EndpointConfigName="blue")
    settle(cloud, endpoint)


def under_load(plan: Plan, happening: Callable[[], str], *, users: int = USERS, rate: float | None = RATE) -> str:
    """What happened while requests came at a rate, and how many of them were answered and failed."""
    loaded = replace(plan, phases=(Phase(users, 600, rate),), max_requests=1_000_000)
    phases: list[dict[str, Any]] = []
    on = threading.Event()

    def listen(worker: Worker) -> None:
        for line in worker.lines():
            on.set()
            phases.extend([line["phase"]] if "phase" in line else [])

    with Worker(loaded) as worker:
        listener = threading.Thread(target=listen, args=(worker,))
        listener.start()
        assert on.wait(30), "the load generator did not start"
        what = happening()
        time.sleep(2)
        worker.end()
        listener.join()
    errors: Counter[str] = sum((Counter(phase["errors"]) for phase in phases), Counter())
    answered = sum(phase["requests"] for phase in phases)
    failed = ", ".join(f"{count} {code}" for code, count in errors.items()) or "0"
    return f"{what}: {answered} answered, {failed} failed, p99 {phases[0]['p99_ms']:.0f} ms"


def swap(cloud: Cloud) -> str:
    colours = ("green", "blue", "green")
    for colour in colours:
        cloud.client("sagemaker").update_endpoint(EndpointName=SWAPPED, EndpointConfigName=colour)
        settle(cloud)
    return f"{len(colours)} swaps"


def kill_one(cloud: Cloud) -> str:
    capacity(cloud, 2)
    os.kill(an_instance(cloud), signal.SIGKILL)
    time.sleep(3)
    capacity(cloud, 1)
    return "SIGKILL"


def killed(cloud: Cloud, plan: Plan) -> str:
    """Of two instances one is killed every two seconds, and the whole fleet is exchanged again and again."""
    kills = 0

    def happening() -> str:
        nonlocal kills
        end = time.monotonic() + KILL_SECONDS
        capacity(cloud, 2)
        colours = itertools.cycle(("blue", "green"))
        while time.monotonic() < end:
            os.kill(an_instance(cloud), signal.SIGKILL)
            kills += 1
            time.sleep(1)
            if kills % 2:
                cloud.client("sagemaker").update_endpoint(EndpointName=SWAPPED, EndpointConfigName=next(colours))
                settle(cloud)
        return f"{kills} kills"

    return under_load(plan, happening, users=64, rate=None)


def an_instance(cloud: Cloud) -> int:
    """The process of one that is in service, as this machine counts: in its sandbox it has another number."""
    body = cloud.client("sagemaker-runtime").invoke_endpoint(EndpointName=SWAPPED, Body=b"x")["Body"].read()
    port = json.loads(body)["port"]
    return next(each.pid for each in psutil.net_connections("tcp") if each.laddr.port == port and each.pid)


def scale(cloud: Cloud, plan: Plan, picture: Path | None) -> str:
    """A step load above the target of a policy of one to three instances, then none."""
    named = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{SCALED}/variant/{VARIANT}",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    application = cloud.client("application-autoscaling")
    application.register_scalable_target(**named, MinCapacity=1, MaxCapacity=3)
    application.put_scaling_policy(
        **named,
        PolicyName="bench",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": TARGET,
            "PredefinedMetricSpecification": {"PredefinedMetricType": scaling.METRIC},
            "ScaleInCooldown": 300,
            "ScaleOutCooldown": 60,
        },
    )
    behind = serving(cloud, SCALED)
    policy = scaling.find_policy(cloud, behind)
    with clock.running_at(SPEED) as speed:
        report = scaling.Run(
            cloud, plan, behind, policy, speed, lambda text: print(f"  {text}", file=sys.stderr)
        ).report()
    if picture:
        plot.scaling({"name": SCALED, **report}, picture)
    failed = sum(sum(tick["errors"].values()) for tick in report["load"])
    minutes = report["instances"][-1]["minute"]
    way = f"{report['from']} → {report['highest']} → {report['last']}"
    return f"{way} in {minutes:.0f} min of the policy ({report['seconds']:.0f} s), {failed} failed"


def capacity(cloud: Cloud, count: int) -> None:
    cloud.client("sagemaker").update_endpoint_weights_and_capacities(
        EndpointName=SWAPPED, DesiredWeightsAndCapacities=[{"VariantName": VARIANT, "DesiredInstanceCount": count}]
    )
    settle(cloud)


def settle(cloud: Cloud, endpoint: str = SWAPPED) -> None:
    """Wait until the endpoint is in service."""
    while (found := cloud.client("sagemaker").describe_endpoint(EndpointName=SWAPPED))["EndpointStatus"] != "InService":
        assert found["EndpointStatus"] in ("Creating", "Updating"), found
        time.sleep(0.05)


if __name__ == "__main__":
    main()
