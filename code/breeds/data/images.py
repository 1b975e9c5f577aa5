"""One image: from any file's bytes to an upright RGB picture, or a reason why not."""

import contextlib
import io
import warnings
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from breeds.data import jpeg
from contract import pictures

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
MAX_ASPECT_RATIO = 20  # a 1 x 100,000 strip would become 256 x 25,600,000 pixels
MAX_FRAMES = 1000
MOST_OF_JPEG = 8  # bytes of a pixel: two of a coefficient, for each of four channels
CANVASES_OF_WEBP = 2  # that its decoder keeps, the last frame's and the next one's
PIXELS_AT_ONCE = 1 << 20
MEAN = (0.485, 0.456, 0.406)  # of ImageNet, as torchvision's weights expect
STD = (0.229, 0.224, 0.225)
JPEG_QUALITY = 95
MAX_KEPT_BYTES = 128 * 2**10  # of a file that goes into a shard unchanged: splits are read into memory

Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit would come before `max_pixels`, which callers choose


class Rejected(ValueError):
    """These bytes are no image that can be used; the text is the reason."""


class TooLarge(Rejected):
    """More pixels than the caller allows, or more memory than an ordinary photo of so many pixels would take: a bomb,
    or a picture to shrink first."""


def decode(data: bytes, *, max_pixels: int, shrink_to: int | None = None) -> Image.Image:
    """The picture, upright and RGB. `shrink_to`: short side that will be needed, so a big JPEG may decode smaller.

    Every pixel is decoded, so a truncated file is found here. Raises Rejected with the reason.
    """
    check_looks_like_an_image(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                _check_size(*image.size, max_pixels)
                _check_decoded(_decoded_bytes(image, data, max_pixels), max_pixels)
                if shrink_to:
                    image.draft(None, (2 * shrink_to, 2 * shrink_to))
                image.load()
                return _to_rgb(_upright(image))
        except UnidentifiedImageError:
            raise Rejected(f"not an image: {_describe(data)}") from None
        except (OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError, IndexError, OverflowError) as error:
            if isinstance(error, Rejected):
                raise
            text = str(error) or type(error).__name__
            kind = "truncated" if "truncated" in text or "premature" in text.lower() else "damaged"
            raise Rejected(f"{kind}: {text}") from None
        except MemoryError:
            raise Rejected("too large to decode in this machine's memory") from None


def prepare(data: bytes, *, max_pixels: int, short_side: int) -> bytes:
    """The JPEG that goes into a shard. Raises Rejected with the reason.

    An ordinary upright JPEG of less than twice `short_side` stays as it is, once it is known to be whole: it takes less
    space than a good copy, and nothing of it is lost. Any other image becomes an RGB JPEG with that short side,
    quality 95 and no chroma subsampling.
    """
    if _can_stay(data, max_pixels, short_side):
        return data
    pixels = _ordinary(data, max_pixels, short_side)
    image = decode(data, max_pixels=max_pixels, shrink_to=short_side) if pixels is None else Image.fromarray(pixels)
    buffer = io.BytesIO()
    # Pillow resizes here too: where few images need it, importing torch takes longer than it saves.
    resize_short_side(image, short_side).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def _can_stay(data: bytes, max_pixels: int, short_side: int) -> bool:
    size = jpeg.size_of(data) if len(data) <= MAX_KEPT_BYTES else None
    if size is None or min(size) >= 2 * short_side:
        return False
    _check_jpeg(data, *size, max_pixels)
    return jpeg.decode(data, 8) is not None


def _ordinary(data: bytes, max_pixels: int, shrink_to: int) -> np.ndarray | None:
    """uint8 [height, width, 3] of an ordinary JPEG, the same pixels as `decode`; None where Pillow has to decode."""
    size = jpeg.size_of(data)
    if size is None:
        return None
    _check_jpeg(data, *size, max_pixels)
    room = max(1, min(size) // (2 * shrink_to))
    return jpeg.decode(data, next(factor for factor in (8, 4, 2, 1) if factor <= room))


def picture(data: bytes, short_side: int, *, max_pixels: int) -> np.ndarray:
    """Any image file's bytes, upright and RGB: uint8 [height, width, 3], the shorter of them `short_side`.

    Raises Rejected. Where simplejpeg and torch are installed, ordinary JPEGs are decoded twice as fast as by Pillow, to
    the same pixels within 1 of 255. Pillow decodes all others, and says what is wrong with a file.
    """
    pixels = _ordinary(data, max_pixels, short_side)
    if pixels is not None:
        height, width, _ = pixels.shape
        return jpeg.resize(pixels, *_resized(width, height, short_side))
    image = decode(data, max_pixels=max_pixels, shrink_to=short_side)
    return np.asarray(resize_short_side(image, short_side))


def check_looks_like_an_image(data: bytes) -> None:
    """Raises Rejected for what only pretends to be an image, without decoding it."""
    if not data:
        raise Rejected("empty file")
    start = data[:256].lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        raise Rejected("Git LFS pointer: fetch the real file with git lfs pull")
    if start.startswith((b"<!doctype html", b"<html")):
        raise Rejected("HTML page: probably a failed download")


def resize_short_side(image: Image.Image, pixels: int) -> Image.Image:
    """Antialiased bilinear, as torchvision's Resize: the short side becomes `pixels`, the aspect ratio stays."""
    size = _resized(*image.size, pixels)
    return image if size == image.size else image.resize(size, Image.Resampling.BILINEAR)


def view_size(image_size: int) -> int:
    """The side of the center view where random crops of side `image_size` are trained on: 256 for 224.

    A random crop magnifies what it shows; a larger view at the end makes up for it (Touvron et al. 2019, "Fixing the
    train-test resolution discrepancy").
    """
    return round(image_size * 256 / 224)


def center_view(image: Image.Image, size: int, resize: int | None = None) -> np.ndarray:
    """The view evaluation and serving use, uint8 [size, size, 3]: short side `resize`, center crop.

    Without `resize` the short side is `size`: the whole central square. Older models give another value.
    """
    return _middle(np.asarray(resize_short_side(image, resize or size)), size)


def view(data: bytes, size: int, resize: int | None = None, *, max_pixels: int) -> np.ndarray:
    """The center view of any image file's bytes. Raises Rejected."""
    return _middle(picture(data, resize or size, max_pixels=max_pixels), size)


def _middle(pixels: np.ndarray, size: int) -> np.ndarray:
    height, width, _ = pixels.shape
    left, top = round((width - size) / 2), round((height - size) / 2)
    return pixels[top : top + size, left : left + size]


def _resized(width: int, height: int, pixels: int) -> tuple[int, int]:
    """(width, height) when the short side becomes `pixels`, as torchvision's Resize rounds it."""
    if width <= height:
        return pixels, max(pixels, int(pixels * height / width))
    return max(pixels, int(pixels * width / height)), pixels


def _describe(data: bytes) -> str:
    start = data[:32]
    if start[4:8] == b"ftyp":
        return "HEIC, AVIF or a video, convert it to JPEG"
    if start.lstrip().startswith((b"<svg", b"<?xml")):
        return "SVG or XML"
    known = {b"%PDF": "a PDF", b"PK\x03\x04": "a zip archive", b"8BPS": "a Photoshop file", b"%!PS": "PostScript"}
    for magic, name in known.items():
        if start.startswith(magic):
            return name
    if not any(start):
        return "only zero bytes"
    return "text" if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in start) else "unknown content"


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise TooLarge(f"too many pixels: {width} x {height} is over the limit of {max_pixels}")
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise Rejected(f"too narrow: {width} x {height}")


def _check_jpeg(data: bytes, width: int, height: int, max_pixels: int) -> None:
    _check_size(width, height, max_pixels)
    if width * height * MOST_OF_JPEG > pictures.most_decoded(max_pixels):
        _check_decoded(_header_bytes(data), max_pixels)


def _check_decoded(decoded: int, max_pixels: int) -> None:
    most = pictures.most_decoded(max_pixels)
    if decoded > most:
        raise TooLarge(f"too much to decode: {decoded:,} bytes are over the limit of {most:,}")


def _header_bytes(data: bytes) -> int:
    """Of a JPEG or PNG; 0 for others, and for a header that the decoder will complain of."""
    try:
        header = pictures.header(data)
    except pictures.BadHeader:
        return 0
    return header.decoded if header else 0


def _decoded_bytes(image: Image.Image, data: bytes, max_pixels: int) -> int:
    """What decoding will take, all frames counted, though only the first one is used."""
    if told := _header_bytes(data):
        return told
    deep = ";16" in str(getattr(image, "tile", ""))  # told to its decoder; the mode is that of 8 bits all the same
    channels = len(image.getbands()) * (2 if deep else 1)
    pixel = max(pictures.LEAST, channels) * (CANVASES_OF_WEBP if image.format == "WEBP" else 1)
    one = pictures.decoded_bytes(*image.size, pixel)
    return one * _frames(data, most=min(MAX_FRAMES, pictures.most_decoded(max_pixels) // max(1, one)))


def _frames(data: bytes, most: int) -> int:
    """Counted up to one more than `most`: a small file may hold a million frames, of no size worth counting."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        for number in range(1, most + 1):
            try:
                image.seek(number)
            except Exception:  # the end; or damage behind the first frame, which says nothing about that one
                return number
    return most + 1


def _upright(image: Image.Image) -> Image.Image:
    """In place: a copy of a large picture is another hundred megabytes."""
    with contextlib.suppress(Exception):  # EXIF is written by every kind of software: damage in it says nothing
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    """A few rows at a time, so that no step of it is a copy of the whole picture."""
    if image.mode == "RGB":
        return image
    top = max(image.getextrema()) if image.mode.startswith(("I", "F")) else 0.0  # one channel: (least, most)
    whole = Image.new("RGB", image.size)
    rows = max(1, PIXELS_AT_ONCE // image.width)
    for above in range(0, image.height, rows):
        box = (0, above, image.width, min(above + rows, image.height))
        whole.paste(_part_to_rgb(image.crop(box), top), box)
    return whole


def _part_to_rgb(image: Image.Image, top: Any) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return _to_eight_bit(image, top).convert("RGB")
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _to_eight_bit(image: Image.Image, top: Any) -> Image.Image:
    """Pillow's own conversion clips 16-bit grey at 255, which makes the picture white. `top`: of the whole picture."""
    values: np.ndarray = np.asarray(image, dtype=np.float32)
    if image.mode.startswith("I;16") or top > 255:
        values = values / 257
    elif image.mode == "F" and top <= 1:
        values = values * 255
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
