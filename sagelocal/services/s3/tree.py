"""Buckets as directories, objects as files: `<state_dir>/s3/<bucket>/<key>`.

A key is any text, a path is not, so a few keys are spelt differently on disk. "%" is the only special character:

    %25         a "%" of the key               a%b      -> a%25b
    %2E         a segment that is . or ..      a/../b   -> a/%2E%2E/b
    %00         NUL
    %           an empty segment               a/       -> a/%
    name%       an object beside a directory   a and a/b are both there -> a% and a/b

Every write is a rename of a complete file, and objects are never written in place: a hard link stays what it was.
"""

import os
import shutil
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sagelocal.core.context import Context, one_per_server
from sagelocal.core.errors import AwsError
from sagelocal.services.s3.names import is_bucket_name

MAX_KEY_BYTES = 1024
MAX_SEGMENT_BYTES = 240  # file systems allow 255

LAST = "\U0010ffff"  # sorts behind every other character


@one_per_server
def changing(_: Context) -> threading.RLock:
    """Held while a name appears or goes, and while a file and its metadata must agree."""
    return threading.RLock()


class NoSuchBucket(AwsError):
    def __init__(self, bucket: str):
        super().__init__("NoSuchBucket", f"The specified bucket does not exist: {bucket}", 404)


class NoSuchKey(AwsError):
    def __init__(self, bucket: str, key: str):
        super().__init__("NoSuchKey", f"The specified key does not exist: s3://{bucket}/{key}", 404)
        self.bucket, self.key = bucket, key


class InvalidBucketName(AwsError):
    def __init__(self, bucket: str):
        super().__init__("InvalidBucketName", f"The specified bucket is not valid: {bucket!r}", 400)


class KeyTooLong(AwsError):
    def __init__(self, key: str):
        rule = f"a key has at most {MAX_KEY_BYTES} bytes and each part between slashes at most {MAX_SEGMENT_BYTES}"
        super().__init__("KeyTooLongError", f"Your key is too long ({rule}): {key[:80]}…", 400)


def bucket_path(context: Context, bucket: str) -> Path:
    """The directory a bucket has or would have. Raises InvalidBucketName for a name that S3 would refuse."""
    if not is_bucket_name(bucket):
        raise InvalidBucketName(bucket)
    return context.state_dir / "s3" / bucket


def existing_bucket(context: Context, bucket: str) -> Path:
    """The directory of a bucket. Raises NoSuchBucket."""
    path = bucket_path(context, bucket)
    if not path.is_dir():
        raise NoSuchBucket(bucket)
    return path


def find(context: Context, bucket: str, key: str) -> Path:
    """The file of an object. Raises NoSuchBucket, NoSuchKey."""
    root = existing_bucket(context, bucket)
    if key:
        primary = root / _spelt(key)
        for path in (primary, _beside(primary)):
            if path.is_file():
                return path
    raise NoSuchKey(bucket, key)


def incoming(context: Context) -> Path:
    """A path for a new file, on the same file system as the objects."""
    directory = context.state_dir / "s3" / ".incoming"
    directory.mkdir(parents=True, exist_ok=True)
    return directory / uuid.uuid4().hex


@contextmanager
def replacing(context: Context, bucket: str, key: str) -> Iterator[Path]:
    """A path to put a file at, which is the object when the block ends; when that fails the file goes. Raises as
    `commit`."""
    temporary = incoming(context)
    try:
        yield temporary
        commit(context, bucket, key, temporary)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def commit(context: Context, bucket: str, key: str, temporary: Path) -> Path:
    """Make `temporary` the object: renamed, read-only, in place of what was there. Raises NoSuchBucket, KeyTooLong."""
    with changing(context):
        root = existing_bucket(context, bucket)
        if not key:
            raise AwsError("InvalidArgument", "An object needs a key.", 400)
        path = root / _spelt(key)
        _make_directories(root, path.parent)
        if path.is_dir() or _beside(path).exists():
            path = _beside(path)
        temporary.chmod(0o444)
        temporary.replace(path)
        return path


def remove(context: Context, bucket: str, key: str) -> bool:
    """Delete an object and the directories it leaves empty. False when it was not there. Raises NoSuchBucket."""
    with changing(context):
        try:
            path = find(context, bucket, key)
        except NoSuchKey:
            return False
        path.unlink()
        root = existing_bucket(context, bucket)
        for directory in path.parents:
            if directory == root or any(os.scandir(directory)):
                break
            directory.rmdir()
        return True


def walk(
    context: Context, bucket: str, prefix: str = "", after: str = "", shallow: bool = False
) -> Iterator[tuple[str, Path | None]]:
    """(key, file) of the objects whose key starts with `prefix` and sorts behind `after`, in S3's order.

    With `shallow`, directories below the prefix are not entered: each gives its key up to the slash, and None.
    """
    root = existing_bucket(context, bucket)
    folder = prefix.rpartition("/")[0] + "/" if "/" in prefix else ""
    start = root / _spelt(folder[:-1]) if folder else root
    return _walk(start, folder, prefix, after, shallow)


def _walk(directory: Path, base: str, prefix: str, after: str, shallow: bool) -> Iterator[tuple[str, Path | None]]:
    try:
        entries = sorted((base + part, is_directory, path) for part, is_directory, path in _entries(directory))
    except (FileNotFoundError, NotADirectoryError):
        return
    for key, is_directory, path in entries:
        if not key.startswith(prefix) or key + LAST * is_directory <= after:
            continue
        if not is_directory:
            yield key, Path(path)
        elif not shallow:
            yield from _walk(Path(path), key, prefix, after, False)
        elif next(_walk(Path(path), key, prefix, after, False), None):
            yield key, None


def _entries(directory: Path) -> Iterator[tuple[str, bool, str]]:
    """(what it adds to a key, is it a directory, path): a directory adds the slash too, which also sorts it rightly."""
    with os.scandir(directory) as found:
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                yield ("" if entry.name == "%" else _unspelt(entry.name)) + "/", True, entry.path
            else:
                name = entry.name.removesuffix("%")
                yield ("" if name == "%" else _unspelt(name)), False, entry.path


def link(source: Path, destination: Path) -> None:
    """Hard-link a file, or copy it where that is impossible (another device, a file system without links)."""
    source = source.resolve()
    try:
        os.link(source, destination)
    except FileExistsError:
        raise
    except OSError:
        shutil.copyfile(source, destination)


def _spelt(key: str) -> str:
    """A key as a relative path: no segment is empty, dots, or too long; nothing leads out of the bucket."""
    if len(key.encode(errors="surrogatepass")) > MAX_KEY_BYTES:
        raise KeyTooLong(key)
    segments = []
    for segment in key.split("/"):
        spelt = segment.replace("%", "%25").replace("\0", "%00")
        if segment in (".", ".."):
            spelt = segment.replace(".", "%2E")
        if len(spelt.encode(errors="surrogatepass")) > MAX_SEGMENT_BYTES:
            raise KeyTooLong(key)
        segments.append(spelt or "%")
    return "/".join(segments)


def _unspelt(segment: str) -> str:
    return segment.replace("%2E", ".").replace("%00", "\0").replace("%25", "%")


def _beside(path: Path) -> Path:
    return path.with_name(path.name + "%")


def _make_directories(root: Path, directory: Path) -> None:
    """Make a directory below `root`; an object that has the name of one steps aside."""
    if directory.is_dir():
        return
    for ancestor in [*reversed(directory.relative_to(root).parents), directory.relative_to(root)]:
        path = root / ancestor
        if path.is_file():
            path.rename(_beside(path))
        path.mkdir(exist_ok=True)
