"""Data, weights and code to S3, under keys made from their content: what is there unchanged is not sent again."""

import hashlib
import json
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from contract.s3 import bucket_and_key
from pipeline import bundle, content, hints
from pipeline.errors import UserError
from pipeline.settings import Settings

Progress = Callable[[str, int, int], None]  # (what, bytes done, bytes in all or 0 where that is unknown)

CHUNK = 1 << 20
CACHE_README = b"""What Prepare found out about images, by their sha256 (docs/formats.md, cache).
All but this file may be deleted at any time: the images are decoded again then.
"""
IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"}

# torchvision's official ImageNet weights; the last eight hex digits of the name begin the file's SHA-256.
# Source: torchvision.models.{ResNet50,ResNet18,MobileNet_V2}_Weights.DEFAULT.
IMAGENET = {
    "resnet50": "https://download.pytorch.org/models/resnet50-11ad3fa6.pth",
    "resnet18": "https://download.pytorch.org/models/resnet18-f37072fd.pth",
    "mobilenet_v2": "https://download.pytorch.org/models/mobilenet_v2-7ebf99e0.pth",
}


def _quiet(what: str, done: int, total: int) -> None:
    pass


def upload_code(s3: Any, settings: Settings, code: bundle.Bundle | None = None) -> str:
    """Upload code/ (or `code`) unless it is there; its S3 prefix."""
    check_bucket(s3, settings)
    _begin_cache(s3, settings)
    code = code or bundle.read()
    prefix = code.prefix(settings.root)
    _, key = bucket_and_key(prefix, UserError)
    files = {f"src/{name}": body for name, body in code.files.items()} | {"sourcedir.tar.gz": code.archive()}
    content.put_all(s3, settings.bucket, key, files)
    return prefix


def _begin_cache(s3: Any, settings: Settings) -> None:
    """A job's input prefix must hold an object, and before the first Prepare its cache holds none."""
    _, key = bucket_and_key(settings.prepare_cache_uri, UserError)
    if not content.exists(s3, settings.bucket, f"{key}README.txt"):
        s3.put_object(Bucket=settings.bucket, Key=f"{key}README.txt", Body=CACHE_README)


def check_bucket(s3: Any, settings: Settings) -> None:
    """Raise UserError where the project's bucket is missing or somebody else's."""
    try:
        s3.head_bucket(Bucket=settings.bucket)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            raise UserError(
                f"There is no bucket {settings.bucket}.", f"Create it first: {hints.DEPLOY_INFRA}"
            ) from None
        raise UserError(
            f"The bucket {settings.bucket} is not yours to use ({error.response['Error']['Code']}).",
            "Name another with PAWLINE_BUCKET, or ask whoever owns it.",
        ) from None


def upload_data(s3: Any, settings: Settings, source: str, progress: Progress = _quiet) -> str:
    """Upload photos from a path (archive or folder) or an https:// archive; an s3:// prefix is only checked.

    Returns the S3 prefix for InputDataUri. Raises UserError for what cannot be a data set.
    """
    if source.startswith("s3://"):
        return _checked_prefix(s3, source)
    if source.startswith("https://"):
        with _downloaded(source, progress) as path:
            return _upload_archive(s3, settings, path, source.rsplit("/", 1)[-1].partition("?")[0], progress)
    path = Path(source).expanduser()
    if path.is_dir():
        return _upload_folder(s3, settings, path, progress)
    if not path.exists():
        raise UserError(
            f"There is no data at {source}.", "Give a zip, a tar, a folder, an https:// or an s3:// address."
        )
    return _upload_archive(s3, settings, path, path.name, progress)


