"""The archives that scripts and models are put into S3 as, by benchmarks and tests alike."""

import io
import tarfile


def tar_gz(files: dict[str, str | bytes]) -> bytes:
    """A .tar.gz of files, by their names."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return packed.getvalue()
