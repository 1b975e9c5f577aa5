"""code/ and contract/ as one content-addressed bundle: the same bytes give the same address, so step caching works.

A bundle is uploaded twice under one prefix: `src/…` as files (processing containers mount the prefix) and
`sourcedir.tar.gz` (training containers unpack it). Names are sorted and all times are zero.
"""

import gzip
import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

CODE = Path(__file__).parent.parent / "code"
CONTRACT = Path(__file__).parent.parent / "contract"


@dataclass(frozen=True)
class Bundle:
    """The files (name in the bundle → bytes) and the address that their content gives."""

    files: dict[str, bytes]
    sha256: str

    def prefix(self, root: str) -> str:
        """S3 prefix of the bundle under the project's root."""
        return f"{root}/code/{self.sha256[:16]}/"

    def archive(self) -> bytes:
        """sourcedir.tar.gz, byte for byte the same for the same files."""
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
            for name, content in self.files.items():
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(content), 0o644
                tar.addfile(member, io.BytesIO(content))
        return buffer.getvalue()


def read(folder: Path = CODE) -> Bundle:
    """The bundle of a code folder: Python files and requirements.txt, and beside them contract/."""
    files = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for root, start in ((folder, folder), (CONTRACT.parent, CONTRACT))
        for path in sorted(start.rglob("*"))
        if path.is_file() and (path.suffix == ".py" or path.name == "requirements.txt")
    }
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return Bundle(files, digest.hexdigest())
