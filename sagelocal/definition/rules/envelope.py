"""Rules on the document as a whole and on what stands around a step's Arguments."""

import re
from collections.abc import Iterator
from typing import Any

from sagelocal.definition import references, retries
from sagelocal.definition.caching import duration_seconds
from sagelocal.definition.document import Definition, Step, as_list, as_object, objects
from sagelocal.definition.findings import ERROR, WARNING, Finding, shown, suggestion
from sagelocal.definition.parameters import PRIMITIVES
from sagelocal.definition.steptypes import STEP_TYPES

VERSION = "2020-12-01"
ROOT_MEMBERS = ("Version", "Metadata", "Parameters", "PipelineExperimentConfig", "MlflowConfig", "Steps")
MAX_CHARACTERS = 1024 * 1024  # of PipelineDefinition; S3 takes no more
STEP_NAME = r"[A-Za-z0-9\-_]{1,64}"
STEP_MEMBERS = ("Name", "Type", "Arguments", "DependsOn", "DisplayName", "Description", "CacheConfig", "RetryPolicies")
# Members that stand beside Arguments in steps of one type: required ones first, optional ones behind them.
BESIDE_ARGUMENTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Processing": ((), ("PropertyFiles",)),
    "Lambda": (("FunctionArn",), ("OutputParameters",)),
    "Callback": (("SqsQueueUrl",), ("OutputParameters",)),
}


def root_members(definition: Definition) -> Iterator[Finding]:
    """Version, where it stands, is the one there is; nothing unknown stands at the top."""
    version = definition.root.get("Version", VERSION)
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
    if definition.size > MAX_CHARACTERS:
        yield Finding(
            step="",
            field="definition",
            message=f"is {definition.size:,} characters; at most {MAX_CHARACTERS:,} are allowed.",
            fix="Shorten what repeats.",
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
        for name in ("DisplayName", "Description"):
            if not isinstance(step.own.get(name, ""), str):
                yield Finding(step=step.name, field=name, message=f"is {shown(step.own[name])}.", fix="Write a text.")


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
        entries = step.own.get("OutputParameters") or []
        if not isinstance(entries, list):
            message, fix = f"is {shown(entries)}.", "List objects with OutputName and OutputType."
            yield Finding(step=step.name, field="OutputParameters", message=message, fix=fix)
        names: set[str] = set()
        for index, entry in enumerate(as_list(entries)):
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
        message = step.arguments.get("ErrorMessage")
        if step.type == "Fail" and not (message and (isinstance(message, str) or references.kind(message))):
            fix = "Say why the execution ends: it is all that its reader gets."
            said = "is missing." if message is None else f"{shown(message)} is no text."
            yield Finding(step=step.name, field="Arguments.ErrorMessage", message=said, fix=fix)


def cache_config(definition: Definition) -> Iterator[Finding]:
    """CacheConfig is {Enabled, ExpireAfter: duration} and stands where the service caches."""
    for step in definition.steps:
        config = step.own.get("CacheConfig")
        if config is None:
            continue
        for field, message, fix in _cache_problems(config):
            yield Finding(step=step.name, field=f"CacheConfig{field}", message=message, fix=fix)
        if step.type in STEP_TYPES and not STEP_TYPES[step.type].cacheable:
            message = f"SageMaker does not cache {step.type} steps."
            yield Finding(step=step.name, field="CacheConfig", message=message, fix="Just remove it.", severity=WARNING)


def _cache_problems(config: Any) -> Iterator[tuple[str, str, str]]:
    if not isinstance(config, dict):
        yield "", f"is {shown(config)}.", 'Write {"Enabled": true, "ExpireAfter": "P30D"}.'
        return
    for name in set(config) - {"Enabled", "ExpireAfter"}:
        yield f".{name}", "is no member of CacheConfig.", suggestion(name, ("Enabled", "ExpireAfter"), "Remove it.")
    if not isinstance(config.get("Enabled", False), bool):
        yield ".Enabled", f"is {shown(config['Enabled'])}.", "Write true or false."
    if config.get("Enabled") is True and config.get("ExpireAfter") is not None:
        try:
            duration_seconds(config["ExpireAfter"])
        except ValueError as problem:
            yield ".ExpireAfter", str(problem), 'Write one such as "P30D", "30d" or "PT12H".'


def retry_policies(definition: Definition) -> Iterator[Finding]:
    """Known exception types, and one of MaxAttempts and ExpireAfterMin within its bounds."""
    for step in definition.steps:
        policies = step.own.get("RetryPolicies")
        if policies is not None and not all(isinstance(policy, dict) for policy in as_list(policies) or [policies]):
            fix = "List objects with ExceptionType and MaxAttempts."
            yield Finding(step=step.name, field="RetryPolicies", message=f"is {shown(policies)}.", fix=fix)
        for index, policy in objects(policies):
            for field, message, fix in retries.problems(policy):
                yield Finding(step=step.name, field=f"RetryPolicies[{index}]{field}", message=message, fix=fix)
            for field, message, fix, severity in _exception_problems(step, policy):
                where = f"RetryPolicies[{index}]{field}"
                yield Finding(step=step.name, field=where, message=message, fix=fix, severity=severity)


def _exception_problems(step: Step, policy: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    for name in retries.named(policy):
        if name not in retries.EXCEPTION_TYPES:
            fix = suggestion(name, retries.EXCEPTION_TYPES, "Just remove it.")
            yield ".ExceptionType", f"{shown(name)} is none.", fix, ERROR
        elif name.startswith("SageMaker.") and step.type in ("Model", "RegisterModel"):
            yield ".ExceptionType", f"{name} does not happen in {step.type} steps.", "Just remove it.", WARNING
