"""One image: from any file's bytes to an upright RGB picture, or a reason why not."""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
MAX_ASPECT_RATIO = 20  # a 1 x 100,000 strip would become 256 x 25,600,000 pixels
MEAN = (0.485, 0.456, 0.406)  # of ImageNet, as torchvision's weights expect
STD = (0.229, 0.224, 0.225)
JPEG_QUALITY = 95

Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit would come before `max_pixels`, which callers choose


class Rejected(ValueError):
    """These bytes are no image that can be used; the text is the reason."""


def decode(data: bytes, *, max_pixels: int, shrink_to: int | None = None) -> Image.Image:
    """The picture, upright and RGB. `shrink_to`: short side that will be needed, so a big JPEG may decode smaller.

    Every pixel is decoded, so a truncated file is found here. Raises Rejected with the reason.
    """
    check_looks_like_an_image(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                _check_size(image, max_pixels)
                if shrink_to and image.format == "JPEG":
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
    """The JPEG that goes into a shard: upright, RGB, `short_side` pixels, quality 95, no chroma subsampling.

    Raises Rejected with the reason.
    """
    image = resize_short_side(decode(data, max_pixels=max_pixels, shrink_to=short_side), short_side)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


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
    width, height = image.size
    if min(width, height) == pixels:
        return image
    if width <= height:
        size = (pixels, max(pixels, int(pixels * height / width)))
    else:
        size = (max(pixels, int(pixels * width / height)), pixels)
    return image.resize(size, Image.Resampling.BILINEAR)


def resize_for(image_size: int) -> int:
    """The short side before the center crop: 256 for 224, and in that proportion for other sizes."""
    return round(image_size * 256 / 224)


def center_view(image: Image.Image, image_size: int) -> np.ndarray:
    """The view evaluation and serving use: short side `resize_for(image_size)`, center crop.

    uint8 [image_size, image_size, 3].
    """
    image = resize_short_side(image, resize_for(image_size))
    left, top = round((image.width - image_size) / 2), round((image.height - image_size) / 2)
    return np.asarray(image.crop((left, top, left + image_size, top + image_size)))


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


def _check_size(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise Rejected(f"too many pixels: {width} x {height} is over the limit of {max_pixels}")
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise Rejected(f"too narrow: {width} x {height}")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # EXIF is written by every kind of software: damage in it says nothing about the picture
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith(("I", "F")):
        return _to_eight_bit(image).convert("RGB")
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _to_eight_bit(image: Image.Image) -> Image.Image:
    """Pillow's own conversion clips 16-bit grey at 255, which makes the picture white."""
    values = np.asarray(image, dtype=np.float32)
    top = float(values.max(initial=0.0))
    if image.mode.startswith("I;16") or top > 255:
        values = values / 257
    elif image.mode == "F" and top <= 1:
        values = values * 255
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
