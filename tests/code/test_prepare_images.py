"""breeds.data.images: which files become pictures, which are refused and with what reason."""

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from breeds.data import images, jpeg, shards
from breeds.data.images import Rejected
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


def prepare(data: bytes) -> bytes:
    return images.prepare(data, max_pixels=20_000_000, short_side=256)


@pytest.mark.parametrize(
    ("size", "options", "expected"),
    [
        ((900, 600), {}, (384, 256)),
        ((4000, 3000), {}, (341, 256)),
        ((500, 375), {"format": "PNG"}, (341, 256)),
        ((100, 200), {"format": "PNG"}, (256, 512)),
    ],
)
def test_a_prepared_copy_has_a_short_side_of_256_and_full_color_resolution(size, options, expected):
    prepared = prepare(encode(photo(*size), **options))
    with Image.open(io.BytesIO(prepared)) as image:
        assert image.size == expected
        assert (image.format, image.mode) == ("JPEG", "RGB")
        assert [(h, v) for _, h, v, _ in image.layer] == [(1, 1)] * 3


@pytest.mark.parametrize("size", [(500, 375), (511, 900), (100, 200)])
@pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 1}, {"subsampling": 2}, {"progressive": True}])
def test_an_ordinary_jpeg_of_less_than_twice_the_size_stays_as_it_is(size, options):
    data = encode(photo(*size), **options)
    assert prepare(data) is data


def test_a_jpeg_that_says_where_it_was_taken_or_is_very_large_is_made_anew():
    exif = Image.Exif()
    exif[0x8825] = {2: (48.0, 8.0, 0.0)}
    located = encode(photo(), exif=exif.tobytes())
    heavy = encode(photo(500, 500), quality=100, subsampling=0)
    assert b"Exif" in located and b"Exif" not in prepare(located)
    assert len(prepare(heavy)) < images.MAX_KEPT_BYTES < len(heavy)


def test_without_simplejpeg_every_image_is_made_anew(monkeypatch):
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    with Image.open(io.BytesIO(prepare(encode(photo(500, 375))))) as image:
        assert image.size == (341, 256)


def test_a_copy_is_the_same_to_the_byte_with_and_without_simplejpeg(monkeypatch):
    large = encode(photo(1600, 1200))
    copy = prepare(large)
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    assert prepare(large) == copy


def damaged() -> list[bytes]:
    """A JPEG cut at, or with one byte changed at, many places."""
    data, chance = encode(photo(400, 300)), np.random.default_rng(0)
    cut = [data[:position] for position in chance.integers(1, len(data), 30)]
    return cut + [
        data[:position] + bytes([value]) + data[position + 1 :]
        for position, value in zip(chance.integers(2, len(data), 120), chance.integers(0, 256, 120), strict=True)
    ]


def test_a_damaged_jpeg_gets_the_verdict_that_pillow_gives(monkeypatch):
    def verdict(data: bytes) -> str:
        try:
            prepare(data)
        except Rejected as reason:
            return str(reason)
        return "good"

    files = damaged()
    fast = [verdict(data) for data in files]
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    assert fast == [verdict(data) for data in files]
    assert 30 <= sum(reason != "good" for reason in fast) < len(fast)


def test_a_jpeg_that_stays_decodes_whole_for_its_readers():
    for data in damaged():
        try:
            stays = prepare(data) is data
        except Rejected:
            continue
        assert not stays or jpeg.decode(data, 1) is not None


def test_the_center_view_is_the_whole_central_square():
    picture = photo(640, 256)
    view = images.center_view(picture, 256)
    assert np.array_equal(view, np.asarray(picture)[:, 192:448])
    assert images.view_size(224) == 256


def test_a_model_from_before_still_sees_the_crop_it_was_trained_on():
    picture = photo(640, 256)
    crop = images.center_view(picture, 224, resize=256)
    assert np.array_equal(crop, np.asarray(picture)[16:240, 208:432])
    stored = encode(picture)
    assert np.array_equal(
        images.view(stored, 224, 256, max_pixels=LIMIT), images.view(stored, 256, max_pixels=LIMIT)[16:240, 16:240]
    )


ROTATED = Image.Exif()
ROTATED[0x0112] = 6

FILES = {
    "wide": encode(photo(500, 375)),
    "tall": encode(photo(301, 640)),
    "short side as wanted": encode(photo(256, 300)),
    "smaller than the view": encode(photo(90, 70)),
    "no chroma subsampling": encode(photo(), subsampling=0),
    "progressive": encode(photo(), progressive=True),
    "grey": encode(photo().convert("L")),
    "camera-sized": encode(photo(1600, 1200)),
    "to be turned": encode(photo(), exif=ROTATED.tobytes()),
    "CMYK": encode(photo().convert("CMYK")),
    "PNG": encode(photo(), "PNG"),
}


@pytest.mark.parametrize("name", FILES)
def test_the_view_of_a_file_is_the_one_that_embedding_cuts(name):
    expected = images.center_view(images.decode(FILES[name], max_pixels=10**7, shrink_to=256), 256)
    view = images.view(FILES[name], 256, max_pixels=10**7)
    assert view.shape == (256, 256, 3)
    assert view.dtype == np.uint8
    assert np.abs(view.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_a_reader_sees_pillows_pixels_to_within_one_whatever_the_chroma(subsampling):
    data = encode(photo(500, 333), subsampling=subsampling)
    assert_pillows_pixels(data)


def test_a_reader_sees_pillows_pixels_of_real_photos():
    archive = Path(__file__).parents[3] / "shared/data/dogImages.zip"
    if not archive.exists():
        pytest.skip("the real photos are not here")
    with zipfile.ZipFile(archive) as zipped:
        for name in [name for name in zipped.namelist() if name.endswith(".jpg")][::200]:
            assert_pillows_pixels(prepare(zipped.read(name)))


def test_a_reader_gets_at_most_the_size_it_asks_for():
    assert shards.pixels(encode(photo(500, 375))).shape == (256, 341, 3)
    assert shards.pixels(encode(photo(100, 80))).shape == (80, 100, 3)
    assert shards.decode(encode(photo(500, 375).convert("L"))).mode == "RGB"


def assert_pillows_pixels(data: bytes) -> None:
    expected = np.asarray(images.resize_short_side(images.decode(data, max_pixels=LIMIT, shrink_to=256), 256))
    found = images.picture(data, 256, max_pixels=LIMIT)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_without_its_libraries_the_view_is_pillows(monkeypatch):
    expected = images.center_view(images.decode(FILES["wide"], max_pixels=LIMIT), 256)
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    assert np.array_equal(images.view(FILES["wide"], 256, max_pixels=LIMIT), expected)


def test_a_truncated_jpeg_has_no_view_and_too_many_pixels_are_told_apart():
    with pytest.raises(Rejected, match="truncated"):
        images.view(FILES["wide"][:5000], 256, max_pixels=LIMIT)
    with pytest.raises(images.TooLarge):
        images.view(FILES["wide"], 256, max_pixels=1000)
