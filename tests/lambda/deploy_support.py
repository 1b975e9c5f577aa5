"""What the tests of the deploy function share: packages, an event, and a call of it against a world in memory."""

import hashlib
import json
from typing import Any

from calls import Backoff, Clients
from deletion import Deletion, delete
from deployment import Deployment
from events import STATE_CHANGE, finish
from fake_sagemaker import SERVICES, World
from reconcile import Report, reconcile

GROUP = "arn:aws:sagemaker:us-east-1:123456789012:model-package/pawline-dogs"
PACKAGE, NEWER, PENDING, REJECTED = (f"{GROUP}/{version}" for version in (1, 2, 3, 4))
UNVERSIONED = GROUP.replace("pawline-dogs", "lonely")
ARCHIVE = b"a model"
SHA256 = hashlib.sha256(ARCHIVE).hexdigest()
RELEASES = "s3://bucket/releases"
CONTAINER = {
    "Image": "image:1",
    "ModelDataUrl": "s3://bucket/models/run/output/model.tar.gz",
    "Environment": {"A": "b", "MODEL_SHA256": SHA256},
}
RESOURCE = "endpoint/dogs/variant/AllTraffic"
ALARMS = ["dogs-5xx", "dogs-model-errors", "dogs-latency"]

EVENT = {
    "model_package_arn": PACKAGE,
    "endpoint_name": "dogs",
    "model_role_arn": "arn:aws:iam::123456789012:role/pawline-model",
    "instance_type": "ml.m5.large",
    "min_instances": 1,
    "max_instances": 3,
    "target_invocations_per_instance": 300,
    "scale_in_cooldown": 300,
    "scale_out_cooldown": 60,
}


def new_world() -> World:
    """Two approved packages whose evaluation brings a photo of a beagle, which their models know; one that waits, one
    that is rejected, and one outside of any group."""
    statistics = {"ContentType": "application/json", "S3Uri": "s3://bucket/runs/1/evaluation/evaluation.json"}
    approved = {
        "ModelApprovalStatus": "Approved",
        "InferenceSpecification": {"Containers": [CONTAINER]},
        "ModelMetrics": {"ModelQuality": {"Statistics": statistics}},
    }
    world = World(
        {
            PACKAGE: approved,
            NEWER: approved,
            PENDING: {"ModelApprovalStatus": "PendingManualApproval"},
            REJECTED: {"ModelApprovalStatus": "Rejected", "ApprovalDescription": "mistakes cats for dogs"},
            UNVERSIONED: {},
        }
    )
    evaluation = {"pawline": {"top1": 0.9}, "smoke_test": {"file": "smoke.jpg", "breed": "beagle"}}
    world.objects["bucket", "runs/1/evaluation/evaluation.json"] = json.dumps(evaluation).encode()
    world.objects["bucket", "runs/1/evaluation/smoke.jpg"] = b"a JPEG"
    world.objects["bucket", "models/run/output/model.tar.gz"] = ARCHIVE
    return world


def clients_of(world: World) -> Clients:
    return Clients(*(world.client(service) for service in SERVICES), releases=RELEASES)


def patience_of(seconds: float = 60) -> Backoff:
    """Each look at the clock takes a second, and no sleep takes any."""
    ticks = iter(range(10_000))
    return Backoff(seconds, sleep=lambda _: None, clock=lambda: float(next(ticks)))


def deploy(world: World, seconds: float = 60, **changes: Any) -> Report:
    return reconcile(Deployment.from_event(EVENT | changes), clients_of(world), patience_of(seconds))


def state_event(world: World, status: str = "IN_SERVICE", name: str = "dogs") -> Report:
    event = {"detail-type": STATE_CHANGE, "detail": {"EndpointName": name, "EndpointStatus": status}}
    return finish(event, clients_of(world), patience_of())


def delete_all(world: World, seconds: float = 60, name: str = "dogs") -> Report:
    deletion = Deletion.from_event({"action": "delete", "endpoint_name": name})
    return delete(deletion, clients_of(world), patience_of(seconds))
