"""The Lambda functions as content-addressed zips: the same files give the same bytes and the same key."""

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.bundle import CONTRACT
from pipeline.content import put, sha256
from pipeline.settings import Settings

LAMBDAS = Path(__file__).parent.parent / "lambda"
NAMES = ("deploy", "predict", "retrain")
VERSIONED = ("deploy", "predict")  # callers use a version of these, which is published once


@dataclass(frozen=True)
class Package:
    """A function's zip and the key that its content gives it. Powertools comes as a layer, boto3 with the runtime."""

    name: str
    content: bytes
    key: str

    @property
    def sha256(self) -> str:
        """As Lambda writes it."""
        return sha256(self.content)


def packages(settings: Settings) -> list[Package]:
    """The project's functions, packed."""
    packed = [(name, package(LAMBDAS / name)) for name in NAMES]
    return [Package(n, body, f"{settings.project}/functions/{n}-{_digest(body)[:16]}.zip") for n, body in packed]


def upload(s3: Any, settings: Settings, packed: list[Package]) -> None:
    """Store the zips that the bucket does not have as they are."""
    for each in packed:
        put(s3, settings.bucket, each.key, each.content)


def package(folder: Path) -> bytes:
    """A function's folder and contract/ as a zip, byte for byte the same for the same files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for root, start in ((folder, folder), (CONTRACT.parent, CONTRACT)):
            for path in sorted(start.rglob("*.py")):
                member = zipfile.ZipInfo(path.relative_to(root).as_posix(), date_time=(1980, 1, 1, 0, 0, 0))
                member.external_attr = 0o644 << 16
                archive.writestr(member, path.read_bytes())
    return buffer.getvalue()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
