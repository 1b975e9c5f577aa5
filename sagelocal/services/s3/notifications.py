"""The "Object Created" and "Object Deleted" events of buckets that send theirs to EventBridge.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html. Only requests and lifecycle rules make
events here: what jobs put into the tree directly makes none.
"""

import time
import uuid
from pathlib import Path

from sagelocal.core.context import Context
from sagelocal.core.json import Json
from sagelocal.services.events.bus import bus, now
from sagelocal.services.s3.documents import BUCKET_SETTING


def object_created(context: Context, bucket: str, key: str, path: Path, etag: str, reason: str) -> None:
    """Tell the event bus of a new object. reason: the operation. It costs nothing where no rule exists."""
    if _sends(context, bucket):
        said = {"size": path.stat().st_size, "etag": etag}
        _tell(context, "Object Created", bucket, key, said, {"requester": context.account, "reason": reason})


def object_deleted(context: Context, bucket: str, key: str, reason: str, requester: str) -> None:
    """Tell the event bus that an object is gone. reason: the operation, or "Lifecycle Expiration"."""
    if _sends(context, bucket):
        why = {"requester": requester, "reason": reason, "deletion-type": "Permanently Deleted"}
        _tell(context, "Object Deleted", bucket, key, {}, why)


def _tell(context: Context, what: str, bucket: str, key: str, said: Json, why: Json) -> None:
    detail = {
        "version": "0",
        "bucket": {"name": bucket},
        "object": {"key": key, **said, "sequencer": f"{time.time_ns():018X}"},
        "request-id": uuid.uuid4().hex[:16].upper(),
        "source-ip-address": "127.0.0.1",
        **why,
    }
    bus(context).put("aws.s3", what, [f"arn:aws:s3:::{bucket}"], detail, now())


def _sends(context: Context, bucket: str) -> bool:
    if not bus(context).started:
        return False
    kept = context.store.get(BUCKET_SETTING, f"{bucket}?notification")
    return kept is not None and "EventBridgeConfiguration" in kept["text"]
