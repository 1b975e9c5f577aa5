"""What a picture is, told from its first bytes: type, size, and what decoding it costs. Nothing is decoded."""

from __future__ import annotations

from errors import ImageTooLarge, NotAnImage, UnreadableImage

from contract import pictures as contract

MAX_BYTES = 10_000_000
MAX_PIXELS = contract.MAX_PIXELS
MAX_JPEG_SCANS = 100
# A decoder goes over the whole picture for each scan, however few bytes the scan has. Cameras and editors write ten.
MAX_SCANNED_PIXELS = 10 * MAX_PIXELS


def check_picture(data: bytes) -> str:
    """The content type, `image/jpeg` or `image/png`, of a picture that is safe to decode.

    Raises NotAnImage (another type), UnreadableImage (a broken header), ImageTooLarge (in bytes, in pixels, once it is
    decoded, or in scans of a JPEG).
    """
    if len(data) > MAX_BYTES:
        raise too_many_bytes(MAX_BYTES)
    try:
        header = contract.header(data)
    except contract.BadHeader as problem:
        raise UnreadableImage(f"{problem} Check the file.") from None
    if header is None:
        raise NotAnImage("The image is neither JPEG nor PNG. Convert it and send it again.")
    size = f"{header.width}x{header.height} pixels"
    pixels = header.width * header.height
    if pixels == 0:
        raise UnreadableImage("The image has no pixels. Check the file.")
    if pixels > MAX_PIXELS:
        raise ImageTooLarge(f"The image has {size}, more than {MAX_PIXELS:,}. Send a smaller one.")
    if header.decoded > contract.most_decoded():
        raise ImageTooLarge(
            f"The image takes {header.decoded:,} bytes once it is decoded ({size}), more than "
            f"{contract.most_decoded():,}. Send a smaller one, or a baseline JPEG."
        )
    scans = data.count(b"\xff\xda") if header.content_type == contract.JPEG else 1
    if scans > MAX_JPEG_SCANS or scans * pixels > MAX_SCANNED_PIXELS:
        raise ImageTooLarge(f"The JPEG has {scans} scans over {size}. Save it as a baseline JPEG.")
    return header.content_type


def too_many_bytes(most: int) -> ImageTooLarge:
    return ImageTooLarge(f"The image has more than {most:,} bytes. Send a smaller one.")
