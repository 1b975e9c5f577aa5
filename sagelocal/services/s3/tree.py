"""Buckets as directories, objects as files: `<state_dir>/s3/<bucket>/<key>`, spelt as `spelling` says.

Every write is a rename of a complete file, and objects are never written in place: a hard link stays what it was.
Symbolic links in a bucket's directory are nobody's objects and lead nowhere.
"""

import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sagelocal.core.context import Context, one_per_server
from sagelocal.core.errors import AwsError
from sagelocal.services.s3 import metadata, rows, spelling
from sagelocal.services.s3.documents import ObjectRecord
from sagelocal.services.s3.folders import stamp_of
from sagelocal.services.s3.index import changing as changing
from sagelocal.services.s3.names import is_bucket_name

INCOMING = ".incoming"


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


class LinkInTheWay(AwsError):
    def __init__(self, link: str):
        message = f"{link} is a symbolic link, which S3 does not follow. Remove it to store objects below it."
        super().__init__("InvalidRequest", message, 400)


def bucket_path(context: Context, bucket: str) -> Path:
    """The directory a bucket has or would have. Raises InvalidBucketName for a name that S3 would refuse."""
    if not is_bucket_name(bucket):
        raise InvalidBucketName(bucket)
    return context.state_dir / "s3" / bucket


def existing_bucket(context: Context, bucket: str) -> Path:
    """The directory of a bucket. Raises NoSuchBucket."""
    path = bucket_path(context, bucket)
    if _mode(path) != stat.S_IFDIR:
        raise NoSuchBucket(bucket)
    return path


def buckets(context: Context) -> list[str]:
    """The names of all buckets, sorted."""
    root = context.state_dir / "s3"
    names = sorted(os.listdir(root)) if root.is_dir() else []
    return [name for name in names if name[0] != "." and _mode(root / name) == stat.S_IFDIR]


def create_bucket(context: Context, bucket: str) -> Path:
    """Make a bucket's directory if it is not there. Raises InvalidBucketName."""
    path = bucket_path(context, bucket)
    with changing(context):
        if not path.exists():
            path.mkdir(parents=True)
            rows.add_bucket(context, bucket, stamp_of(path.stat()))
    return path


def remove_bucket(context: Context, bucket: str) -> None:
    """Delete a bucket that has no objects. Raises NoSuchBucket, BucketNotEmpty."""
    with changing(context):
        path = existing_bucket(context, bucket)
        for folder, _, names in os.walk(path):
            if any(_mode(f"{folder}/{name}") == stat.S_IFREG for name in names):
                raise AwsError("BucketNotEmpty", "The bucket you tried to delete is not empty", 409)
        shutil.rmtree(path)
        rows.forget_bucket(context, bucket)


def find(context: Context, bucket: str, key: str) -> Path:
    """The file of an object. Raises NoSuchBucket, NoSuchKey."""
    root = existing_bucket(context, bucket)
    if key:
        *above, name = _way(root, key)
        if all(_mode(directory) == stat.S_IFDIR for directory in above[1:]):
            for path in (name, name + spelling.BESIDE):
                if _mode(path) == stat.S_IFREG:
                    return Path(path)
    raise NoSuchKey(bucket, key)


@one_per_server
def own_incoming(context: Context) -> Path:
    """The directory of this server's unfinished files; those of earlier servers are swept (see `sweep`)."""
    return context.state_dir / "s3" / INCOMING / uuid.uuid4().hex


def incoming(context: Context) -> Path:
    """A path for a new file or directory, on the same file system as the objects."""
    directory = own_incoming(context)
    directory.mkdir(parents=True, exist_ok=True)
    return directory / uuid.uuid4().hex


@contextmanager
def unfinished(context: Context) -> Iterator[Path]:
    """A path as `incoming` gives it; a file that is still there when the block ends goes."""
    path = incoming(context)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def replacing(context: Context, bucket: str, key: str) -> Iterator[Path]:
    """A path to put a file at, which is the object when the block ends. Raises as `commit`."""
    with unfinished(context) as temporary:
        yield temporary
        commit(context, bucket, key, temporary)


