"""What a picture costs is told before it is decoded, by function and container alike, and it costs no more."""

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from breeds.data import images
from PIL import Image

from contract import pictures

ROOT = Path(__file__).resolve().parents[2]
MOST_MEMORY = 330 << 20  # bytes of growth; twice what the limit lets a decoded picture have, and a little

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int = 8, colour: int = 2, *, interlace: int = 0, before: bytes = b"") -> bytes:
    """A black PNG. Interlaced, its seven passes have a few more filter bytes than lines."""
    row = 1 + (width * depth * CHANNELS[colour] + 7) // 8
    squeezed = zlib.compressobj(1)
    packed = b"".join(squeezed.compress(b"\0" * row) for _ in range(height + (height if interlace else 0)))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    data = chunk(b"IDAT", packed + squeezed.flush())
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + data + chunk(b"IEND", b"")


def animated(frames: int) -> bytes:
    first = struct.pack(">IIIIIHHBB", 0, 100, 100, 0, 0, 1, 1, 0, 0)
    return chunk(b"acTL", struct.pack(">II", frames, 0)) + chunk(b"fcTL", first)


def saved(kind: str, size: tuple[int, int] = (64, 48), mode: str = "RGB", frames: int = 1, **options) -> bytes:
    buffer = io.BytesIO()
    made = [Image.new(mode, size, number % 2 * 0xFFFFFF if mode == "RGB" else number % 2) for number in range(frames)]
    more = {"save_all": True, "append_images": made[1:]} if frames > 1 else {}
    made[0].save(buffer, kind, **more, **options)
    return buffer.getvalue()


def resized(jpeg: bytes, width: int, height: int) -> bytes:
    """A small JPEG whose frame header says another size."""
    at = next(jpeg.index(marker) for marker in (b"\xff\xc0", b"\xff\xc2") if marker in jpeg) + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


def rgba16_tiff(side: int) -> bytes:
    """One strip of nothing: four channels of 16 bits, never reached."""
    tags = [(256, 4, side), (257, 4, side), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 8), (278, 4, side)]
    tags += [(279, 4, side * side * 2)]
    fields = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + fields + b"\0" * 4


