"""What a picture is, told from its first bytes: type and size in pixels. Nothing is decoded here.

JPEG markers: ITU-T T.81 annex B. PNG header: RFC 2083 section 4.1.1.
"""

from __future__ import annotations

from errors import ImageTooLarge, NotAnImage, UnreadableImage

MAX_PIXELS = 50_000_000
MAX_JPEG_SCANS = 100

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_JPEG_MAGIC = b"\xff\xd8\xff"
_START_OF_SCAN = 0xDA
_END_OF_IMAGE = 0xD9
_WITHOUT_LENGTH = {0x01, 0xD8, *range(0xD0, 0xD8)}
_FRAME_HEADERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def check_picture(data: bytes) -> str:
    """The content type, `image/jpeg` or `image/png`, of a picture that is safe to decode.

    Raises NotAnImage (another type), UnreadableImage (a broken header), ImageTooLarge (a pixel bomb, or a JPEG of so
    many scans that decoding each over the whole picture is the bomb).
    """
    content_type = sniff(data)
    if content_type is None:
        raise NotAnImage("The image is neither JPEG nor PNG. Convert it and send it again.")
    width, height = _png_size(data) if content_type == "image/png" else _jpeg_size(data)
    if width == 0 or height == 0:
        raise UnreadableImage("The image has no pixels. Check the file.")
    if width * height > MAX_PIXELS:
        raise ImageTooLarge(f"The image has {width}x{height} pixels, more than {MAX_PIXELS:,}. Send a smaller one.")
    if content_type == "image/jpeg" and data.count(b"\xff\xda") > MAX_JPEG_SCANS:
        raise ImageTooLarge(f"The JPEG has more than {MAX_JPEG_SCANS} scans. Save it as a baseline JPEG.")
    return content_type


def sniff(data: bytes) -> str | None:
    if data.startswith(_JPEG_MAGIC):
        return "image/jpeg"
    if data.startswith(_PNG_MAGIC):
        return "image/png"
    return None


def _png_size(data: bytes) -> tuple[int, int]:
    if len(data) < 24 or data[12:16] != b"IHDR":
        raise UnreadableImage("The PNG does not begin with its header. Check the file.")
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """The largest of all frame headers before the first scan, since decoders differ in which of two they believe."""
    largest: tuple[int, int] | None = None
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            break
        marker = data[position + 1]
        if marker == 0xFF or marker in _WITHOUT_LENGTH:
            position += 1 if marker == 0xFF else 2
            continue
        if marker in (_START_OF_SCAN, _END_OF_IMAGE):
            break
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if length < 2:
            break
        if marker in _FRAME_HEADERS and position + 9 <= len(data):
            height = int.from_bytes(data[position + 5 : position + 7], "big")
            width = int.from_bytes(data[position + 7 : position + 9], "big")
            if largest is None or width * height > largest[0] * largest[1]:
                largest = (width, height)
        position += 2 + length
    if largest is None:
        raise UnreadableImage("The JPEG has no frame header. Check the file.")
    return largest
