"""Where an exception came from, for the log. Never its message: that of a library may quote a URL or an image."""

from __future__ import annotations

import traceback
from pathlib import Path

from botocore.exceptions import ClientError


def traceback_of(error: BaseException) -> list[str]:
    """The exception and what led to it, the latest first: `Type at file:line function < file:line function …`."""
    lines: list[str] = []
    current: BaseException | None = error
    while current is not None and len(lines) < 5:
        frames = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in traceback.extract_tb(current.__traceback__)]
        lines.append(f"{kind(current)} at {' < '.join(reversed(frames)) or 'an unknown place'}")
        current = current.__cause__ or current.__context__
    return lines


def kind(error: BaseException) -> str:
    """The type, and for an answer of AWS its error code and the container's own status."""
    if not isinstance(error, ClientError):
        return type(error).__name__
    code = error.response.get("Error", {}).get("Code", "")
    status = error.response.get("OriginalStatusCode")
    return f"{code} ({status})" if status is not None else str(code)
