"""What S3 keeps beside its tree of files: records of objects, and settings of buckets."""

from typing import NotRequired, TypedDict

from sagelocal.core.store import Kind


class ObjectRecord(TypedDict):
    """What a file cannot say of itself."""

    etag: str  # without quotes
    content_type: str
    headers: dict[str, str]  # those that S3 gives back as they were sent
    user: dict[str, str]  # x-amz-meta-…
    checksums: dict[str, str]
    tags: dict[str, str]
    modified: float  # seconds since 1970
    upload: NotRequired[str]  # the multipart upload that it was completed from
    stamp: NotRequired[str]  # the very file that it is about: inode, time and size


class Setting(TypedDict, total=False):
    """`text`: a setting as it was sent. `seconds`: when the bucket was made."""

    text: str
    seconds: float


OBJECT_RECORD = Kind[ObjectRecord]("s3-object")
BUCKET_SETTING = Kind[Setting]("s3-bucket-setting")
