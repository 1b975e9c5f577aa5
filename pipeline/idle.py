"""Endpoints that nobody asks anything, and what they cost a month."""

from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline import console, hints, prices
from pipeline.cloud import Cloud
from pipeline.prices import HOURS_PER_MONTH, Prices

MINUTE = 60


def idle(cloud: Cloud, hours: float = 24) -> list[dict[str, Any]]:
    """The project's endpoints, idle ones first: invocations in the last hours, and dollars a month as they are now.

    An endpoint counts as idle when it is older than `hours` and had no invocation in them.
    """
    table = prices.load()
    sagemaker = cloud.client("sagemaker")
    project = cloud.settings.project
    listed = cloud.listed("sagemaker", "list_endpoints", "Endpoints", NameContains=project)
    named = [endpoint["EndpointName"] for endpoint in listed]
    own = [name for name in named if name == project or name.startswith(f"{project}-")]
    found = [_endpoint(cloud, sagemaker.describe_endpoint(EndpointName=name), hours, table) for name in own]
    return sorted(found, key=lambda entry: (not entry["idle"], entry["endpoint"]))


def show(found: list[dict[str, Any]], hours: float) -> None:
    """The endpoints as a table, and how to end those that are idle."""
    if not found:
        console.console.print("The project has no endpoint.")
        return
    titles = ("endpoint", "state", "instances", "age", f"invocations in {hours:g} h", "a month", "")
    shown = console.plain_table(*titles, no_wrap=True)
    for entry in found:
        month = "no price" if entry["month"] is None else f"${entry['month']:.2f}"
        shown.add_row(
            entry["endpoint"],
            entry["status"],
            entry["instances"],
            f"{entry['age_hours']:.1f} h",
            f"{entry['invocations']:.0f}",
            month,
            "[bold yellow]idle[/]" if entry["idle"] else "",
        )
    console.console.print(shown)
    if any(entry["idle"] for entry in found):
        console.say(f"\nRemove what you do not need: {hints.DESTROY}, or aws sagemaker delete-endpoint.")


def _endpoint(cloud: Cloud, endpoint: dict, hours: float, table: Prices) -> dict[str, Any]:
    name = endpoint["EndpointName"]
    variants = endpoint.get("ProductionVariants", [])
    config = cloud.client("sagemaker").describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
    types = {v["VariantName"]: v.get("InstanceType") for v in config["ProductionVariants"]}
    counts = {v["VariantName"]: v.get("CurrentInstanceCount", 0) for v in variants}
    invocations = sum(_invocations(cloud, name, variant, hours) for variant in types)
    age = (datetime.now(UTC) - endpoint["CreationTime"]).total_seconds() / 3600
    rented = {variant: kind for variant, kind in types.items() if kind}  # a serverless variant costs nothing idle
    known = all(kind in table.hourly for kind in rented.values())
    month = sum(table.hourly.get(kind, 0.0) * counts.get(variant, 0) for variant, kind in rented.items())
    return {
        "endpoint": name,
        "status": endpoint["EndpointStatus"],
        "instances": ", ".join(f"{counts.get(v, 0)} x {kind}" for v, kind in rented.items()) or "serverless",
        "age_hours": round(age, 2),
        "invocations": invocations,
        "month": round(month * HOURS_PER_MONTH, 2) if known else None,
        "idle": invocations == 0 and age >= hours,
    }


def _invocations(cloud: Cloud, endpoint: str, variant: str, hours: float) -> float:
    """The sum of CloudWatch's Invocations; its period is a whole number of minutes."""
    now = datetime.now(UTC)
    span = timedelta(hours=hours)
    minutes = max(1, int(span.total_seconds() // MINUTE // 1000) + 1)  # CloudWatch gives 1,440 points at most
    points = cloud.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName="Invocations",
        Dimensions=[{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}],
        StartTime=now - span,
        EndTime=now + timedelta(minutes=1),
        Period=minutes * MINUTE,
        Statistics=["Sum"],
    )["Datapoints"]
    return sum(point["Sum"] for point in points)
