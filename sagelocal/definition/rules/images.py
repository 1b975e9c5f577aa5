"""Rules on images of AWS: that they exist in their region, and that they still get patches.

The tables are those of the SDK, read as files: importing the SDK costs seconds.
"""

import importlib.util
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

from sagelocal.definition import references
from sagelocal.definition.document import Definition, Step
from sagelocal.definition.findings import ERROR, WARNING, Finding, suggestion
from sagelocal.definition.types import Unresolvable, value_of

# (repository, last version of that line, date after which it gets no patches). Older versions of the repository ended
# before. Source: AWS Deep Learning Containers support policy, checked November 2026; 2.8 and 2.9 were over by then.
END_OF_PATCH = (
    ("pytorch-training", (2, 9), date(2026, 11, 1)),
    ("pytorch-training", (2, 10), date(2027, 1, 21)),
    ("pytorch-inference", (2, 6), date(2026, 6, 30)),
    ("pytorch", (2, 13), date(2027, 7, 20)),
)
FRAMEWORKS = re.compile(r"(pytorch|tensorflow|huggingface|mxnet|autogluon)")
_URI = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.[a-z0-9.-]+/(?P<repository>[^:@]+)(:(?P<tag>.+))?"
)


@dataclass
class Repository:
    """What the SDK's tables know of one repository: region → accounts, and how its tags begin."""

    registries: dict[str, set[str]] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)


def images_exist(definition: Definition) -> Iterator[Finding]:
    """An image of AWS stands in the registry of its region, and its repository and version are ones the SDK knows.

    The SDK's tables do not name every image of AWS, so only what looks like a slip is an error: a name close to one of
    theirs.
    """
    for step, where, uri in _images(definition):
        match = _URI.fullmatch(uri)
        if uri == "DEFAULT_RULE_EVALUATOR_IMAGE":
            fix = "Fill it: get_rule_container_image_uri('sagemaker-debugger-rules', region)."
            yield Finding(step=step.name, field=where, message="The SDK's placeholder is still there.", fix=fix)
        if not match or match["account"] not in _accounts():
            continue
        for message, fix, severity in _image_problems(**match.groupdict()):
            yield Finding(step=step.name, field=where, message=message, fix=fix, severity=severity)


def _image_problems(account: str, region: str, repository: str, tag: str | None) -> Iterator[tuple[str, str, str]]:
    known = _repository(repository)
    if known is None:
        close = suggestion(repository, _tables())
        fix = close or "Check the name, or update the SDK, whose tables these are."
        yield f"The SDK knows no repository {repository}.", fix, ERROR if close else WARNING
    elif account not in known.registries.get(region, ()):
        accounts = ", ".join(sorted(known.registries.get(region, ())))
        fix = f"There it is account {accounts}." if accounts else "Choose a region that has it."
        yield f"The SDK knows no {repository} of account {account} in {region}.", fix, WARNING
    elif tag and not any(_begins(tag, version) for version in known.tags):
        fix = suggestion(tag, known.tags, f"It has: {', '.join(sorted(known.tags)[-5:])}.")
        yield f"The SDK knows no version {tag} of {repository}.", fix, WARNING


def images_get_patches(definition: Definition, today: date | None = None) -> Iterator[Finding]:
    today = today or datetime.now(UTC).date()
    for step, where, uri in _images(definition):
        match = _URI.fullmatch(uri)
        version = re.match(r"(\d+)\.(\d+)", match["tag"] or "") if match else None
        if not match or not version or match["account"] not in _accounts():
            continue
        for repository, newest, end in END_OF_PATCH:
            if match["repository"] == repository and (int(version[1]), int(version[2])) <= newest:
                if today > end:
                    message = f"{repository} {version[0]} gets no security patches since {end} or before."
                    fix = "Choose a newer image."
                    yield Finding(step=step.name, field=where, message=message, fix=fix, severity=WARNING)
                break


def is_framework_image(image: Any) -> bool:
    """Whether an image is one of AWS's framework containers, which run the user's script and nothing else."""
    match = _URI.fullmatch(image) if isinstance(image, str) else None
    return bool(match and match["account"] in _accounts() and FRAMEWORKS.match(match["repository"]))


def _images(definition: Definition) -> Iterator[tuple[Step, str, str]]:
    """(step, field, URI) of every image in a step's Arguments, parameters' values included."""
    for step in definition.steps:
        for where, value in _leaves(step.arguments, "Arguments"):
            if where.rpartition(".")[2] not in ("ImageUri", "TrainingImage", "Image", "RuleEvaluatorImage"):
                continue
            try:
                known = value_of(definition, value).known
            except Unresolvable:
                continue
            yield from ((step, where, uri) for uri in known if isinstance(uri, str))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and not references.kind(value):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    else:
        yield path, value


def _begins(tag: str, known: str) -> bool:
    """2.13-cpu-amzn2023-sagemaker-v1.2 is of version 2.13; 2.1 is not, and neither is 2.130."""
    return tag == known or tag.startswith((f"{known}-", f"{known}."))


@cache
def _accounts() -> frozenset[str]:
    return frozenset(a for known in _tables().values() for accounts in known.registries.values() for a in accounts)


def _repository(name: str) -> Repository | None:
    """The SDK writes the Python version behind the name of one repository: sagemaker-base-python-310."""
    return _tables().get(name) or _tables().get(re.sub(r"(?<=-python)-\d+$", "", name))


@cache
def _tables() -> dict[str, Repository]:
    """Repository name → what the SDK knows of it; empty where the SDK is not installed."""
    package = importlib.util.find_spec("sagemaker")
    tables: dict[str, Repository] = {}
    for root in (package.submodule_search_locations or []) if package else []:
        for path in sorted(Path(root, "core", "image_uri_config").glob("*.json")):
            _add_all(tables, "", json.loads(path.read_text()), {})
    return tables


def _add_all(tables: dict[str, Repository], version: str, entry: Any, aliases: dict[str, str]) -> None:
    """Entries stand at any depth: under versions, and under the framework's version inside a library's."""
    if not isinstance(entry, dict):
        return
    if isinstance(entry.get("repository"), str):
        _add(tables, version, entry, aliases)
    inner = entry.get("version_aliases", aliases)
    for key, item in entry.items():
        if key not in ("registries", "version_aliases", "container_version"):
            _add_all(tables, key, item, inner)


def _add(tables: dict[str, Repository], version: str, entry: dict[str, Any], aliases: dict[str, str]) -> None:
    known = tables.setdefault(entry["repository"], Repository())
    for region, account in entry.get("registries", {}).items():
        known.registries.setdefault(region, set()).add(account)
    prefix = entry.get("tag_prefix", version)
    builds = entry.get("container_version", {})
    if entry.get("processor_in_tag") is False and isinstance(builds, dict) and builds:
        known.tags |= {f"{prefix}-{build}" for build in builds.values()}
    else:
        # In a tag a framework's version stands without its name: pytorch2.1.0 is 2.1.0-transformers4.36.0-gpu-py310-….
        spelled = [prefix, *(alias for alias, full in aliases.items() if full == version)]
        known.tags |= {re.sub(r"^[a-z]+(?=\d)", "", text) for text in spelled}