def upload_weights(s3: Any, settings: Settings, source: str, backbone: str, progress: Progress = _quiet) -> str:
    """Upload a backbone's weights; the S3 prefix for PretrainedWeightsUri.

    source: a state dict's path, `imagenet` (torchvision's official file, its hash checked), `random` (no weights: the
    backbone is initialised from a seed), or an s3:// prefix.
    """
    if source.startswith("s3://"):
        return _checked_prefix(s3, source)
    if source == "random":
        prefix = f"{settings.root}/weights/random/"
        _, key = bucket_and_key(prefix, UserError)
        content.put_all(s3, settings.bucket, key, {"random.json": json.dumps({"kind": "random", "seed": 0}).encode()})
        return prefix
    if source == "imagenet":
        url = IMAGENET[backbone]
        name = url.rsplit("/", 1)[-1]
        with _downloaded(url, progress) as path:
            digest = _sha256(path)
            if not digest.startswith(name.rsplit("-", 1)[-1].removesuffix(".pth")):
                raise UserError(
                    f"{url} has the wrong hash ({digest[:8]}…).", "Try again; if it stays so, do not use it."
                )
            return _put_file(s3, settings, f"weights/{digest[:16]}", name, path, progress)
    path = Path(source).expanduser()
    if not path.is_file():
        raise UserError(f"There is no weights file at {source}.", "Give a torchvision state dict, imagenet, or random.")
    if not _looks_like_torch(path):
        raise UserError(f"{source} is not a file that torch.save wrote.", "Give a torchvision state dict (.pth).")
    return _put_file(s3, settings, f"weights/{_sha256(path)[:16]}", path.stem + ".pth", path, progress)


def _upload_archive(s3: Any, settings: Settings, path: Path, name: str, progress: Progress) -> str:
    if not (zipfile.is_zipfile(path) or tarfile.is_tarfile(path)):
        raise UserError(
            f"{name} is neither a zip nor a tar, or it is damaged.", "Pack the photos as zip, tar or tar.gz."
        )
    return _put_file(s3, settings, f"raw/{_sha256(path)[:16]}", name, path, progress)


def _upload_folder(s3: Any, settings: Settings, folder: Path, progress: Progress) -> str:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    if not any(path.suffix.lower() in IMAGES for path in files):
        raise UserError(
            f"{folder} holds no photos.", "Give a folder of class folders, or train|valid|test folders of them."
        )
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(folder).as_posix()}\0{_sha256(path)}\n".encode())
    prefix = f"{settings.root}/raw/{digest.hexdigest()[:16]}/"
    bucket, key = bucket_and_key(prefix, UserError)
    names = {path.relative_to(folder).as_posix(): path for path in files}
    content.check_alone(s3, bucket, key, names)
    for count, (name, path) in enumerate(names.items()):
        progress(folder.name, count, len(files))
        content.put_file(s3, bucket, key + name, path)
    return prefix


def _put_file(s3: Any, settings: Settings, under: str, name: str, path: Path, progress: Progress) -> str:
    prefix = f"{settings.root}/{under}/"
    bucket, key = bucket_and_key(prefix + name, UserError)
    size, done = path.stat().st_size, 0

    def sent(count: int) -> None:
        nonlocal done
        done += count
        progress(name, done, size)

    content.put_file(s3, bucket, key, path, sent)
    return prefix


@contextmanager
def _downloaded(url: str, progress: Progress) -> Iterator[Path]:
    """A file from https://, on disk for as long as the block runs."""
    import requests

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "download"
        try:
            with requests.get(url, stream=True, timeout=30) as answer, path.open("wb") as file:
                answer.raise_for_status()
                total, done = int(answer.headers.get("Content-Length", 0)), 0
                for chunk in answer.iter_content(CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    progress(url.rsplit("/", 1)[-1], done, total)
        except requests.RequestException as error:
            what = f"{url} could not be fetched ({type(error).__name__})."
            raise UserError(what, "Fetch it yourself and give its path.") from None
        yield path


def _checked_prefix(s3: Any, uri: str) -> str:
    bucket, key = bucket_and_key(uri, UserError)
    try:
        found = s3.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("KeyCount", 0)
    except ClientError as error:
        raise UserError(f"{uri} cannot be read: {error}.", "Check the name and your permissions.") from None
    if not found:
        raise UserError(f"There is nothing at {uri}.", "Give a prefix that holds objects.")
    return uri


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _looks_like_torch(path: Path) -> bool:
    """torch.save writes a zip; before version 1.6 it wrote a pickle (protocol 2)."""
    with path.open("rb") as file:
        return file.read(4)[:2] in (b"PK", b"\x80\x02")
