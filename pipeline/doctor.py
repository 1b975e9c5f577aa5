"""Whether an account can run the pipeline: each need checked, and for what is missing, what to do.

A check is a function that yields findings. It never raises for what is wrong in the account: that is a finding.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from pipeline import console, hints, required_permissions
from pipeline.cloud import Cloud
from pipeline.errors import UserError
from pipeline.parameters import BY_NAME, Value
from pipeline.settings import MANAGED, OFF, OPEN

State = Literal["pass", "warn", "fail"]
STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red"}

SERVICE_OF_ROLE = {
    "pipeline": "sagemaker.amazonaws.com",
    "job": "sagemaker.amazonaws.com",
    "train": "sagemaker.amazonaws.com",
    "evaluate": "sagemaker.amazonaws.com",
    "model": "sagemaker.amazonaws.com",
    "deploy": "lambda.amazonaws.com",
    "predict": "lambda.amazonaws.com",
    "scheduler": "scheduler.amazonaws.com",
}


@dataclass(frozen=True)
class Finding:
    """One row of the table: what was checked, how it stands, what was seen, and what to do where it is not well."""

    check: str
    state: State
    seen: str
    fix: str = ""


Check = Callable[[Cloud, Mapping[str, Any]], Iterator[Finding]]


def examine(connect: Callable[[], Cloud], given: Mapping[str, Value]) -> list[Finding]:
    """Every check for an account and the parameters of a run. `connect` may raise UserError: no credentials."""
    values = {name: parameter.default for name, parameter in BY_NAME.items()} | dict(given)
    try:
        cloud = connect()
    except UserError as error:
        return [Finding("credentials", "fail", error.headline, error.way_out)]
    return [finding for check in CHECKS for finding in _guarded(check, cloud, values)]


def healthy(findings: list[Finding]) -> bool:
    """Whether a run can be expected to work: warnings do not count."""
    return all(finding.state != "fail" for finding in findings)


def as_data(findings: list[Finding]) -> dict[str, Any]:
    return {"healthy": healthy(findings), "checks": [asdict(finding) for finding in findings]}


def show(findings: list[Finding]) -> None:
    """The findings as a table, each fix under what it mends."""
    shown = console.plain_table("", "check", "seen", overflow="fold")
    for finding in findings:
        seen = finding.seen.replace("[", "\\[")
        fix = f"\n[dim]→ {finding.fix}[/]" if finding.fix else ""
        shown.add_row(f"[{STYLES[finding.state]}]{finding.state}[/]", finding.check, seen + fix)
    console.console.print(shown)
    counts = {state: sum(finding.state == state for finding in findings) for state in STYLES}
    console.console.print(f"\n{counts['pass']} passed, {counts['warn']} warnings, {counts['fail']} failed.")


def _guarded(check: Check, cloud: Cloud, values: Mapping[str, Any]) -> Iterator[Finding]:
    """A check that may not ask is a warning: the account may be well, only this user cannot see it."""
    name = check.__name__.replace("_", " ")
    try:
        yield from check(cloud, values)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if "AccessDenied" in code or code in ("UnauthorizedOperation", "AuthorizationError"):
            fix = f"Ask for permission to call {error.operation_name}, or let an administrator run this."
            yield Finding(name, "warn", f"Not checked: you may not call {error.operation_name}.", fix)
        else:
            yield Finding(name, "warn", f"Not checked: {error}", "Try again; if it stays, check the region.")
    except BotoCoreError as error:
        fix = "Check network, proxy, region and AWS_ENDPOINT_URL."
        yield Finding(name, "fail", f"AWS does not answer: {error}", fix)


def credentials(cloud: Cloud, values: Mapping[str, Any]) -> Iterator[Finding]:
    who = cloud.client("sts").get_caller_identity()
    yield Finding("credentials", "pass", who["Arn"])
    if who["Account"] != cloud.settings.account:
        seen = f"The settings name account {cloud.settings.account}, you are in {who['Account']}."
        yield Finding("account", "fail", seen, "Unset PAWLINE_ACCOUNT, or sign in to that account.")


def region(cloud: Cloud, values: Mapping[str, Any]) -> Iterator[Finding]:
    known = cloud.session.get_available_regions("sagemaker")
    here = cloud.settings.region
    if here in known:
        yield Finding("region", "pass", here)
    else:
        yield Finding("region", "fail", f"SageMaker is not in {here}.", "Choose another: AWS_REGION=us-east-1.")


def roles(cloud: Cloud, values: Mapping[str, Any]) -> Iterator[Finding]:
    iam = cloud.client("iam")
    for name, service in SERVICE_OF_ROLE.items():
        arn = cloud.settings.role(name)
        try:
            role = iam.get_role(RoleName=arn.rpartition("/")[2])["Role"]
        except iam.exceptions.NoSuchEntityException:
            yield Finding(f"role {name}", "fail", f"{arn} does not exist.", f"Make it: {hints.DEPLOY_INFRA}")
            continue
        if service in _trusted(role["AssumeRolePolicyDocument"]):
            yield Finding(f"role {name}", "pass", f"{role['Arn']}, trusted by {service}")
        else:
            fix = f"Allow {service} sts:AssumeRole in its trust policy, or: {hints.DEPLOY_INFRA}"
            yield Finding(f"role {name}", "fail", f"{role['Arn']} cannot be assumed by {service}.", fix)


def permissions(cloud: Cloud, values: Mapping[str, Any]) -> Iterator[Finding]:
    """What the user needs for the commands, and what each role needs for its part."""
    caller = cloud.client("sts").get_caller_identity()["Arn"]
    mine = _principal(cloud, caller)
    if mine is None:
        yield Finding("your permissions", "pass", "you are the account's owner: everything is allowed")
    else:
        yield _simulated(cloud, "your permissions", mine, required_permissions.of_the_user(cloud.settings))
    for name, wanted in required_permissions.of_the_roles(cloud.settings).items():
        try:
            yield _simulated(cloud, f"permissions of role {name}", cloud.settings.role(name), wanted)
        except cloud.client("iam").exceptions.NoSuchEntityException:
            continue  # that the role is missing is said above


def quotas(cloud: Cloud, values: Mapping[str, Any]) -> Iterator[Finding]:
    wanted = _instances(cloud.settings.use_spot_instances, values)
    known = {}
    for operation in ("list_aws_default_service_quotas", "list_service_quotas"):
        for quota in cloud.listed("service-quotas", operation, "Quotas", ServiceCode="sagemaker"):
            known[quota["QuotaName"]] = quota["Value"]
    for name, (least, most, why) in wanted.items():
        value = known.get(name)
        link = f'Ask for more: console, Service Quotas, Amazon SageMaker, "{name}". Or choose another type.'
        if value is None:
            yield Finding("quota", "fail", f"SageMaker has no quota “{name}”.", "Is it an instance type for that use?")
        elif value < least:
            yield Finding("quota", "fail", f"{name}: {value:.0f}, needed {least} ({why}).", link)
        elif value < most:
            yield Finding("quota", "warn", f"{name}: {value:.0f}, up to {most} may be wanted ({why}).", link)
        else:
            yield Finding("quota", "pass", f"{name}: {value:.0f}, needed {most}")


def images(cloud: Cloud, values: Mapping[str, Any]) -> Iterator[Finding]:
    settings = cloud.settings
    used = [("training", settings.training_image), ("serving", settings.serving_image)]
    used += [("rule", settings.rule_image)] if settings.debugger == MANAGED else []
    for use, uri in used:
        match = re.fullmatch(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/([^:@]+)(?::([^@]+))?.*", uri)
        if not match:
            seen = f"{uri} is not in ECR: not checked."
            yield Finding(f"image {use}", "warn", seen, "SageMaker pulls from ECR only.")
            continue
        registry, its_region, repository, tag = match.groups()
        if its_region != cloud.settings.region:
            fix = f"Set PAWLINE_{use.upper()}_IMAGE to one here."
            yield Finding(f"image {use}", "warn", f"{uri} lies in another region.", fix)
        fix = f"Set PAWLINE_{use.upper()}_IMAGE; ask yourself for ecr:BatchGetImage if it should be there."
        try:
            answer = cloud.client("ecr").batch_get_image(
                registryId=registry, repositoryName=repository, imageIds=[{"imageTag": tag or "latest"}]
            )
        except cloud.client("ecr").exceptions.RepositoryNotFoundException:
            yield Finding(f"image {use}", "fail", f"There is no repository {repository} in registry {registry}.", fix)
            continue
        if answer["images"]:
            yield Finding(f"image {use}", "pass", uri)
        else:
            reason = (answer.get("failures") or [{}])[0].get("failureReason", "not found")
            yield Finding(f"image {use}", "fail", f"{uri}: {reason}.", fix)


def bucket(cloud: Cloud, values: Mapping[str, Any]) -> Iterator[Finding]:
    name = cloud.settings.bucket
    try:
        cloud.client("s3").head_bucket(Bucket=name, ExpectedBucketOwner=cloud.settings.account)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status == 404:
            yield Finding("bucket", "fail", f"s3://{name} does not exist.", f"Make it: {hints.DEPLOY_INFRA}")
        elif status in (403, 301):
            seen = f"s3://{name} belongs to another account or region, or is closed to you."
            yield Finding("bucket", "fail", seen, f"Choose another name in PAWLINE_BUCKET, then: {hints.DEPLOY_INFRA}")
        else:
            raise
        return
    yield Finding("bucket", "pass", f"s3://{name}")


def debugger(cloud: Cloud, values: Mapping[str, Any]) -> Iterator[Finding]:
    """No API says whether an account still has Debugger, so this is told and not asked."""
    way_out = {
        MANAGED: f"If Train is refused or the rules end in Error: PAWLINE_DEBUGGER=open, then: {hints.UPSERT}",
        OPEN: "Nothing to do: the Debug step applies the open rules to the saved tensors, in every account.",
        OFF: "Nothing to do: PAWLINE_DEBUGGER is off, and no rule keeps a model back.",
    }
    seen = "SageMaker Debugger has been closed to new customers since 2026-07-30."
    yield Finding("Debugger", "warn", seen, way_out[cloud.settings.debugger])


CHECKS: tuple[Check, ...] = (credentials, region, bucket, roles, permissions, quotas, images, debugger)


def _instances(spot: bool, values: Mapping[str, Any]) -> dict[str, tuple[int, int, str]]:
    """Quota name -> (instances without which a run fails, instances it may use, why)."""
    processing, training = str(values["ProcessingInstanceType"]), str(values["TrainingInstanceType"])
    parallel, hosts = int(values["MaxParallelTuningJobs"]), int(values["TrainingInstanceCount"])
    count = int(values["ProcessingInstanceCount"])
    low, high = int(values["EndpointMinInstances"]), int(values["EndpointMaxInstances"])
    job = "spot training job" if spot else "training job"
    most, why = max(parallel, hosts), f"{parallel} trials at a time, {hosts} hosts to train"
    wanted = {
        f"{processing} for processing job usage": (count, max(count, 2), "Debug and Evaluate run side by side"),
        f"{training} for {job} usage": (most, most, why),
    }
    if values["EndpointInstanceType"] != "serverless":
        why = f"{low} to {high} instances, twice that while an update replaces them"
        wanted[f"{values['EndpointInstanceType']} for endpoint usage"] = (low, 2 * high, why)
    return wanted


def _trusted(document: Any) -> set[str]:
    """The services that a trust policy names."""
    policy = json.loads(document) if isinstance(document, str) else document
    statements = policy["Statement"] if isinstance(policy["Statement"], list) else [policy["Statement"]]
    services: set[str] = set()
    for statement in statements:
        named = statement.get("Principal", {}).get("Service", []) if statement["Effect"] == "Allow" else []
        services |= {named} if isinstance(named, str) else set(named)
    return services


def _principal(cloud: Cloud, caller: str) -> str | None:
    """The user or role behind an identity, as SimulatePrincipalPolicy wants it; None for the account's owner."""
    if caller.endswith(":root"):
        return None
    if ":assumed-role/" not in caller:
        return caller
    name = caller.split("/")[1]
    return cloud.client("iam").get_role(RoleName=name)["Role"]["Arn"]


def _simulated(cloud: Cloud, check: str, principal: str, wanted: list[required_permissions.Permission]) -> Finding:
    if denied := required_permissions.denied(cloud, principal, wanted):
        mine = check.startswith("your")
        fix = "Allow it; docs/aws.md has the policy." if mine else f"Restore it: {hints.DEPLOY_INFRA}"
        return Finding(check, "fail", f"{principal} may not: {', '.join(denied)}.", fix)
    return Finding(check, "pass", f"{sum(len(need.actions) for need in wanted)} actions allowed")
