"""How much memory a picture may take once it is decoded: told from its header, so that none is decoded to find out.

A few bytes of PNG can stand for a gigabyte of pixels. The predict function and the container count alike: pixels,
channels, bytes of each, frames. JPEG markers: ITU-T T.81 annex B. PNG: https://www.w3.org/TR/png-3/.
"""

import re
from dataclasses import dataclass

JPEG, PNG = "image/jpeg", "image/png"
MAX_PIXELS = 50_000_000
PHOTO = 3  # bytes of a pixel of an ordinary photo: what a limit in pixels means in bytes
# What a decoder keeps of a pixel, whatever the file says. Only JPEG's can make a picture smaller while it reads.
LEAST = 4
# Segments or chunks before the pixels. A colour profile may take 255; millions would only keep this loop busy.
MAX_HEADER_PARTS = 1000

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_JPEG_MAGIC = b"\xff\xd8\xff"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 4, 4: 4, 6: 4}  # palettes and grey with transparency are decoded to RGBA
_START_OF_SCAN = 0xDA
_END_OF_IMAGE = 0xD9
_FILL = re.compile(rb"\xff+")
_WITHOUT_LENGTH = {0x01, 0xD8, *range(0xD0, 0xD8)}
_FRAME_HEADERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = {0xC0, 0xC1, 0xC9}


class BadHeader(ValueError):
    """The bytes begin as a JPEG or PNG does, but their header is broken; the text says how."""


@dataclass(frozen=True)
class Header:
    """Type, size in pixels, and the bytes that decoding takes."""

    content_type: str
    width: int
    height: int
    decoded: int


def decoded_bytes(width: int, height: int, channels: float, bytes_per_channel: int = 1, frames: int = 1) -> int:
    return round(width * height * channels * bytes_per_channel * frames)


def most_decoded(max_pixels: int = MAX_PIXELS) -> int:
    """The bytes that a decoded picture may take where an ordinary photo may have so many pixels."""
    return max_pixels * PHOTO


def content_type(data: bytes) -> str | None:
    """Of a JPEG or PNG, by its first bytes."""
    return JPEG if data.startswith(_JPEG_MAGIC) else PNG if data.startswith(_PNG_MAGIC) else None


def header(data: bytes) -> Header | None:
    """None for what is neither JPEG nor PNG. Raises BadHeader."""
    kind = content_type(data)
    if kind is None:
        return None
    return _png(data) if kind == PNG else _jpeg(data)


def _png(data: bytes) -> Header:
    """Of the one header. A second one before the pixels is refused: there are decoders that believe it."""
    if len(data) < 26 or data[12:16] != b"IHDR":
        raise BadHeader("The PNG does not begin with its header.")
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    channels, bytes_per_channel = _PNG_CHANNELS.get(data[25], LEAST), 2 if data[24] == 16 else 1
    position, frames = 8, 1
    for number in range(MAX_HEADER_PARTS):
        kind = data[position + 4 : position + 8]
        if kind == b"IDAT":
            pixel = max(LEAST, channels * bytes_per_channel)
            return Header(PNG, width, height, decoded_bytes(width, height, pixel, frames=frames))
        if len(kind) < 4 or (kind == b"IHDR" and number > 0):
            break
        if kind == b"acTL":
            frames = max(frames, int.from_bytes(data[position + 8 : position + 12], "big"))
        position += 12 + int.from_bytes(data[position : position + 4], "big")
    raise BadHeader("The PNG has no pixels after its header.")


def _jpeg(data: bytes) -> Header:
    """The largest of all frame headers before the first scan, since decoders differ in which of two they believe."""
    frames: list[tuple[int, bytes]] = []  # (marker, content)
    in_first_scan = 0
    position = 2
    for _ in range(MAX_HEADER_PARTS):
        fill = _FILL.match(data, position)
        if fill is None or fill.end() + 3 > len(data):
            break
        marker, position = data[fill.end()], fill.end() + 1
        if marker in _WITHOUT_LENGTH:
            continue
        length = int.from_bytes(data[position : position + 2], "big")
        content = data[position + 2 : position + length]
        if marker == _START_OF_SCAN and content:
            in_first_scan = content[0]
        if marker in (_START_OF_SCAN, _END_OF_IMAGE) or length < 2:
            break
        if marker in _FRAME_HEADERS and len(content) >= 6:
            frames.append((marker, content))
        position += length
    else:
        raise BadHeader(f"The JPEG has more than {MAX_HEADER_PARTS} segments.")
    if not frames:
        raise BadHeader("The JPEG has no frame header.")
    found = [_jpeg_frame(marker, content, in_first_scan) for marker, content in frames]
    return max(found, key=lambda frame: (frame.width * frame.height, frame.decoded))


def _jpeg_frame(marker: int, content: bytes, in_first_scan: int) -> Header:
    """Where a scan does not bring whole pixels, the decoder keeps all coefficients: two bytes for each sample."""
    height, width = int.from_bytes(content[1:3], "big"), int.from_bytes(content[3:5], "big")
    channels = content[5]
    decoded = decoded_bytes(width, height, channels, 2 if content[0] > 8 else 1)
    if marker not in _SEQUENTIAL or in_first_scan < channels:
        sampling = [(factors >> 4, factors & 15) for factors in content[7 : 6 + 3 * channels : 3]]
        most = max((across for across, _ in sampling), default=0) * max((down for _, down in sampling), default=0)
        samples = sum(across * down for across, down in sampling) / most if most else channels
        decoded = max(decoded, decoded_bytes(width, height, samples, 2))
    return Header(JPEG, width, height, decoded)
