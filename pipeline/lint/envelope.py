"""Rules on the document as a whole and on what stands around a step's Arguments."""

import re
from collections.abc import Iterator
from typing import Any

from pipeline.lint.document import Definition, Step, as_list, as_object, objects
from pipeline.lint.findings import WARNING, Finding, shown, suggestion
from pipeline.lint.steptypes import PRIMITIVES, STEP_TYPES

VERSION = "2020-12-01"
ROOT_MEMBERS = ("Version", "Metadata", "Parameters", "PipelineExperimentConfig", "MlflowConfig", "Steps")
MAX_BYTES = 100 * 1024  # what CreatePipeline takes inline; longer ones go through S3
STEP_NAME = r"[A-Za-z0-9\-_]{1,64}"
STEP_MEMBERS = ("Name", "Type", "Arguments", "DependsOn", "DisplayName", "Description", "CacheConfig", "RetryPolicies")
# Members that stand beside Arguments in steps of one type: required ones first, optional ones behind them.
BESIDE_ARGUMENTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Processing": ((), ("PropertyFiles",)),
    "Lambda": (("FunctionArn",), ("OutputParameters",)),
    "Callback": (("SqsQueueUrl",), ("OutputParameters",)),
}
EXCEPTION_TYPES = (
    "Step.SERVICE_FAULT",
    "Step.THROTTLING",
    "SageMaker.JOB_INTERNAL_ERROR",
    "SageMaker.CAPACITY_ERROR",
    "SageMaker.RESOURCE_LIMIT",
)


def root_members(definition: Definition) -> Iterator[Finding]:
    """Version is the one there is; nothing unknown stands at the top."""
    version = definition.root.get("Version")
    if version != VERSION:
        yield Finding(step="", field="Version", message=f"is {shown(version)}.", fix=f'Write "{VERSION}".')
    for name in definition.root:
        if name not in ROOT_MEMBERS:
            fix = suggestion(name, ROOT_MEMBERS, "Just remove it.")
            yield Finding(step="", field=name, message="is no member of a definition.", fix=fix)
    for name in ("Metadata", "PipelineExperimentConfig", "MlflowConfig"):
        value = definition.root.get(name)
        if value is not None and not isinstance(value, dict):
            yield Finding(step="", field=name, message=f"is {shown(value)}.", fix="Make it an object.")
    yield from definition.unreadable


def size(definition: Definition) -> Iterator[Finding]:
    if definition.size >= MAX_BYTES:
        yield Finding(
            step="",
            field="definition",
            message=f"is {definition.size:,} bytes; inline it must be under {MAX_BYTES:,}.",
            fix="Shorten what repeats, or send it through PipelineDefinitionS3Location.",
        )


def step_names(definition: Definition) -> Iterator[Finding]:
    """Names are 1 to 64 letters, digits, hyphens and underscores, and unique over all branches."""
    seen: set[str] = set()
    for step in definition.steps:
        if not re.fullmatch(STEP_NAME, step.name):
            fix = "Use 1 to 64 letters, digits, hyphens and underscores."
            yield Finding(step=step.name, field="Name", message=f"{shown(step.name)} is no step name.", fix=fix)
        if step.name in seen:
            fix = "Rename one of them: names are unique in a pipeline, branches included."
            yield Finding(step=step.name, field="Name", message="Two steps have this name.", fix=fix)
        seen.add(step.name)


def step_types(definition: Definition) -> Iterator[Finding]:
    for step in definition.steps:
        if step.type not in STEP_TYPES:
            fix = suggestion(step.type, STEP_TYPES, f"There are: {', '.join(STEP_TYPES)}.")
            yield Finding(step=step.name, field="Type", message=f"{shown(step.type)} is no step type.", fix=fix)
        if not isinstance(step.own.get("Arguments", {}), dict):
            yield Finding(step=step.name, field="Arguments", message="is no object.", fix="Make it an object.")


def members_beside_arguments(definition: Definition) -> Iterator[Finding]:
    for step in definition.steps:
        required, optional = BESIDE_ARGUMENTS.get(step.type, ((), ()))
        known = {*STEP_MEMBERS, *required, *optional}
        for name in required:
            if not step.own.get(name):
                yield Finding(step=step.name, field=name, message=f"A {step.type} step needs it.", fix="Add it.")
        # Types that are not fully described here (EMR, QualityCheck …) have members of their own.
        if step.type in ("Training", "Tuning", "RegisterModel", "Condition", "Fail", *BESIDE_ARGUMENTS):
            for name in step.own:
                if name not in known:
                    fix = suggestion(name, known, "Just remove it.")
                    message = f"is no member of a {step.type} step."
                    yield Finding(step=step.name, field=name, message=message, fix=fix)


