"""Which permissions an S3 request needs.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

from werkzeug.datastructures import Headers
from werkzeug.wrappers import Request

from sagelocal.core.context import Context
from sagelocal.services.iam import enforcement
from sagelocal.services.iam.policy import Call, keys_of
from sagelocal.services.s3 import sources
from sagelocal.services.s3.documents import BUCKET_SETTING

SETTINGS = {  # query parameter -> the end of the action's name
    "tagging": "BucketTagging",
    "policy": "BucketPolicy",
    "lifecycle": "LifecycleConfiguration",
    "cors": "BucketCORS",
    "website": "BucketWebsite",
    "publicAccessBlock": "BucketPublicAccessBlock",
    "ownershipControls": "BucketOwnershipControls",
    "versioning": "BucketVersioning",
    "notification": "BucketNotification",
    "logging": "BucketLogging",
    "encryption": "EncryptionConfiguration",
    "acl": "BucketAcl",
}
DELETED_BY_PUT = ("lifecycle", "cors", "tagging", "encryption", "publicAccessBlock", "ownershipControls")
VERBS = {"GET": "Get", "HEAD": "Get", "PUT": "Put", "DELETE": "Delete", "POST": "Put"}


def needed(bucket: str, key: str, request: Request) -> Iterator[Call]:
    """What a request must be allowed. DeleteObjects is checked key by key where they are deleted."""
    every = {
        "aws:Referer": request.headers.get("Referer"),
        "aws:UserAgent": request.headers.get("User-Agent"),
        "s3:x-amz-content-sha256": request.headers.get("x-amz-content-sha256"),
    }
    for call in _own(bucket, key, request):
        yield replace(call, keys=call.keys + keys_of(every))


def _own(bucket: str, key: str, request: Request) -> Iterator[Call]:
    if not bucket:
        yield Call("s3:ListAllMyBuckets")
    elif key:
        yield from _of_object(bucket, key, request)
    else:
        yield from _of_bucket(bucket, request)


@enforcement.policy_of("s3")
def bucket_policy(context: Context, arn: str) -> str:
    """The policy of the bucket that an ARN is about."""
    bucket = arn.removeprefix("arn:aws:s3:::").partition("/")[0]
    kept = context.store.get(BUCKET_SETTING, f"{bucket}?policy")
    return kept["text"] if kept else ""


def object_arn(bucket: str, key: str) -> str:
    return f"arn:aws:s3:::{bucket}/{key}"


def listing(bucket: str, prefix: str, action: str = "ListBucket", **keys: str | None) -> Call:
    named = {f"s3:{name.replace('_', '-')}": value for name, value in keys.items()}
    return Call(f"s3:{action}", f"arn:aws:s3:::{bucket}", keys_of({"s3:prefix": prefix, **named}))


def _of_object(bucket: str, key: str, request: Request) -> Iterator[Call]:
    method, query, arn = request.method, request.args, object_arn(bucket, key)
    if "uploadId" in query and method in ("GET", "DELETE"):
        yield Call("s3:ListMultipartUploadParts" if method == "GET" else "s3:AbortMultipartUpload", arn)
        return
    what = "Tagging" if "tagging" in query else "Acl" if "acl" in query else ""
    yield Call(f"s3:{VERBS.get(method, 'Put')}Object{what}", arn, _sent(request.headers) if method == "PUT" else ())
    if method == "PUT" and "x-amz-tagging" in request.headers:
        yield Call("s3:PutObjectTagging", arn)
    if method == "PUT" and "x-amz-copy-source" in request.headers:
        yield Call("s3:GetObject", object_arn(*sources.named(request)))


def _of_bucket(bucket: str, request: Request) -> Iterator[Call]:
    method, query, arn = request.method, request.args, f"arn:aws:s3:::{bucket}"
    setting = next((name for name in SETTINGS if name in query), None)
    if setting:
        verb = "Put" if method == "DELETE" and setting in DELETED_BY_PUT else VERBS.get(method, "Put")
        yield Call(f"s3:{verb}{SETTINGS[setting]}", arn)
    elif "location" in query:
        yield Call("s3:GetBucketLocation", arn)
    elif method == "PUT":
        yield Call("s3:CreateBucket", arn)
    elif method == "DELETE":
        yield Call("s3:DeleteBucket", arn)
    elif method in ("GET", "HEAD"):
        action = "ListBucketMultipartUploads" if "uploads" in query else "ListBucket"
        action = "ListBucketVersions" if "versions" in query else action
        keys = {name.replace("-", "_"): query.get(name) for name in ("delimiter", "max-keys")}
        prefix = query.get("prefix", "") if method == "GET" else None
        yield listing(bucket, prefix, action, **keys) if prefix is not None else Call("s3:ListBucket", arn)


def _sent(headers: Headers) -> tuple[Any, ...]:
    names = (
        *("x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id", "x-amz-acl"),
        *("x-amz-copy-source", "x-amz-metadata-directive", "x-amz-storage-class"),
    )
    tags = dict(parse_qsl(headers.get("x-amz-tagging", "")))
    return keys_of(
        {f"s3:{name}": headers.get(name) for name in names}
        | {f"s3:RequestObjectTag/{key}": value for key, value in tags.items()}
        | {"s3:RequestObjectTagKeys": list(tags) or None}
    )
