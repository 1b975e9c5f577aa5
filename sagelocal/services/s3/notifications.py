"""The "Object Created" events of buckets that send theirs to EventBridge.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html. Only requests make events here: what jobs
put into the tree directly makes none, and neither do deletions.
"""

import time
import uuid
from pathlib import Path

from sagelocal.core.context import Context
from sagelocal.services.events.bus import bus, now
from sagelocal.services.s3.documents import BUCKET_SETTING


def object_created(context: Context, bucket: str, key: str, path: Path, etag: str, reason: str) -> None:
    """Tell the event bus of a new object. reason: the operation. It costs nothing where no rule exists."""
    events = bus(context)
    if not events.started or not _sends(context, bucket):
        return
    detail = {
        "version": "0",
        "bucket": {"name": bucket},
        "object": {"key": key, "size": path.stat().st_size, "etag": etag, "sequencer": f"{time.time_ns():018X}"},
        "request-id": uuid.uuid4().hex[:16].upper(),
        "requester": context.account,
        "source-ip-address": "127.0.0.1",
        "reason": reason,
    }
    events.put("aws.s3", "Object Created", [f"arn:aws:s3:::{bucket}"], detail, now())


def _sends(context: Context, bucket: str) -> bool:
    kept = context.store.get(BUCKET_SETTING, f"{bucket}?notification")
    return kept is not None and "EventBridgeConfiguration" in kept["text"]
