"""breeds.images: which files become pictures, which are refused and with what reason."""

import io

import numpy as np
import pytest
from breeds import images
from breeds.images import Rejected
from PIL import Image

LIMIT = 1_000_000


def encode(image: Image.Image, format: str = "JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def photo(width: int = 320, height: int = 280) -> Image.Image:
    """Left half red, right half blue, with grain so that it does not compress to nothing."""
    pixels = np.random.default_rng(0).integers(0, 40, (height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] += 200
    pixels[:, width // 2 :, 2] += 200
    return Image.fromarray(pixels)


def rejection(data: bytes, max_pixels: int = LIMIT) -> str:
    with pytest.raises(Rejected) as caught:
        images.decode(data, max_pixels=max_pixels)
    return str(caught.value)


def test_a_truncated_jpeg_is_rejected_with_its_reason():
    assert rejection(encode(photo())[:-2000]).startswith("truncated")


def test_a_truncated_progressive_jpeg_is_rejected_too():
    assert rejection(encode(photo(), progressive=True)[:-2000]).startswith("truncated")


def test_a_truncated_png_is_rejected():
    assert rejection(encode(photo(), "PNG")[:-500]).startswith(("truncated", "damaged"))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"\n <!DOCTYPE html><html></html>", "HTML page"),
        (b"<HTML><body>404", "HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "Git LFS pointer"),
        (b"hello, this is a text file", "not an image: text"),
        (b"\0" * 5000, "not an image: only zero bytes"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 100, "not an image: HEIC"),
        (b"%PDF-1.7 etc", "not an image: a PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not an image: PostScript"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 50, "not an image"),
    ],
)
def test_what_only_pretends_to_be_an_image_is_rejected_with_its_reason(data, reason):
    assert rejection(data).startswith(reason)


def test_a_pixel_bomb_is_rejected_before_it_is_decoded():
    bomb = encode(Image.new("1", (30_000, 30_000)), "PNG")
    assert len(bomb) < 500_000
    assert rejection(bomb, max_pixels=100_000_000) == "too many pixels: 30000 x 30000 is over the limit of 100000000"


def test_a_strip_that_would_grow_when_resized_is_rejected():
    assert rejection(encode(Image.new("RGB", (4000, 1)))) == "too narrow: 4000 x 1"


@pytest.mark.parametrize(
    ("orientation", "red_side"), [(1, "left"), (3, "right"), (6, "top"), (8, "bottom"), (2, "right")]
)
def test_exif_orientation_turns_the_picture_upright(orientation, red_side):
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = images.decode(encode(photo(), exif=exif.tobytes()), max_pixels=LIMIT)
    width, height = upright.size
    spots = {
        "left": (10, height // 2),
        "right": (width - 10, height // 2),
        "top": (width // 2, 10),
        "bottom": (width // 2, height - 10),
    }
    red, _, blue = upright.getpixel(spots[red_side])
    assert red > 150 > 100 > blue


def test_damaged_exif_does_not_cost_the_picture():
    assert images.decode(encode(photo(), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"), max_pixels=LIMIT).mode == "RGB"


@pytest.mark.parametrize("mode", ["CMYK", "L", "1", "P", "RGBA", "LA"])
def test_every_color_mode_becomes_rgb(mode):
    format = "JPEG" if mode in ("CMYK", "L") else "PNG"
    picture = images.decode(encode(photo().convert(mode), format), max_pixels=LIMIT)
    assert picture.mode == "RGB"
    if mode in ("CMYK", "P", "RGBA"):
        red, _, blue = picture.getpixel((20, 100))
        assert red > 150 > 100 > blue


def test_transparency_is_laid_over_white():
    clear = encode(Image.new("RGBA", (64, 64), (0, 0, 0, 0)), "PNG")
    assert images.decode(clear, max_pixels=LIMIT).getpixel((5, 5)) == (255, 255, 255)


def test_a_16_bit_grey_picture_keeps_its_brightness():
    grey = Image.fromarray(np.full((64, 64), 0x8000, np.uint16))
    for format in ("PNG", "TIFF"):
        value = images.decode(encode(grey, format), max_pixels=LIMIT).getpixel((5, 5))[0]
        assert value in (127, 128)


@pytest.mark.parametrize(
    ("size", "expected"), [((500, 375), (341, 256)), ((100, 200), (256, 512)), ((4000, 3000), (341, 256))]
)
def test_a_prepared_image_has_a_short_side_of_256_and_full_color_resolution(size, expected):
    prepared = images.prepare(encode(photo(*size)), max_pixels=20_000_000, short_side=256)
    with Image.open(io.BytesIO(prepared)) as image:
        assert image.size == expected
        assert (image.format, image.mode) == ("JPEG", "RGB")
        assert [(h, v) for _, h, v, _ in image.layer] == [(1, 1)] * 3


def test_the_center_view_is_the_middle_of_the_picture():
    view = images.center_view(photo(640, 256), 224)
    assert view.shape == (224, 224, 3)
    assert view[:, :100, 0].mean() > 150 and view[:, -100:, 2].mean() > 150
