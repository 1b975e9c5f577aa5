"""Writes tensors in smdebug's own layout, many steps to an event file.

smdebug starts a thread and two files at every step: for the steps of a classifier's head, longer than the step. Here
steps wait in memory and are written together; a reader sees no difference, as the index says where each tensor is.
The protocol buffers are put together here for the same reason: smdebug's protobuf is the one written in Python, which
takes a millisecond for a loss.
"""

import json
import os
import struct
import time
from typing import Any

import numpy as np
from smdebug.core.locations import IndexFileLocationUtils, TensorFileLocation
from smdebug.core.modes import MODE_PLUGIN_NAME, MODE_STEP_PLUGIN_NAME, ModeKeys
from smdebug.core.tfevent.proto import types_pb2
from smdebug.core.tfrecord.record_writer import CHECKSUM_MAGIC_BYTES, masked_crc32c

DTYPES = {
    np.dtype(np.float32): types_pb2.DT_FLOAT,
    np.dtype(np.float64): types_pb2.DT_DOUBLE,
    np.dtype(np.int32): types_pb2.DT_INT32,
    np.dtype(np.int64): types_pb2.DT_INT64,
}
MAX_WAITING_BYTES = 8 * 2**20
FOOTER = struct.pack("I", masked_crc32c(CHECKSUM_MAGIC_BYTES))  # smdebug does not checksum the payload


class TrialWriter:
    """The files of one worker below `directory`; `flush` makes what was written visible to readers."""

    def __init__(self, directory: str, worker: str):
        self.directory, self.worker = directory, worker
        self._steps: list[StepWriter] = []
        self._waiting = 0
        self._last: StepWriter | None = None

    def step(self, number: int) -> "StepWriter":
        """A writer for a step. The last step's comes back with what it holds: its files are replaced, not added to."""
        if self._last is None or self._last.number != number:
            self._last = StepWriter(self, number)
        return self._last

    def add(self, step: "StepWriter") -> None:
        if step.records and step not in self._steps:
            self._steps.append(step)
            self._waiting += sum(len(record) for _, record in step.records)
        if self._waiting >= MAX_WAITING_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the event file, then the index of each step: a reader never finds an index without its tensors."""
        steps, self._steps, self._waiting = self._steps, [], 0
        if not steps:
            return
        location = TensorFileLocation(step_num=steps[0].number, worker_name=self.worker)
        events, indices, position = [], [], 0
        for step in steps:
            payload = []
            for name, record in step.records:
                payload.append({"tensorname": name, "start_idx": position, "length": len(record)})
                position += len(record)
                events.append(record)
            meta = {**step.meta, "event_file_name": location.get_file_location()}
            index = {"meta": meta, "tensor_payload": payload, "shape_payload": step.shapes}
            indices.append((step.number, json.dumps(index)))
        _replace(location.get_file_location(trial_dir=self.directory), b"".join(events))
        for number, index in indices:
            path = IndexFileLocationUtils.get_index_key_for_step(self.directory, number, self.worker)
            _replace(path, index.encode())


class StepWriter:
    """The tensors of one step; stands in for smdebug's FileWriter."""

    def __init__(self, trial: TrialWriter, number: int):
        self.trial, self.number = trial, number
        self.records: list[tuple[str, bytes]] = []
        self.shapes: list[dict[str, Any]] = []
        self.meta: dict[str, Any] = {}

    def write_tensor(
        self, tdata: np.ndarray, tname: str, mode: ModeKeys, mode_step: int, timestamp: float | None = None
    ) -> None:
        self.meta = {"mode": mode.name, "mode_step": mode_step}
        plugins = ((MODE_STEP_PLUGIN_NAME, mode_step), (MODE_PLUGIN_NAME, mode.value))
        self.records.append((tname, _record(_event(np.asarray(tdata), tname, self.number, plugins, timestamp))))

    def write_shape(self, tname: str, shape: tuple, mode: ModeKeys, mode_step: int, original_name: str | None = None):
        self.meta = {"mode": mode.name, "mode_step": mode_step}
        self.shapes.append({"tensorname": tname, "originalname": original_name or tname, "shape": shape})

    def flush(self) -> None:
        """Nothing: the trial's writer decides when."""

    def close(self) -> None:
        self.trial.add(self)


def _event(
    value: np.ndarray, name: str, step: int, plugins: tuple[tuple[str, int], ...], timestamp: float | None
) -> bytes:
    """tensorflow.Event with one Summary.Value; the numbers are those of smdebug's event, summary and tensor .proto."""
    if value.dtype not in DTYPES:
        value = value.astype(np.float32)
    dimensions = b"".join(_message(2, _integer(1, size) + _text(2, f"{name}_{size}")) for size in value.shape)
    tensor = _integer(1, DTYPES[value.dtype]) + _message(2, dimensions) + _message(4, value.tobytes())
    metadata = b"".join(_message(1, _text(1, plugin) + _text(2, str(content))) for plugin, content in plugins)
    summary = _message(1, _text(1, name) + _message(8, tensor) + _message(9, metadata))
    wall_time = b"\x09" + struct.pack("<d", timestamp or time.time())
    return wall_time + _integer(2, step) + _message(5, summary)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, content: str) -> bytes:
    return _message(field, content.encode())


def _record(payload: bytes) -> bytes:
    """A TFRecord, as smdebug reads it."""
    length = struct.pack("Q", len(payload))
    return length + struct.pack("I", masked_crc32c(length)) + payload + FOOTER


def _replace(path: str, content: bytes) -> None:
    """At one stroke: a reader of a running training never finds half a file."""
    unfinished = f"{path}.tmp"
    try:
        _write(unfinished, content)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _write(unfinished, content)
    os.replace(unfinished, path)


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
