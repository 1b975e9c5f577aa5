"""What a copy says about its source: which object it is, and what must hold of it."""

from urllib.parse import unquote

from werkzeug.wrappers import Request

from sagelocal.core.errors import AwsError
from sagelocal.services.s3 import reading
from sagelocal.services.s3.documents import ObjectRecord


def named(request: Request) -> tuple[str, str]:
    """(bucket, key) of x-amz-copy-source, which is URL-encoded and may start with a slash."""
    source = unquote(request.headers["x-amz-copy-source"].partition("?versionId=")[0]).removeprefix("/")
    bucket, _, key = source.partition("/")
    if not key:
        raise AwsError("InvalidArgument", f"Copy Source must mention the source bucket and key: {source!r}", 400)
    return bucket, key


def check(request: Request, original: ObjectRecord) -> None:
    """Raise PreconditionFailed where the source, whose record is `original`, is not as the copy wants it."""
    wanted = request.headers.get("x-amz-copy-source-if-match")
    unwanted = request.headers.get("x-amz-copy-source-if-none-match")
    if wanted is not None and not reading.etag_in(wanted, original["etag"]):
        raise reading.precondition_failed("x-amz-copy-source-If-Match")
    if unwanted is not None and reading.etag_in(unwanted, original["etag"]):
        raise reading.precondition_failed("x-amz-copy-source-If-None-Match")
