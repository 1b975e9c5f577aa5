"""A function's zip as a stranger may have made it: refused in Lambda's words, and nothing of it stays behind."""

import io
import struct
import warnings
import zipfile

import pytest

from sagelocal.core.errors import AwsError
from sagelocal.services.awslambda import code


def packed(*names: str, compression: int = zipfile.ZIP_DEFLATED, content: str = "x = 1\n") -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", compression) as made, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's own, of names that come twice
        for name in names:
            made.writestr(name, "" if name.endswith("/") else content)
    return archive.getvalue()


def damaged(data: bytes, at: bytes, offset: int, value: bytes) -> bytes:
    position = data.index(at) + offset
    return data[:position] + value + data[position + len(value) :]


WHOLE = packed("app.py", content="abc" * 1000)
STRANGE = {
    "a file and a folder of one name": packed("a", "a/b"),
    "a folder and a file of one name": packed("a/b", "a"),
    "a file and an empty folder of one name": packed("a", "a/"),
    "a file that is a folder two levels up": packed("a/b/c/d", "a/b"),
    "a name of 300 bytes": packed("a" * 300),
    "a folder of 300 bytes": packed("a" * 300 + "/app.py"),
    "a name of 300 bytes in 100 letters": packed("犬" * 100),
    "a path of 5,000 bytes": packed("/".join(["a" * 99] * 50)),
    "no name": damaged(damaged(packed("a"), b"PK\1\2", 28, b"\0\0\1\0"), b"PK\3\4", 26, b"\0\0\1\0"),
    "a dot": packed("."),
    "a way out": packed("../app.py"),
    "a way out from inside": packed("a/../../app.py"),
    "an absolute name": packed("/app.py"),
    "no members": packed(),
    "nothing": b"",
    "no zip": b"PK\3\4" + b"\0" * 100,
    "half a zip": WHOLE[: len(WHOLE) // 2],
    "damaged data": damaged(WHOLE, b"app.py", 8, b"\xff\xff\xff\xff"),
    "damaged data, compressed by lzma": damaged(
        packed("app.py", compression=zipfile.ZIP_LZMA, content="abc" * 1000), b"app.py", 16, b"\xff" * 6
    ),
    "an unknown compression": damaged(WHOLE, b"PK\1\2", 10, struct.pack("<H", 99)),
    "a password": damaged(damaged(WHOLE, b"PK\1\2", 8, b"\1\0"), b"PK\3\4", 6, b"\1\0"),
    "more than is said": damaged(WHOLE, b"PK\1\2", 24, struct.pack("<I", 10)),
    "a bomb": damaged(WHOLE, b"PK\1\2", 24, struct.pack("<I", 260 << 20)),
}


@pytest.mark.parametrize("archive", STRANGE.values(), ids=STRANGE)
def test_a_strange_zip_is_an_invalid_parameter_and_leaves_nothing(context, archive):
    with pytest.raises(AwsError) as refused:
        code.unpack(context, "f", {"ZipFile": archive})
    assert (refused.value.code, refused.value.status) == ("InvalidParameterValueException", 400)
    assert not list(context.state_dir.glob("lambda/f/code/*"))


@pytest.mark.parametrize(
    "names", [("app.py",), ("a/", "a/b", "a/c/d"), ("app.py", "app.py"), ("a" * 255,), ("犬/犬.py",)]
)
def test_an_ordinary_zip_is_unpacked(context, names):
    unpacked = code.unpack(context, "f", {"ZipFile": packed(*names)})
    assert all((unpacked.directory / name).exists() for name in names)
