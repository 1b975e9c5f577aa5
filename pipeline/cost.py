"""What an execution costs: at most and as expected, before it starts; actually, after it ended."""

import json
from collections.abc import Mapping
from typing import Any

from rich.table import Table

from pipeline import console, durations, execution, hints, prices
from pipeline.cloud import Cloud
from pipeline.durations import Work
from pipeline.errors import UserError
from pipeline.parameters import BY_NAME, Value
from pipeline.prices import HOURS_PER_MONTH, Prices

DOG_IMAGES = 8351  # photos in dogImages.zip
SERVERLESS = "serverless"
DOCUMENT_DOLLARS = 4.03  # the bill of the starting document
BATCH = {"Processing", "Training", "Tuning"}


def estimate(document: str, values: Mapping[str, Value], *, images: int = DOG_IMAGES) -> dict[str, Any]:
    """The cost of one execution of a definition (its JSON) with parameters, and of its endpoint per month.

    Raises UserError for an instance type without a price.
    """
    definition = json.loads(document)
    table = prices.load()
    defaults = {entry["Name"]: entry.get("DefaultValue") for entry in definition["Parameters"]}
    bound = {**defaults, **values}
    work = Work(images, bound)
    steps = [_step_cost(step, bound, work, table) for step in definition["Steps"] if step["Type"] in BATCH]
    endpoint = str(bound["EndpointInstanceType"])
    used = {step["instance_type"] for step in steps} | {endpoint}
    # A serverless endpoint costs by the request, and nothing while it waits for one.
    month = 0.0 if endpoint == SERVERLESS else table.of(endpoint) * HOURS_PER_MONTH
    return {
        "steps": steps,
        "upper": round(sum(step["upper"] for step in steps), 2),
        "expected": round(sum(step["expected"] for step in steps), 2),
        "endpoint_month": {
            "instance_type": endpoint,
            "expected": round(month * int(bound["EndpointMinInstances"]), 2),
            "upper": round(month * int(bound["EndpointMaxInstances"]), 2),
        },
        "document": DOCUMENT_DOLLARS,
        "prices": {"source": table.source, "date": table.date, "unverified": sorted(used & table.unverified)},
        "assumptions": durations.assumptions(images),
    }


def for_pipeline(settings: Any, values: Mapping[str, Value], *, images: int = DOG_IMAGES) -> dict[str, Any]:
    """The estimate for this project's own definition."""
    if images < 1:
        raise UserError(f"{images} images cost nothing.", "Give the number of photos in the data set.")
    for name in ("ProcessingInstanceType", "TrainingInstanceType", "EndpointInstanceType"):
        kind = str(values.get(name, BY_NAME[name].default))
        if kind != SERVERLESS:
            prices.load().of(kind)

    from pipeline import definition

    return estimate(definition.definition(settings), values, images=images)


def actual(cloud: Cloud, arn: str) -> dict[str, Any]:
    """The cost of an execution from its billable seconds, at on-demand prices less what spot saved."""
    table = prices.load()
    jobs = [cost for step in execution.steps(cloud, arn) if (cost := _job_cost(cloud, step, table))]
    return {
        "execution_arn": arn,
        "status": execution.describe(cloud, arn)["PipelineExecutionStatus"],
        "steps": jobs,
        "billed_seconds": round(sum(job["billed_seconds"] for job in jobs), 1),
        "dollars": round(sum(job["dollars"] for job in jobs), 4),
        "document": DOCUMENT_DOLLARS,
        "prices": {"source": table.source, "date": table.date},
    }


def _step_cost(step: dict, values: Mapping[str, Any], work: Work, table: Prices) -> dict[str, Any]:
    """One step: `jobs` jobs of `instances` instances each. Seconds are per job; dollars are for all of it."""
    arguments = step["Arguments"]
    jobs = 1
    if step["Type"] == "Processing":
        resources = arguments["ProcessingResources"]["ClusterConfig"]
    elif step["Type"] == "Tuning":
        limits = arguments["HyperParameterTuningJobConfig"]["ResourceLimits"]
        jobs = int(_bound(limits["MaxNumberOfTrainingJobs"], values))
        arguments = arguments["TrainingJobDefinition"]
        resources = arguments["ResourceConfig"]
    else:
        resources = arguments["ResourceConfig"]
    kind, instances = str(_bound(resources["InstanceType"], values)), int(_bound(resources["InstanceCount"], values))
    limit = int(_bound(arguments["StoppingCondition"]["MaxRuntimeInSeconds"], values))
    volume = float(_bound(resources["VolumeSizeInGB"], values))
    seconds = durations.expected_seconds(step["Name"], work, kind, instances)
    seconds = min(limit, limit if seconds is None else seconds)

    def dollars(job_seconds: float) -> float:
        hours = table.of(kind) * job_seconds / 3600
        return jobs * instances * (hours + table.storage(volume, job_seconds))

    return {
        "step": step["Name"],
        "instance_type": kind,
        "instances": instances,
        "jobs": jobs,
        "limit_seconds": limit,
        "upper": round(dollars(limit), 4),
        "expected_seconds": round(seconds, 1),
        "expected": round(dollars(seconds), 4),
    }


