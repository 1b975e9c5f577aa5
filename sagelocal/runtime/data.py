"""A job's data: from S3 into its directories before it starts, from its directories to S3 when it has ended."""

import json
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import read
from sagelocal.runtime import outputs, process, service_calls
from sagelocal.runtime.cluster import JobFailed
from sagelocal.runtime.outputs import MESSAGE_LIMIT as MESSAGE_LIMIT
from sagelocal.services.s3 import objects

UNPACKED_LIMIT = 2 << 30  # bytes of a source archive's content


def download(
    context: Context, source: Mapping[str, Any], destinations: list[Path], what: str, copy: bool = False
) -> None:
    """Bring what an S3DataSource names into one directory per host.

    S3Prefix: every key that starts with the URI's key; ManifestFile: the keys a manifest lists. FullyReplicated
    gives every host all of it, ShardedByS3Key every n-th key. Files are hard links unless `copy`, or unless this
    machine could not keep a job from writing through them. The context's caller must be allowed to list the prefix and
    to read its first object. Raises JobFailed (ClientError) when it is not, and when there is nothing.
    """
    uri, sharded = source["S3Uri"], source.get("S3DataDistributionType") == "ShardedByS3Key"
    entries = _manifest_entries if source.get("S3DataType") == "ManifestFile" else _prefix_entries
    try:
        service_calls.check_list(context, uri)
        found = entries(context, uri, what)
        if found:
            service_calls.check_read(context, found[0][0])
    except AwsError as problem:
        raise JobFailed(f"ClientError: Data download failed for {what}: {uri}: {problem.message}") from None
    copy = copy or not process.can_protect_inputs()
    for index, destination in enumerate(destinations):
        destination.mkdir(parents=True, exist_ok=True)
        for key, relative in found[index :: len(destinations)] if sharded else found:
            target = destination / _safe(relative, what)
            if relative.endswith("/"):
                target.mkdir(parents=True, exist_ok=True)
            elif copy:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(objects.path(context, key), target)
            else:
                objects.link_in(context, key, target)


def upload(context: Context, tree: Path, directory: Path, uri: str) -> None:
    """Store every file under a tree's directory below `uri`. Links and special files are left out.

    Raises AccessDenied when the context's caller may not write there.
    """
    for index, (path, relative) in enumerate(outputs.files_under(tree, directory)):
        target = f"{uri.rstrip('/')}/{relative}"
        if index == 0:
            service_calls.check_write(context, target)
        objects.store_file(context, target, path)


def pack(trees: list[Path], folder: str, archive: Path) -> None:
    """Put all hosts' files of a folder into one .tar.gz; of a name that two hosts wrote, the first host's stays."""
    seen = set()
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for tree in trees:
            for path, relative in outputs.files_under(tree, tree / folder):
                if relative not in seen:
                    seen.add(relative)
                    tar.add(path, relative, recursive=False)


def unpack(archive: Path, destination: Path, what: str) -> None:
    """Unpack a source archive: no member outside `destination`, no links out of it, no device. Raises JobFailed."""
    destination.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive) as tar:
            if sum(member.size for member in tar) > UNPACKED_LIMIT:
                raise JobFailed(f"ClientError: {what} unpacks to more than {UNPACKED_LIMIT >> 30} GiB.")
            tar.extractall(destination, filter="data")
    except (tarfile.TarError, OSError, EOFError) as problem:
        raise JobFailed(f"ClientError: {what} cannot be unpacked: {problem}") from None


def shown_json(value: object, tree: Path) -> str:
    """A configuration file's text, with the paths as the job will see them."""
    return json.dumps(value).replace("/opt/ml", process.shown_at(tree))


def _prefix_entries(context: Context, uri: str, what: str) -> list[tuple[str, str]]:
    bucket, prefix = objects.parse_uri(uri)
    keys = objects.keys(context, uri)
    if not keys:
        raise JobFailed(
            f"ClientError: Data download failed for {what}: S3 prefix {uri} has no objects. "
            "Check the URI, or upload the data first."
        )
    return [(f"s3://{bucket}/{key}", key[len(prefix) :].lstrip("/") or key.rpartition("/")[2]) for key in keys]


def _manifest_entries(context: Context, uri: str, what: str) -> list[tuple[str, str]]:
    """A manifest is `[{"prefix": "s3://b/p/"}, "a.jpg", …]`. Source: API reference, S3DataSource."""
    service_calls.check_read(context, uri)
    try:
        (first, *names) = read(objects.read_bytes(context, uri))
        return [(first["prefix"] + name, name) for name in names]
    except (ValueError, KeyError, TypeError):
        raise JobFailed(f"ClientError: {uri} of {what} is not a manifest: a prefix object, then names.") from None


def _safe(relative: str, what: str) -> PurePosixPath:
    path = PurePosixPath(relative)
    if path.is_absolute() or ".." in path.parts:
        raise JobFailed(f"ClientError: An object of {what} has the key {relative!r}, which is no file name.")
    return path
