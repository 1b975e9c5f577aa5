"""Old executions for `sagelocal prune`, each with all that is its alone.

What stays may need one, or a job of it: an approved package, a model, an endpoint, a newer execution that reused a
step, the newest cache entry of a step. Whatever one of these names stays too. The objects of an execution are those
below a prefix that bears its name or that of a job of it; no other object is touched.
"""

import json
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sagelocal.core import pruning
from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.core.pruning import Item, Wanted
from sagelocal.core.store import Kind
from sagelocal.services.logs import streams
from sagelocal.services.s3 import objects, writing
from sagelocal.services.sagemaker.documents import (
    CACHE_ENTRY,
    ENDPOINT,
    ENDPOINT_CONFIG,
    EXECUTION,
    MODEL,
    PACKAGE,
    PIPELINE,
    PROCESSING_JOB,
    START_TOKEN,
    TRAINING_JOB,
    TUNING_JOB,
    Execution,
)
from sagelocal.services.sagemaker.execution import events, records
from sagelocal.services.sagemaker.jobs.job import RUNNING
from sagelocal.services.sagemaker.sweep import job_folders

JOBS: dict[str, Kind[Any]] = {
    "training-job": TRAINING_JOB,
    "processing-job": PROCESSING_JOB,
    "hyper-parameter-tuning-job": TUNING_JOB,
}
ARN = re.compile(r"arn:aws:sagemaker:[^:]*:[^:]*:([a-z-]+)/([^\"\s]+)")
URI = re.compile(r"s3://[^\"\s]+")
OUTPUTS = ("OutputDataConfig", "ModelArtifacts", "CheckpointConfig", "DebugHookConfig", "ProcessingOutputConfig")
LOGS = "/aws/sagemaker/"


@dataclass(frozen=True)
class Old:
    """An execution that may go, and what goes with it."""

    body: Execution
    jobs: tuple[tuple[Kind[Any], str], ...]
    packages: tuple[str, ...]
    cached: tuple[str, ...]  # names of cache entries
    uris: tuple[str, ...]  # of objects
    files: tuple[Path, ...]  # folders of jobs, and logs


@pruning.finder
def old_executions(context: Context, wanted: Wanted) -> Iterator[Item]:
    stay, old = _parted(context, wanted)
    cached = _old_cache_entries(context, wanted)
    named = _names(_texts_that_stay(context, stay, cached))
    for execution in old:
        arn = execution["PipelineExecutionArn"]
        if arn.rpartition("/")[2] not in named:
            mine = tuple(name for name, entry in cached.items() if entry.get("ExecutionArn") == arn)
            found = _all_of(context, execution, named, mine)
            paths = [*found.files, *_paths(context, found.uris)]
            name = "/".join(arn.rpartition("pipeline/")[2].split("/execution/"))
            yield Item("execution", name, pruning.size_of(paths), partial(_forget, context, found))


def _parted(context: Context, wanted: Wanted) -> tuple[list[Execution], list[Execution]]:
    """The executions that stay, and those that are old."""
    stay, old = list[Execution](), list[Execution]()
    for pipeline in context.store.list(PIPELINE):
        newest_first = list(reversed(context.store.list(EXECUTION, parent=pipeline["PipelineArn"])))
        for number, execution in enumerate(newest_first):
            ended = execution["PipelineExecutionStatus"] not in records.RUNNING
            is_old = ended and number >= wanted.keep and execution["LastModifiedTime"] < wanted.before
            (old if is_old else stay).append(execution)
    return stay, old


def _old_cache_entries(context: Context, wanted: Wanted) -> dict[str, Json]:
    """Those that are not the newest of their step, by name."""
    steps: dict[str, list[tuple[str, Json]]] = defaultdict(list)
    for name, entry in context.store.items(CACHE_ENTRY):
        steps[name.rpartition("/")[0]].append((name, entry))
    return {name: entry for found in steps.values() for name, entry in found[:-1] if entry["Time"] < wanted.before}


def _texts_that_stay(context: Context, stay: Iterable[Execution], cached: dict[str, Json]) -> list[str]:
    """All documents that may name what is needed, as JSON. A package is needed that is approved, or that one names."""
    texts = list(_others_that_stay(context, stay, cached))
    named = {name for text in texts for what, name in ARN.findall(text) if what == "model-package"}
    for package in context.store.list(PACKAGE):
        if package["ModelApprovalStatus"] == "Approved" or package["ModelPackageArn"].partition("/")[2] in named:
            texts.append(json.dumps(package))
    return texts


