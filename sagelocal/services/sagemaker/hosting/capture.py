"""Data capture: requests and answers of an endpoint as JSON lines in S3, written in the background.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html. As on AWS, capturing
never holds a request up: where S3 cannot keep pace, or the model's role may not write, captures are dropped.
"""

import base64
import json
import random
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sagelocal.core.context import Context, one_per_server
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.runtime import service_calls
from sagelocal.services.logs import streams
from sagelocal.services.s3 import objects
from sagelocal.services.sagemaker.hosting.instance import Answer, Served

FLUSH_SECONDS = 2.0
MAX_WAITING_BYTES = 64 << 20
NO_TYPE = "application/octet-stream"
MODES = {"Input": ("Input",), "Output": ("Output",), "InputAndOutput": ("Input", "Output")}


@dataclass(frozen=True)
class Captured:
    """One request with its answer, not yet encoded."""

    served: Served
    time: float
    request: Json  # InvokeEndpoint's
    answer: Answer

    @property
    def size(self) -> int:
        return len(self.request.get("Body", b"")) + len(self.answer.body)


class Recorder:
    """What the endpoints of an account have captured and not written yet."""

    def __init__(self, context: Context):
        self.context = context
        self._waiting: list[Captured] = []
        self._bytes = 0
        self._started = False
        self._lock = threading.Lock()
        self._writing = threading.Lock()

    def take(self, served: Served, request: Json, answer: Answer) -> None:
        """Capture one successful InvokeEndpoint, if the sampling of its configuration says so."""
        config = served.capture or {}
        if not config.get("EnableCapture", True) or random.random() * 100 >= config["InitialSamplingPercentage"]:
            return
        captured = Captured(served, time.time(), request, answer)
        with self._lock:
            if self._bytes + captured.size > MAX_WAITING_BYTES:
                return
            self._waiting.append(captured)
            self._bytes += captured.size
            start, self._started = not self._started, True
        if start:
            self.context.spawn("data capture", self._run)

    def flush(self) -> None:
        """Write what waits: one object for each variant."""
        with self._writing:
            with self._lock:
                waiting, self._waiting, self._bytes = self._waiting, [], 0
            groups: dict[tuple[Any, ...], list[Captured]] = defaultdict(list)
            for captured in waiting:
                served = captured.served
                groups[served.endpoint, served.variant, served.config].append(captured)
            for group in groups.values():
                self._write(group)

    def _run(self) -> None:
        while not self.context.stopping.wait(FLUSH_SECONDS):
            self.flush()

    def _write(self, group: list[Captured]) -> None:
        served, config = group[0].served, group[0].served.capture or {}
        lines = "".join(json.dumps(record(captured)) + "\n" for captured in group)
        uri = object_uri(config["DestinationS3Uri"], served, group[0].time)
        context = self.context.as_role(served.role)
        try:
            service_calls.check_write(context, uri)
            objects.write_bytes(context, uri, lines.encode())
        except (AwsError, OSError) as problem:
            group_name = f"/aws/sagemaker/Endpoints/{served.endpoint}"
            text = f"[embedded] {len(group)} captured request(s) were dropped: {getattr(problem, 'message', problem)}"
            streams.note(self.context, group_name, f"{served.variant}/data-log", text)


def record(captured: Captured) -> Json:
    """A line of a capture file."""
    config = captured.served.capture or {}
    wanted = {mode for option in config["CaptureOptions"] for mode in MODES[option["CaptureMode"]]}
    data = {}
    if "Input" in wanted:
        kind = captured.request.get("ContentType", NO_TYPE)
        data["endpointInput"] = _payload("INPUT", captured.request.get("Body", b""), kind, config)
    if "Output" in wanted:
        kind = captured.answer.header("Content-Type") or NO_TYPE
        data["endpointOutput"] = _payload("OUTPUT", captured.answer.body, kind, config)
    moment = datetime.fromtimestamp(captured.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    event: Json = {"eventId": str(uuid.uuid4()), "inferenceTime": moment}
    if captured.request.get("InferenceId"):
        event["inferenceId"] = captured.request["InferenceId"]
    if captured.request.get("CustomAttributes"):
        event["customAttributes"] = [captured.request["CustomAttributes"]]
    return {"captureData": data, "eventMetadata": event, "eventVersion": "0"}


def object_uri(destination: str, served: Served, moment: float) -> str:
    """Where a capture file goes: by endpoint, variant and the hour (UTC) of its first request."""
    at = datetime.fromtimestamp(moment, UTC)
    name = f"{at:%M-%S}-{at.microsecond // 1000:03d}-{uuid.uuid4()}.jsonl"
    return f"{destination.rstrip('/')}/{served.endpoint}/{served.variant}/{at:%Y/%m/%d/%H}/{name}"


def _payload(mode: str, data: bytes, content_type: str, config: Mapping[str, Any]) -> Json:
    """Text where the configuration names the content type (parameters such as a charset aside), else base64."""
    kept = config.get("CaptureContentTypeHeader", {})
    plain = content_type.partition(";")[0].strip()
    members = {"CSV": "CsvContentTypes", "JSON": "JsonContentTypes"}
    encoding = next((name for name, member in members.items() if plain in kept.get(member, [])), None)
    text = data.decode(errors="replace") if encoding else base64.b64encode(data).decode()
    return {"observedContentType": content_type, "mode": mode, "data": text, "encoding": encoding or "BASE64"}


recorder = one_per_server(Recorder)
