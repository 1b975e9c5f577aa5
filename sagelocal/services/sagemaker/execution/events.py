"""What happened in an execution, as JSON lines in the log stream `<execution id>/events`.

AWS's step list has no member for the reason of a cache miss, a retry or a skipped branch; a reader of this stream gets
them.
"""

import json
import time
from contextlib import suppress

from sagelocal.core.context import Context
from sagelocal.services.logs import streams

LOG_GROUP = "/aws/sagemaker/PipelineExecutions"


def emit(context: Context, execution_arn: str, step: str, event: str, detail: str = "") -> None:
    """Append {"time", "step", "event", "detail"}: time in seconds since 1970, event one of started, succeeded, failed,
    stopped, cached, cache-miss, retry, skipped, abandoned, and resumed, of the execution itself ("step" is "").

    A full disk keeps no events, and fails no step for that."""
    line = json.dumps({"time": round(time.time(), 3), "step": step, "event": event, "detail": detail})
    streams.note(context, LOG_GROUP, stream_name(execution_arn), line)


def forget(context: Context, execution_arn: str) -> None:
    """Remove an execution's events."""
    path = streams.stream_file(context, LOG_GROUP, stream_name(execution_arn))
    path.unlink(missing_ok=True)
    with suppress(OSError):  # the directory was never made
        path.parent.rmdir()


def stream_name(execution_arn: str) -> str:
    return f"{execution_arn.rpartition('/')[2]}/events"
