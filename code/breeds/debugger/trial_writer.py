"""Writes tensors in smdebug's own layout, many steps to an event file.

smdebug starts a thread and two files at every step: for the steps of a classifier's head, longer than the step. Here
steps wait in memory and are written together, beside the training that goes on; a reader sees no difference, as the
index says where each tensor is. The protocol buffers are put together here for the same reason: smdebug's protobuf is
the one written in Python, which takes a millisecond for a loss.
"""

import json
import os
import struct
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

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
MAX_FLUSHES = 8  # that may wait for the disk
FOOTER = struct.pack("I", masked_crc32c(CHECKSUM_MAGIC_BYTES))  # smdebug does not checksum the payload


class TrialWriter:
    """The files of one worker below `directory`; `flush` makes what was written visible to readers."""

    def __init__(self, directory: str, worker: str):
        self.directory, self.worker = directory, worker
        self._steps: list[StepWriter] = []
        self._waiting = 0
        self._last: StepWriter | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="debugger")
        self._written: deque[Future[None]] = deque()

    def step(self, number: int) -> "StepWriter":
        """A writer for a step. The last step's comes back with what it holds: its files are replaced, not added to."""
        if self._last is None or self._last.number != number:
            self._last = StepWriter(self, number)
        return self._last

    def add(self, step: "StepWriter") -> None:
        """Let a finished step wait to be written; many waiting bytes are flushed."""
        if step.tensors and (not self._steps or self._steps[-1] is not step):
            self._steps.append(step)
            self._waiting += sum(len(tensor.content) for tensor in step.tensors)
        if self._waiting >= MAX_WAITING_BYTES:
            self.flush(wait=False)

    def flush(self, *, wait: bool) -> None:
        """Write what waits. With `wait` it is readable on return; without, soon, while the training goes on: a step
        costs a file, and the time of making one (0.02 to 0.5 ms) is the disk's. Raises what an earlier flush met."""
        files, self._steps, self._waiting = self._files(self._steps), [], 0
        while self._written and (wait or self._written[0].done() or len(self._written) > MAX_FLUSHES):
            self._written.popleft().result()
        if wait:
            _write_all(files)
        elif files:
            # Files only: were they made there too, the training would wait for Python's lock.
            self._written.append(self._thread.submit(_write_all, files))

    def _files(self, steps: "list[StepWriter]") -> list[tuple[str, list[bytes]]]:
        """The event file, then the index of each step: a reader never finds an index without its tensors."""
        if not steps:
            return []
        location = TensorFileLocation(step_num=steps[0].number, worker_name=self.worker)
        events: list[bytes] = []
        indices, position = [], 0
        for step in steps:
            payload = []
            for tensor in step.tensors:
                record = _record(tensor, step.number)
                length = sum(map(len, record))
                payload.append({"tensorname": tensor.name, "start_idx": position, "length": length})
                position += length
                events += record
            meta = {**step.meta, "event_file_name": location.get_file_location()}
            index = {"meta": meta, "tensor_payload": payload, "shape_payload": step.shapes}
            path = IndexFileLocationUtils.get_index_key_for_step(self.directory, step.number, self.worker)
            indices.append((path, [json.dumps(index).encode()]))
        return [(location.get_file_location(trial_dir=self.directory), events), *indices]


class SavedTensor(NamedTuple):
    """A tensor's values as they were: the training goes on and changes them."""

    name: str
    content: bytes
    dtype: np.dtype
    shape: tuple[int, ...]
    mode: ModeKeys
    mode_step: int
    timestamp: float


class StepWriter:
    """The tensors of one step; stands in for smdebug's FileWriter."""

    def __init__(self, trial: TrialWriter, number: int):
        self.trial, self.number = trial, number
        self.tensors: list[SavedTensor] = []
        self.shapes: list[dict[str, Any]] = []
        self.meta: dict[str, Any] = {}

    def write_tensor(
        self, tdata: np.ndarray, tname: str, mode: ModeKeys, mode_step: int, timestamp: float | None = None
    ) -> None:
        self.meta = {"mode": mode.name, "mode_step": mode_step}
        value = np.asarray(tdata)
        if value.dtype not in DTYPES:
            value = value.astype(np.float32)
        saved = SavedTensor(tname, value.tobytes(), value.dtype, value.shape, mode, mode_step, timestamp or time.time())
        self.tensors.append(saved)

    def write_shape(self, tname: str, shape: tuple, mode: ModeKeys, mode_step: int, original_name: str | None = None):
        self.meta = {"mode": mode.name, "mode_step": mode_step}
        self.shapes.append({"tensorname": tname, "originalname": original_name or tname, "shape": shape})

    def flush(self) -> None:
        """Nothing: the trial's writer decides when."""

    def close(self) -> None:
        self.trial.add(self)


def _record(tensor: SavedTensor, step: int) -> tuple[bytes, ...]:
    """A TFRecord, in parts that need not be joined: a tensorflow.Event with one Summary.Value. The numbers are those of
    smdebug's event, summary and tensor .proto."""
    content, end = tensor.content, _plugins(tensor.mode, tensor.mode_step)
    described = _described(tensor.name, tensor.dtype, tensor.shape) + _tag(4, len(content))
    start = _text(1, tensor.name) + _tag(8, len(described) + len(content)) + described
    for field in (1, 5):
        start = _tag(field, len(start) + len(content) + len(end)) + start
    start = b"\x09" + struct.pack("<d", tensor.timestamp) + _integer(2, step) + start
    return _header(len(start) + len(content) + len(end)) + start, content, end + FOOTER


# Cached, because many parts of an event are those of the event before.


@lru_cache(maxsize=4096)
def _described(name: str, dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    dimensions = b"".join(_message(2, _integer(1, size) + _text(2, f"{name}_{size}")) for size in shape)
    return _integer(1, DTYPES[dtype]) + _message(2, dimensions)


@lru_cache(maxsize=1)
def _plugins(mode: ModeKeys, mode_step: int) -> bytes:
    plugins = ((MODE_STEP_PLUGIN_NAME, mode_step), (MODE_PLUGIN_NAME, mode.value))
    return _message(9, b"".join(_message(1, _text(1, name) + _text(2, str(content))) for name, content in plugins))


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _message(field: int, content: bytes) -> bytes:
    return _tag(field, len(content)) + content


def _text(field: int, content: str) -> bytes:
    return _message(field, content.encode())


@lru_cache(maxsize=4096)
def _tag(field: int, length: int) -> bytes:
    return _varint(field << 3 | 2) + _varint(length)


@lru_cache(maxsize=4096)
def _header(size: int) -> bytes:
    """Of a TFRecord, as smdebug reads it."""
    length = struct.pack("Q", size)
    return length + struct.pack("I", masked_crc32c(length))


def _write_all(files: list[tuple[str, list[bytes]]]) -> None:
    for path, parts in files:
        _replace(path, parts)


def _replace(path: str, parts: list[bytes]) -> None:
    """Atomically: a reader of a running training never finds half a file."""
    unfinished = f"{path}.tmp"
    try:
        _write(unfinished, parts)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _write(unfinished, parts)
    os.replace(unfinished, path)


def _write(path: str, parts: list[bytes]) -> None:
    with open(path, "wb") as file:
        file.writelines(parts)
