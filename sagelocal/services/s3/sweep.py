"""What kills leave behind: files on their way that no request owns any more, and uploads that are none."""

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

from sagelocal.core.context import Context
from sagelocal.core.json import Json
from sagelocal.services.s3 import multipart, tree
from sagelocal.services.s3.documents import OBJECT_RECORD


def sweep(context: Context) -> None:
    """Delete the garbage of earlier servers. Meant for the start: nobody waits for an answer about it any more."""
    own = tree.own_incoming(context)
    for path in _inside(own.parent):
        if path != own:
            _delete(path)
    for directory in _inside(multipart.uploads(context)):
        with tree.changing(context):
            upload = _note(directory / multipart.NOTE)
            if upload is None or _is_over(context, directory.name, upload):
                tree.discard(context, directory)
            else:
                _delete_unnamed(directory)


def _is_over(context: Context, upload_id: str, upload: Json) -> bool:
    """Whether the server was killed after it had completed an upload, or the bucket is gone."""
    if upload["bucket"] not in tree.buckets(context):
        return True
    record = context.store.get(OBJECT_RECORD, f"{upload['bucket']}/{upload['key']}")
    return record is not None and record.get("upload") == upload_id


def _delete_unnamed(directory: Path) -> None:
    """Delete the files of an upload that no part's note names."""
    notes = {path for path in _inside(directory) if path.suffix == ".json"}
    parts = [_note(path) for path in notes if path.name != multipart.NOTE]
    named = {directory / part["file"] for part in parts if part and "file" in part}
    named |= {path.with_suffix("") for path in notes}  # as earlier versions named them
    for path in set(_inside(directory)) - notes - named:
        _delete(path)


def _note(path: Path) -> Json | None:
    try:
        note: Json = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return note


def _inside(directory: Path) -> list[Path]:
    with suppress(FileNotFoundError):
        return [directory / name for name in os.listdir(directory)]
    return []


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