REFUSED: dict[str, Callable[[], bytes]] = {
    "49 megapixels of RGBA, 16 bits": lambda: png(7000, 7000, 16, 6),
    "49 megapixels of RGBA, interlaced": lambda: png(7000, 7000, 8, 6, interlace=1),
    "49 megapixels of RGB": lambda: png(7000, 7000),
    "49 megapixels of RGB, 16 bits": lambda: png(7000, 7000, 16),
    "49 megapixels of palette": lambda: png(7000, 7000, 8, 3, before=chunk(b"PLTE", b"\0\0\0")),
    "49 megapixels of grey with alpha": lambda: png(7000, 7000, 8, 4),
    "49 megapixels of two colours": lambda: png(7000, 7000, 1, 0),
    "an animation of 4,000 frames": lambda: png(100, 100, before=animated(4000)),
    "49 megapixels of JPEG in four colours": lambda: resized(saved("JPEG", mode="CMYK"), 7000, 7000),
    "49 megapixels of progressive JPEG in full colour": lambda: resized(
        saved("JPEG", progressive=True, subsampling=0), 7000, 7000
    ),
}
REFUSED_BY_THE_CONTAINER: dict[str, Callable[[], bytes]] = {
    "an animated GIF of large frames": lambda: saved("GIF", (2000, 2000), "P", frames=12),
    "an animated WebP": lambda: saved("WEBP", (1500, 1500), frames=9),
    "a TIFF of many pages": lambda: saved("TIFF", (2000, 2000), "L", frames=12),
    "a large WebP": lambda: saved("WEBP", (5000, 5000)),
    "a large TIFF": lambda: saved("TIFF", (7000, 7000), "L", compression="tiff_lzw"),
    "a TIFF of 16 bits and a bomb's size": lambda: rgba16_tiff(7000),
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_the_header_tells_that_a_picture_is_too_much_and_the_container_names_the_limit(make):
    data = make()
    assert pictures.header(data).decoded > pictures.most_decoded()
    with pytest.raises(images.TooLarge, match="150,000,000"):
        images.view(data, 224, max_pixels=pictures.MAX_PIXELS)


@pytest.mark.parametrize("make", REFUSED_BY_THE_CONTAINER.values(), ids=REFUSED_BY_THE_CONTAINER)
def test_frames_and_pages_count_where_only_the_container_reads_the_format(make):
    with pytest.raises(images.TooLarge, match="150,000,000"):
        images.view(make(), 224, max_pixels=pictures.MAX_PIXELS)


def test_a_thousand_frames_of_nothing_are_not_counted_to_their_end():
    many = saved("GIF", (32, 32), frames=images.MAX_FRAMES + 100)
    assert images.view(many, 32, max_pixels=pictures.MAX_PIXELS).shape == (32, 32, 3)


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_of_a_few_frames_the_first_is_used(kind, frames):
    view = images.view(saved(kind, (300, 300), "L" if kind == "TIFF" else "RGB", frames), 32, max_pixels=10**6)
    assert view.shape == (32, 32, 3)


CAMERAS = {
    "12 megapixels": (4000, 3000, {}),
    "24 megapixels": (6000, 4000, {"subsampling": 0}),
    "50 megapixels": (8192, 6100, {}),
    "24 megapixels, progressive": (6000, 4000, {"progressive": True, "subsampling": 0}),
    "48 megapixels, progressive": (8000, 6000, {"progressive": True}),
}


@pytest.mark.parametrize("camera", CAMERAS)
def test_the_photo_of_a_camera_is_within_the_limit(camera):
    width, height, options = CAMERAS[camera]
    header = pictures.header(resized(saved("JPEG", **options), width, height))
    assert (header.width, header.height) == (width, height)
    assert 3 * width * height <= header.decoded <= pictures.most_decoded()


def test_a_sequential_jpeg_of_several_scans_costs_as_much_as_a_progressive_one():
    one_by_one = saved("JPEG", subsampling=0)
    at = one_by_one.index(b"\xff\xda")
    one_by_one = one_by_one[: at + 4] + b"\1" + one_by_one[at + 5 :]
    assert pictures.header(one_by_one).decoded == 2 * pictures.header(saved("JPEG", subsampling=0)).decoded


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I", "F", "I;16"])
def test_rows_converted_a_few_at_a_time_are_those_of_the_whole_picture(mode, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70, 4), dtype=np.uint8)
    if mode in ("I", "F", "I;16"):
        picture = Image.fromarray(pixels[..., 0].astype(np.float32) * 200).convert("I" if mode != "F" else "F")
        picture = picture.convert(mode)
    else:
        picture = Image.fromarray(pixels, "RGBA").convert(mode)
    whole = images._to_rgb(picture)
    monkeypatch.setattr(images, "PIXELS_AT_ONCE", 7 * 70)
    assert np.array_equal(np.asarray(images._to_rgb(picture)), np.asarray(whole))


EXPENSIVE: dict[str, Callable[[], bytes]] = {
    "RGBA": lambda: png(6100, 6100, 8, 6),
    "grey of 16 bits": lambda: png(6100, 6100, 16, 0),
    "a palette with transparency": lambda: png(
        6100, 6100, 8, 3, before=chunk(b"PLTE", b"\0\0\0") + chunk(b"tRNS", b"\0")
    ),
    "RGB that lies on its side": lambda: png(
        6100, 6100, before=chunk(b"eXIf", b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0")
    ),
    "a progressive JPEG": lambda: saved("JPEG", (8000, 6000), progressive=True),
    "a JPEG in four colours": lambda: saved("JPEG", (6000, 6000), "CMYK"),
    "a float TIFF": lambda: saved("TIFF", (6000, 6000), "F", compression="tiff_lzw"),
    "WebP": lambda: saved("WEBP", (4300, 4300), method=0),
}
CHILD = """
import sys
import torch.nn.functional
from breeds.data import images
def memory(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name)) << 10
data, before = open(sys.argv[1], "rb").read(), memory("VmRSS")
print(images.view(data, 224, max_pixels=50_000_000).shape, memory("VmHWM") - before)
"""


def growth(data: bytes, folder: Path) -> int:
    """Bytes that a process grows by at most while it makes a view of a picture."""
    (folder / "picture").write_bytes(data)
    command = [sys.executable, "-c", CHILD, str(folder / "picture")]
    paths = {"PYTHONPATH": f"{ROOT / 'code'}:{ROOT}", "PATH": "/usr/bin:/bin"}
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=paths).stdout
    assert said.startswith("(224, 224, 3) ")
    return int(said.split()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the memory")
def test_the_most_expensive_picture_that_is_allowed_costs_twice_the_limit_at_most(tmp_path):
    assert growth(EXPENSIVE["RGBA"](), tmp_path) < MOST_MEMORY


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the memory")
@pytest.mark.parametrize("name", EXPENSIVE)
def test_no_kind_of_picture_costs_more(tmp_path, name):
    assert growth(EXPENSIVE[name](), tmp_path) < MOST_MEMORY
