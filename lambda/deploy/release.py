"""What is served: a copy of the package's archive that no job can write, of exactly the bytes that were evaluated.

Jobs can write where archives lie, so an archive may change after its evaluation. Evaluate's hash of it is in the model
package, which jobs cannot write. The copy is made of a stream that is hashed on its way and breaks off at its end where
the hash is another one. S3 shows nothing of an upload that broke off: a copy that is there is the right one.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from calls import Calls, Clients
from failures import InvalidEvent, PackageRefused

from contract.deployment import MODEL_SHA256
from contract.gone import is_gone
from contract.s3 import bucket_and_key

_IN_TURN = TransferConfig(use_threads=False)  # the parts of a stream have an order; and one at a time fits the memory


def release(package: dict[str, Any], calls: Calls) -> str:
    """The copy's s3:// address. Raises PackageRefused for a package that does not name its hash, or whose archive has
    another one or is gone."""
    archive, digest = archive_of(package), digest_of(package)
    copy = address(package, calls.clients)
    if not digest or not archive:
        raise PackageRefused(
            f"Model package {package['ModelPackageArn']} does not say which archive was evaluated.",
            f"Register it with ModelDataUrl, and in its container's Environment {MODEL_SHA256}=<SHA-256 in hex>.",
        )
    if not is_there(copy, calls.clients):
        _copy(archive, copy, digest, calls)
    return copy


def address(package: dict[str, Any], clients: Clients) -> str:
    """Where the copy of a package's archive is or will be."""
    version = package["ModelPackageArn"].rpartition("/")[2]
    return f"{clients.releases}/{version}/{digest_of(package)}/model.tar.gz"


def container_of(package: dict[str, Any]) -> dict[str, Any]:
    return (package.get("InferenceSpecification", {}).get("Containers") or [{}])[0]


def archive_of(package: dict[str, Any]) -> str:
    return container_of(package).get("ModelDataUrl", "")


def digest_of(package: dict[str, Any]) -> str:
    """The SHA-256 that was registered, in small hex letters; empty where there is none."""
    digest = container_of(package).get("Environment", {}).get(MODEL_SHA256, "").lower()
    return digest if re.fullmatch("[0-9a-f]{64}", digest) else ""


def is_there(uri: str, clients: Clients) -> bool:
    bucket, key = bucket_and_key(uri, InvalidEvent)
    found = clients.s3.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents", [])
    return any(entry["Key"] == key for entry in found)


class _Evaluated:
    """A stream of `size` bytes that ends with PackageRefused unless their SHA-256 is `digest`."""

    def __init__(self, stream: Any, size: int, digest: str, archive: str) -> None:
        self._stream, self._left, self._digest, self._archive = stream, size, digest, archive
        self._sum = hashlib.sha256()
        self._check()

    def read(self, size: int = -1) -> bytes:
        part: bytes = self._stream.read(self._left if size < 0 else size)
        self._sum.update(part)
        self._left -= len(part)
        if part:
            self._check()
        return part

    def _check(self) -> None:
        if self._left <= 0 and self._sum.hexdigest() != self._digest:
            raise PackageRefused(
                f"{self._archive} is not the archive that was evaluated: its SHA-256 is {self._sum.hexdigest()}, and "
                f"{self._digest} was registered.",
                "Find out who wrote it, and run the pipeline again.",
            )


def _copy(archive: str, copy: str, digest: str, calls: Calls) -> None:
    bucket, key = bucket_and_key(archive, InvalidEvent)
    try:
        found = calls.clients.s3.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if is_gone(error):
            raise PackageRefused(f"{archive} is gone.", "Run the pipeline again.") from None
        raise
    body = _Evaluated(found["Body"], found["ContentLength"], digest, archive)
    bucket, key = bucket_and_key(copy, InvalidEvent)
    calls.clients.s3.upload_fileobj(body, bucket, key, Config=_IN_TURN)
    calls.changes.append("PutObject")
