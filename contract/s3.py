"""s3:// addresses."""

import re

from contract import Refuse

BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"  # source: Amazon S3 user guide, bucket naming rules

_URI = re.compile(r"s3://([^/\s]+)(?:/(.*))?", re.DOTALL)


def bucket_and_key(uri: str, refuse: Refuse) -> tuple[str, str]:
    """Of s3://bucket/key, where the key may be empty. Raises what `refuse` makes for anything else."""
    found = _URI.fullmatch(uri)
    if not found:
        raise refuse(f"{uri!r} is no S3 address.", "Give s3://bucket/prefix.")
    return found[1], found[2] or ""
