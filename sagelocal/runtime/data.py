"""A job's data: from S3 into its directories before it starts, from its directories to S3 when it has ended."""

import json
import os
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.runtime import process, service_calls
from sagelocal.runtime.cluster import JobFailed
from sagelocal.services.s3 import objects

UNPACKED_LIMIT = 2 << 30  # bytes of a source archive's content
MESSAGE_LIMIT = 1024  # characters AWS keeps of FailureReason and ExitMessage


def download(
    context: Context,
    uri: str,
    destinations: list[Path],
    *,
    what: str,
    data_type: str = "S3Prefix",
    distribution: str = "FullyReplicated",
    copy: bool = False,
) -> None:
    """Bring what `uri` names into one directory per host.

    S3Prefix: every key that starts with the URI's key; ManifestFile: the keys a manifest lists. FullyReplicated
    gives every host all of it, ShardedByS3Key every n-th key. Files are hard links unless `copy`, or unless this
    machine could not keep a job from writing through them. The context's caller must be allowed to list the prefix and
    to read its first object. Raises JobFailed (ClientError) when it is not, and when there is nothing.
    """
    try:
        service_calls.check_list(context, uri)
    except AwsError as problem:
        raise _not_downloaded(what, uri, problem) from None
    found = (
        _manifest_entries(context, uri, what) if data_type == "ManifestFile" else _prefix_entries(context, uri, what)
    )
    if found:
        try:
            service_calls.check_read(context, found[0][0])
        except AwsError as problem:
            raise _not_downloaded(what, uri, problem) from None
    copy = copy or not process.can_protect_inputs()
    for index, destination in enumerate(destinations):
        destination.mkdir(parents=True, exist_ok=True)
        share = found[index :: len(destinations)] if distribution == "ShardedByS3Key" else found
        for source, relative in share:
            target = destination / _safe(relative, what)
            if relative.endswith("/"):
                target.mkdir(parents=True, exist_ok=True)
            elif copy:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(objects.path(context, source), target)
            else:
                objects.link_in(context, source, target)


def upload(context: Context, directory: Path, uri: str) -> int:
    """Store every file under `directory` below `uri`; how many. Links and special files are left out.

    Raises AccessDenied when the context's caller may not write there.
    """
    count = 0
    for path, relative in files_under(directory):
        if not count:
            service_calls.check_write(context, f"{uri.rstrip('/')}/{relative}")
        objects.store_file(context, f"{uri.rstrip('/')}/{relative}", path)
        count += 1
    return count


def files_under(directory: Path) -> Iterable[tuple[Path, str]]:
    """(path, path relative to the directory) of each regular file, sorted."""
    for folder, subfolders, names in os.walk(directory):
        subfolders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                yield path, path.relative_to(directory).as_posix()


def pack(directories: list[Path], archive: Path) -> None:
    """Put all hosts' files into one .tar.gz; of a name that two hosts wrote, the first host's stays."""
    seen = set()
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for directory in directories:
            for path, relative in files_under(directory):
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


def message_file(trees: list[Path], relative: str) -> str:
    """What the first host that wrote the file wrote into it, cut to what AWS keeps; else ""."""
    for tree in trees:
        path = tree / relative
        if path.is_file():
            with path.open(errors="replace") as file:
                text = file.read(MESSAGE_LIMIT).strip()
            if text:
                return text
    return ""


def _prefix_entries(context: Context, uri: str, what: str) -> list[tuple[str, str]]:
    bucket, prefix = objects.parse_uri(uri)
    try:
        keys = objects.keys(context, uri)
    except AwsError as problem:
        raise _not_downloaded(what, uri, problem) from None
    if not keys:
        raise JobFailed(
            f"ClientError: Data download failed for {what}: S3 prefix {uri} has no objects. "
            "Check the URI, or upload the data first."
        )
    return [(f"s3://{bucket}/{key}", key[len(prefix) :].lstrip("/") or key.rpartition("/")[2]) for key in keys]


def _manifest_entries(context: Context, uri: str, what: str) -> list[tuple[str, str]]:
    """A manifest is `[{"prefix": "s3://b/p/"}, "a.jpg", …]`. Source: API reference, S3DataSource."""
    try:
        service_calls.check_read(context, uri)
        (first, *names) = json.loads(objects.read_bytes(context, uri))
        return [(first["prefix"] + name, name) for name in names]
    except AwsError as problem:
        raise _not_downloaded(what, uri, problem) from None
    except (ValueError, KeyError, TypeError):
        raise JobFailed(f"ClientError: {uri} of {what} is not a manifest: a prefix object, then names.") from None


def _not_downloaded(what: str, uri: str, problem: AwsError) -> JobFailed:
    return JobFailed(f"ClientError: Data download failed for {what}: {uri}: {problem.message}")


def _safe(relative: str, what: str) -> PurePosixPath:
    path = PurePosixPath(relative)
    if path.is_absolute() or ".." in path.parts:
        raise JobFailed(f"ClientError: An object of {what} has the key {relative!r}, which is no file name.")
    return path