def _others_that_stay(context: Context, stay: Iterable[Execution], cached: dict[str, Json]) -> Iterator[str]:
    for execution in stay:
        yield json.dumps(execution)
        for step in records.steps(context.store, execution["PipelineExecutionArn"]):
            yield json.dumps(step)
    hosting: tuple[Kind[Any], ...] = (MODEL, ENDPOINT_CONFIG, ENDPOINT)
    for kind in hosting:
        yield from map(json.dumps, context.store.list(kind))
    for kind in JOBS.values():
        yield from map(json.dumps, context.store.list(kind, status=RUNNING))
    yield from (json.dumps(entry) for name, entry in context.store.items(CACHE_ENTRY) if name not in cached)


def _names(texts: Iterable[str]) -> set[str]:
    """Every part of a path in them, as the names of jobs and executions are in ARNs and URIs; and names of packages."""
    parts = {part for text in texts for part in re.split(r'[/"\s:,\[\]{}]+', text)}
    return parts | {name for text in texts for what, name in ARN.findall(text) if what == "model-package"}


def _all_of(context: Context, execution: Execution, named: set[str], cached: tuple[str, ...]) -> Old:
    arn = execution["PipelineExecutionArn"]
    jobs, packages = list[tuple[Kind[Any], str]](), list[str]()
    for step in records.steps(context.store, arn):
        if "CacheHitResult" in step:
            continue  # what it names is another's
        for what, name in ARN.findall(json.dumps(step.get("Metadata"))):
            if what in JOBS:
                family = list(_family(context, JOBS[what], name))
                jobs += [] if named & {job for _, job in family} else family
            elif what == "model-package":
                packages += _unneeded(context, name, named)
    uris = {uri for kind, name in jobs for uri in _outputs(context, kind, name, arn.rpartition("/")[2])}
    files = [path for _, name in jobs for path in _files_of(context, name)]
    return Old(execution, tuple(jobs), tuple(packages), cached, tuple(sorted(uris)), tuple(files))


def _family(context: Context, kind: Kind[Any], name: str) -> Iterator[tuple[Kind[Any], str]]:
    """A job with those that were begun for it: trials of a tuning job, rules of a training job."""
    yield kind, name
    body = context.store.get(kind, name) or {}
    for what, rule in ARN.findall(json.dumps(body.get("DebugRuleEvaluationStatuses"))):
        yield JOBS[what], rule
    if kind == TUNING_JOB:
        tuning = context.arn("sagemaker", f"hyper-parameter-tuning-job/{name}")
        for trial in context.store.list(TRAINING_JOB, parent=tuning):
            yield from _family(context, TRAINING_JOB, trial["TrainingJobName"])


def _unneeded(context: Context, name: str, named: set[str]) -> Iterator[str]:
    arn = context.arn("sagemaker", f"model-package/{name}")
    package = context.store.get(PACKAGE, arn)
    if package and package["ModelApprovalStatus"] != "Approved" and name not in named:
        yield arn


def _paths(context: Context, uris: Iterable[str]) -> Iterator[Path]:
    for uri in uris:
        with suppress(AwsError):
            yield objects.path(context, uri)


def _outputs(context: Context, kind: Kind[Any], name: str, execution: str) -> Iterator[str]:
    """The URIs of the objects that a job wrote below a prefix of its own, or of its execution's own."""
    body = context.store.get(kind, name) or {}
    for uri in URI.findall(json.dumps([body.get(member) for member in OUTPUTS])):
        whole, below = uri.rstrip("/"), f"{uri.rstrip('/')}/{name}"
        for prefix in [whole] if {name, execution} & set(whole.split("/")) else [below]:
            bucket, _ = objects.parse_uri(prefix)
            with suppress(AwsError):
                if objects.exists(context, prefix):
                    yield prefix
                yield from (f"s3://{bucket}/{key}" for key in objects.keys(context, f"{prefix}/"))


def _files_of(context: Context, job: str) -> Iterator[Path]:
    yield from (folder for folder in job_folders(context) if folder.name == job)
    for group in (f"{LOGS}TrainingJobs", f"{LOGS}ProcessingJobs"):
        for stream in streams.streams(context, group, f"{job}/"):
            yield streams.stream_file(context, group, stream)


def _forget(context: Context, old: Old) -> None:
    """Files first: a server that is killed in between finds the documents again, and by them what is left."""
    for uri in old.uris:
        writing.remove(context, *objects.parse_uri(uri), "DeleteObject")
    for path in old.files:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    arn = old.body["PipelineExecutionArn"]
    events.forget(context, arn)
    with context.store.transaction():
        for kind, name in old.jobs:
            context.store.delete(kind, name)
        for package in old.packages:
            context.store.delete(PACKAGE, package)
        for entry in old.cached:
            context.store.delete(CACHE_ENTRY, entry)
        context.store.delete(START_TOKEN, old.body["_StartToken"])
        records.forget(context.store, arn)