def discard(context: Context, directory: Path) -> None:
    """Delete a directory with all in it, at once for whoever looks: what a kill leaves of it is swept."""
    condemned = incoming(context)
    with suppress(FileNotFoundError):
        directory.rename(condemned)
        shutil.rmtree(condemned, ignore_errors=True)


def commit(context: Context, bucket: str, key: str, temporary: Path, record: ObjectRecord | None = None) -> Path:
    """Make `temporary` the object: renamed, read-only, in place of what was there. record: what a client said of it.
    Raises NoSuchBucket, KeyTooLong, LinkInTheWay."""
    with changing(context):
        root = existing_bucket(context, bucket)
        if not key:
            raise AwsError("InvalidArgument", "An object needs a key.", 400)
        *above, name = _way(root, key)
        before = _stamps(above)
        if before[-1] is None:
            _make_directories(above[before.index(None) :])
        if _mode(name) == stat.S_IFDIR or _mode(name + spelling.BESIDE) == stat.S_IFREG:
            name += spelling.BESIDE
        temporary.chmod(0o400)
        temporary.replace(name)
        path = Path(name)
        row = metadata.save(context, bucket, key, path, record) if record else metadata.undescribed(path)
        rows.put(context, bucket, key, row, _changes(key, above, before))
        return path


def remove(context: Context, bucket: str, key: str) -> bool:
    """Delete an object and the directories it leaves empty. False when it was not there. Raises NoSuchBucket."""
    with changing(context):
        try:
            path = find(context, bucket, key)
        except NoSuchKey:
            return False
        *above, _ = _way(existing_bucket(context, bucket), key)
        before = _stamps(above)
        path.unlink()
        gone = 0
        while gone < len(above) - 1 and not any(os.scandir(above[-1 - gone])):
            os.rmdir(above[-1 - gone])
            gone += 1
        left = len(above) - gone
        removed = [] if _goes_on(above) else spelling.folders(key)[left:]
        rows.remove(context, bucket, key, removed, _changes(key, above[:left], before[:left]))
        metadata.forget(context, bucket, key)
        return True


def link(source: Path, destination: Path) -> None:
    """Hard-link a file, or copy it where that is impossible (another device, a file system without links)."""
    source = source.resolve()
    try:
        os.link(source, destination)
    except FileExistsError:
        raise
    except OSError:
        shutil.copyfile(source, destination)


def _way(root: Path, key: str) -> list[str]:
    """The directories from the bucket's to the one that an object is in, and where its file is."""
    way = [str(root)]
    for name in spelling.path(key).split("/"):
        way.append(f"{way[-1]}/{name}")
    return way


def _stamps(directories: list[str]) -> list[str | None]:
    """The stamps of directories, each of which is in the one before it; None for those that are not there. Raises
    LinkInTheWay."""
    stamps: list[str | None] = []
    for directory in directories:
        try:
            status = os.lstat(directory)
        except (FileNotFoundError, NotADirectoryError):
            return stamps + [None] * (len(directories) - len(stamps))
        if stat.S_ISLNK(status.st_mode):
            raise LinkInTheWay(directory)
        stamps.append(stamp_of(status) if stat.S_ISDIR(status.st_mode) else None)
    return stamps


def _changes(key: str, above: list[str], before: list[str | None]) -> list[rows.Change]:
    """What a write did to the folders: to the last that was there, and to those that it made."""
    if _goes_on(above):
        return []  # such a folder is several directories: it will be looked into
    first = max(at for at, stamp in enumerate(before) if stamp)
    touched = list(zip(spelling.folders(key)[: len(above)], above, before, strict=True))[first:]
    return [rows.Change(folder, stamp, stamp_of(os.lstat(directory))) for folder, directory, stamp in touched]


def _goes_on(directories: list[str]) -> bool:
    return any(directory.endswith(spelling.GOES_ON) for directory in directories)


def _make_directories(directories: list[str]) -> None:
    """Make directories, each in the one before it; an object that has the name of one steps aside."""
    for directory in directories:
        if _mode(directory) == stat.S_IFREG:
            os.rename(directory, directory + spelling.BESIDE)
        os.mkdir(directory)


def _mode(path: str | Path) -> int:
    """What kind of thing is at a path (a constant of `stat`), links not followed; 0 where nothing is."""
    try:
        return stat.S_IFMT(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return 0
