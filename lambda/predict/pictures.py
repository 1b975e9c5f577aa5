"""What a picture is, told from its first bytes: type and size in pixels. Nothing is decoded here.

JPEG markers: ITU-T T.81 annex B. PNG header: RFC 2083 section 4.1.1.
"""

from __future__ import annotations

import re

from errors import ImageTooLarge, NotAnImage, UnreadableImage

MAX_BYTES = 10_000_000
MAX_PIXELS = 50_000_000
MAX_JPEG_SCANS = 100
# A decoder goes over the whole picture for each scan, however few bytes the scan has. Cameras and editors write ten.
MAX_SCANNED_PIXELS = 10 * MAX_PIXELS
# Segments or chunks before the pixels. A colour profile may take 255; millions would only keep this loop busy.
MAX_HEADER_PARTS = 1000

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_JPEG_MAGIC = b"\xff\xd8\xff"
_START_OF_SCAN = 0xDA
_END_OF_IMAGE = 0xD9
_FILL = re.compile(rb"\xff+")
_WITHOUT_LENGTH = {0x01, 0xD8, *range(0xD0, 0xD8)}
_FRAME_HEADERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def check_picture(data: bytes) -> str:
    """The content type, `image/jpeg` or `image/png`, of a picture that is safe to decode.

    Raises NotAnImage (another type), UnreadableImage (a broken header), ImageTooLarge (in bytes, in pixels, or in
    scans of a JPEG).
    """
    if len(data) > MAX_BYTES:
        raise too_many_bytes(MAX_BYTES)
    content_type = sniff(data)
    if content_type is None:
        raise NotAnImage("The image is neither JPEG nor PNG. Convert it and send it again.")
    width, height = _png_size(data) if content_type == "image/png" else _jpeg_size(data)
    if width == 0 or height == 0:
        raise UnreadableImage("The image has no pixels. Check the file.")
    if width * height > MAX_PIXELS:
        raise ImageTooLarge(f"The image has {width}x{height} pixels, more than {MAX_PIXELS:,}. Send a smaller one.")
    scans = data.count(b"\xff\xda") if content_type == "image/jpeg" else 1
    if scans > MAX_JPEG_SCANS or scans * width * height > MAX_SCANNED_PIXELS:
        raise ImageTooLarge(f"The JPEG has {scans} scans over {width}x{height} pixels. Save it as a baseline JPEG.")
    return content_type


def too_many_bytes(most: int) -> ImageTooLarge:
    return ImageTooLarge(f"The image has more than {most:,} bytes. Send a smaller one.")


def sniff(data: bytes) -> str | None:
    if data.startswith(_JPEG_MAGIC):
        return "image/jpeg"
    if data.startswith(_PNG_MAGIC):
        return "image/png"
    return None


def _png_size(data: bytes) -> tuple[int, int]:
    """Of the one header. A second one before the pixels is refused: there are decoders that believe it."""
    if len(data) < 24 or data[12:16] != b"IHDR":
        raise UnreadableImage("The PNG does not begin with its header. Check the file.")
    position = 8
    for number in range(MAX_HEADER_PARTS):
        kind = data[position + 4 : position + 8]
        if kind == b"IDAT":
            return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
        if len(kind) < 4 or (kind == b"IHDR" and number > 0):
            break
        position += 12 + int.from_bytes(data[position : position + 4], "big")
    raise UnreadableImage("The PNG has no pixels after its header. Check the file.")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """The largest of all frame headers before the first scan, since decoders differ in which of two they believe."""
    largest: tuple[int, int] | None = None
    position = 2
    for _ in range(MAX_HEADER_PARTS):
        fill = _FILL.match(data, position)
        if fill is None or fill.end() + 3 > len(data):
            break
        marker, position = data[fill.end()], fill.end() + 1
        if marker in _WITHOUT_LENGTH:
            continue
        length = int.from_bytes(data[position : position + 2], "big")
        if marker in (_START_OF_SCAN, _END_OF_IMAGE) or length < 2:
            break
        if marker in _FRAME_HEADERS and position + 7 <= len(data):
            height = int.from_bytes(data[position + 3 : position + 5], "big")
            width = int.from_bytes(data[position + 5 : position + 7], "big")
            if largest is None or width * height > largest[0] * largest[1]:
                largest = (width, height)
        position += length
    else:
        raise UnreadableImage(f"The JPEG has more than {MAX_HEADER_PARTS} segments. Save it again.")
    if largest is None:
        raise UnreadableImage("The JPEG has no frame header. Check the file.")
    return largest
