"""A production variant as it was planned: what its instances run, and how DescribeEndpoint tells of it."""

import time

from sagelocal.core.json import Json
from sagelocal.runtime import memory
from sagelocal.services.sagemaker.documents import Endpoint, PlannedVariant
from sagelocal.services.sagemaker.hosting.instance import Served


def served(endpoint: str, variant: PlannedVariant) -> Served:
    container, serverless = variant["Container"], variant["Serverless"]
    return Served(
        endpoint=endpoint,
        variant=variant["Name"],
        image=container["Image"],
        model_data=container["ModelData"],
        packed=container["Packed"],
        environment=container["Environment"],
        role=variant.get("Role"),
        startup_seconds=variant["StartupSeconds"],
        config=variant.get("Config", ""),
        capture=variant.get("Capture"),
        memory=serverless["MemorySizeInMB"] << 20 if serverless else memory.of_instance(variant.get("InstanceType")),
    )


def summary(variant: PlannedVariant, active: int | None = None) -> Json:
    """A ProductionVariantSummary; `active`: how many of its instances have traffic, where that is not all of them."""
    image = variant["Container"]["Image"]
    shown: Json = {
        "VariantName": variant["Name"],
        "DeployedImages": [{"SpecifiedImage": image, "ResolvedImage": image, "ResolutionTime": time.time()}],
        "CurrentWeight": variant["Weight"],
        "DesiredWeight": variant["Weight"],
    }
    serverless = variant["Serverless"]
    if serverless:
        shown.update({"CurrentServerlessConfig": serverless, "DesiredServerlessConfig": serverless})
    else:
        shown["CurrentInstanceCount"] = variant["Count"] if active is None else active
        shown["DesiredInstanceCount"] = variant["Count"]
    return shown


def status(name: str, message: str) -> list[Json]:
    """A summary's VariantStatus: Creating, Updating, ActivatingTraffic, Baking or Deleting, since now."""
    return [{"Status": name, "StatusMessage": message, "StartTime": time.time()}]


def capture_summary(variants: list[PlannedVariant]) -> Json | None:
    """DescribeEndpoint's DataCaptureConfig of planned variants; None where nothing is said of capturing."""
    config = next((variant["Capture"] for variant in variants if variant.get("Capture")), None)
    if config is None:
        return None
    enabled = config.get("EnableCapture", True)
    return {
        "EnableCapture": enabled,
        "CaptureStatus": "Started" if enabled else "Stopped",
        "CurrentSamplingPercentage": config["InitialSamplingPercentage"],
        "DestinationS3Uri": config["DestinationS3Uri"],
        "KmsKeyId": config.get("KmsKeyId", ""),
    }


def note_desired(body: Endpoint, variants: list[PlannedVariant]) -> None:
    """Write into an endpoint's document what its variants are changing to."""
    wanted = {variant["Name"]: variant for variant in variants}
    for there in body.get("ProductionVariants", []):
        variant = wanted[there["VariantName"]]
        there["DesiredWeight"] = variant["Weight"]
        if "DesiredInstanceCount" in there and there["DesiredInstanceCount"] != variant["Count"]:
            direction = "out" if variant["Count"] > there["DesiredInstanceCount"] else "in"
            there["DesiredInstanceCount"] = variant["Count"]
            there["VariantStatus"] = status(
                "Updating", f"Scaling {direction} desired instance count to {variant['Count']}."
            )