def output_parameters(definition: Definition) -> Iterator[Finding]:
    """The outputs of Lambda and Callback steps have a name and a known type."""
    for step in definition.steps:
        if step.type not in ("Lambda", "Callback"):
            continue
        names: set[str] = set()
        for index, entry in enumerate(as_list(step.own.get("OutputParameters"))):
            name, kind = as_object(entry).get("OutputName"), as_object(entry).get("OutputType")
            where = f"OutputParameters[{index}]"
            if not isinstance(name, str) or not name or name in names:
                message = f"OutputName is {shown(name)}."
                yield Finding(step=step.name, field=where, message=message, fix="Give each output a name of its own.")
            if str(kind) not in PRIMITIVES:
                fix = suggestion(kind, PRIMITIVES, f"Write one of {', '.join(PRIMITIVES)}.")
                yield Finding(step=step.name, field=where, message=f"OutputType is {shown(kind)}.", fix=fix)
            names.add(str(name))


def fail_has_a_message(definition: Definition) -> Iterator[Finding]:
    for step in definition.steps:
        if step.type == "Fail" and not step.arguments.get("ErrorMessage"):
            fix = "Say why the execution ends: it is all that its reader gets."
            yield Finding(step=step.name, field="Arguments.ErrorMessage", message="is missing.", fix=fix)


def cache_config(definition: Definition) -> Iterator[Finding]:
    """CacheConfig is {Enabled, ExpireAfter: ISO 8601 duration} and stands where the service caches."""
    for step in definition.steps:
        config = step.own.get("CacheConfig")
        if config is None:
            continue
        enabled, expires = as_object(config).get("Enabled"), as_object(config).get("ExpireAfter")
        if not isinstance(enabled, bool):
            message = f"is {shown(enabled)}."
            yield Finding(step=step.name, field="CacheConfig.Enabled", message=message, fix="Write true or false.")
        if expires is not None and not _is_duration(expires):
            message, fix = f"{shown(expires)} is no duration.", 'Write it in ISO 8601, for instance "P30D" or "PT12H".'
            yield Finding(step=step.name, field="CacheConfig.ExpireAfter", message=message, fix=fix)
        if step.type in STEP_TYPES and not STEP_TYPES[step.type].cacheable:
            message = f"SageMaker does not cache {step.type} steps."
            yield Finding(step=step.name, field="CacheConfig", message=message, fix="Just remove it.", severity=WARNING)


def retry_policies(definition: Definition) -> Iterator[Finding]:
    """Known exception types, and one of MaxAttempts (1 to 20) and ExpireAfterMin (0 to 14400). Source: SDK retry.py."""
    for step in definition.steps:
        for index, policy in objects(step.own.get("RetryPolicies")):
            for field, message, fix in _policy_problems(step, policy):
                where = f"RetryPolicies[{index}]{field}"
                yield Finding(step=step.name, field=where, message=message, fix=fix)


def _policy_problems(step: Step, policy: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    kinds = as_list(policy.get("ExceptionType"))
    if not kinds:
        yield ".ExceptionType", "is empty.", f"List some of {', '.join(EXCEPTION_TYPES)}."
    for kind in kinds:
        if kind not in EXCEPTION_TYPES:
            yield ".ExceptionType", f"{shown(kind)} is none.", suggestion(kind, EXCEPTION_TYPES, "Just remove it.")
        elif kind.startswith("SageMaker.") and step.type in ("Model", "RegisterModel"):
            yield ".ExceptionType", f"{kind} does not happen in {step.type} steps.", "Just remove it."
    if ("MaxAttempts" in policy) == ("ExpireAfterMin" in policy):
        yield "", "needs MaxAttempts or ExpireAfterMin, not both.", "Give one of the two."
    for name, low, high in (("MaxAttempts", 1, 20), ("ExpireAfterMin", 0, 14400)):
        value = policy.get(name)
        if value is not None and (not isinstance(value, int) or not low <= value <= high):
            yield f".{name}", f"is {shown(value)}.", f"Write a number from {low} to {high}."


def _is_duration(text: Any) -> bool:
    pattern = r"P(?=.)(\d+Y)?(\d+M)?(\d+W)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+S)?)?"
    return isinstance(text, str) and re.fullmatch(pattern, text) is not None