def _bound(value: Any, values: Mapping[str, Any]) -> Any:
    """A literal of the definition, or the value of the parameter that it refers to."""
    if isinstance(value, dict):
        return values[value["Get"].removeprefix("Parameters.")]
    return value


def _job_cost(cloud: Cloud, step: execution.Step, table: Prices) -> dict[str, Any] | None:
    """What a step's jobs took: seconds per host, and billed seconds summed over hosts and jobs. `spot_savings`: the
    share of the price that spot saved, 0 to 1."""
    if not step.job:
        return None
    sagemaker = cloud.client("sagemaker")
    kind, name = step.job
    if kind == "ProcessingJob":
        job = sagemaker.describe_processing_job(ProcessingJobName=name)
        cluster = job["ProcessingResources"]["ClusterConfig"]
        seconds = _between(job, "ProcessingStartTime", "ProcessingEndTime")
        found = [(cluster["InstanceType"], cluster["InstanceCount"], seconds, seconds)]
    elif kind == "TrainingJob":
        found = [_training(sagemaker.describe_training_job(TrainingJobName=name))]
    else:
        trials = [trial["TrainingJobName"] for trial in execution.trials(cloud, name)]
        found = [_training(sagemaker.describe_training_job(TrainingJobName=trial)) for trial in trials]
    if not found:
        return None
    instance_type, instances = found[0][:2]
    ran = sum(seconds * count for _, count, seconds, _ in found)
    billed = 0.0 if step.cached else sum(billable * count for _, count, _, billable in found)
    return {
        "step": step.name,
        "instance_type": instance_type,
        "instances": instances,
        "jobs": len(found),
        "seconds": round(sum(seconds for _, _, seconds, _ in found), 1),
        "billed_seconds": round(billed, 1),
        "spot_savings": round(1 - billed / ran, 3) if ran and not step.cached else 0.0,
        "dollars": round(sum(table.of(t) * n * b / 3600 for t, n, _, b in found) * (not step.cached), 6),
        "reused": step.cached,
    }


def _training(job: dict) -> tuple[str, int, float, float]:
    """(instance type, instances, seconds, billable seconds per instance). Spot's saving is in the difference.

    Source: API reference, DescribeTrainingJob, BillableTimeInSeconds: to be multiplied by the number of instances.
    """
    resources = job["ResourceConfig"]
    seconds = job.get("TrainingTimeInSeconds", 0)
    billable = job.get("BillableTimeInSeconds", seconds)
    return resources["InstanceType"], resources.get("InstanceCount", 1), float(seconds), float(billable)


def _between(job: dict, start: str, end: str) -> float:
    return (job[end] - job[start]).total_seconds() if start in job and end in job else 0.0


def show_estimate(found: dict[str, Any]) -> None:
    """The estimate as a table, with its assumptions below."""
    shown = _table("step", "instances", "jobs", "at most", "", "expected", "")
    for step in found["steps"]:
        shown.add_row(
            step["step"],
            f"{step['instances']} x {step['instance_type']}",
            str(step["jobs"]),
            _hours(step["limit_seconds"]),
            f"${step['upper']:.2f}",
            _hours(step["expected_seconds"]),
            f"${step['expected']:.2f}",
        )
    shown.add_row("one execution", "", "", "", f"${found['upper']:.2f}", "", f"[bold]${found['expected']:.2f}[/]")
    month = found["endpoint_month"]
    name = f"1 x {month['instance_type']}, always on"
    shown.add_row("endpoint, a month", name, "", "", f"${month['upper']:.2f}", "", f"[bold]${month['expected']:.2f}[/]")
    say = console.console.print
    say(shown)
    say(f"\nThe starting document's bill, all in all: ${found['document']:.2f}.")
    say(f"\nPrices: {found['prices']['source']}, {found['prices']['date']}.")
    if found["prices"]["unverified"]:
        console.say(
            f"[yellow]Not verified: {', '.join(found['prices']['unverified'])}. Ask AWS: {hints.REFRESH_PRICES}[/]"
        )
    say("At most: every job runs into its time limit and autoscaling stays at its maximum. Expected:")
    for line in found["assumptions"]:
        say(f"  - {line}")


def show_actual(found: dict[str, Any]) -> None:
    """What an execution cost, per step."""
    shown = _table("step", "instances", "jobs", "a host", "billed, summed", "spot saved", "cost")
    for step in found["steps"]:
        shown.add_row(
            step["step"],
            f"{step['instances']} x {step['instance_type']}",
            str(step["jobs"]),
            f"{step['seconds']:.0f} s",
            "reused" if step["reused"] else f"{step['billed_seconds']:.0f} s",
            f"{step['spot_savings']:.0%}" if step["spot_savings"] > 0 else "",
            f"${step['dollars']:.4f}",
        )
    shown.add_row("", "", "", "", f"{found['billed_seconds']:.0f} s", "", f"[bold]${found['dollars']:.4f}[/]")
    console.console.print(shown)
    console.console.print(
        f"\nAt {found['prices']['source']}, {found['prices']['date']}. The starting document: ${found['document']:.2f}."
    )


def _table(*titles: str) -> Table:
    shown = console.plain_table(*titles[:2], no_wrap=True)
    for title in titles[2:]:
        shown.add_column(title, header_style="dim", no_wrap=True, justify="right")
    return shown


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds:.0f} s"
