"""What a page of keys looks like as XML: any key is read back from it as it was."""

import random
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote
from xml.etree import ElementTree

import pytest
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.services.s3 import listing, metadata, objects, tree, xml

PIECES = [
    "a",
    "b",
    "/",
    "&",
    "&amp;",
    "<",
    ">",
    '"',
    "'",
    "%",
    "%26",
    " ",
    "+",
    "=",
    "~",
    "\n",
    "\t",
    "\r",
    "\0",
    "\x1f",
]
PIECES += ["\x7f", "\x85", "é", "日本", "\U0001f415", "]]>"]
OPERATIONS = {"": listing.list_v1, "list-type": listing.list_v2, "versions": listing.list_versions}


@pytest.fixture
def keys(context: Context) -> list[str]:
    draw = random.Random(1)
    made = sorted({"".join(draw.choices(PIECES, k=draw.randint(1, 6))) for _ in range(150)})
    objects.create_bucket(context, "keys")
    for key in made:
        objects.write_bytes(context, f"s3://keys/{key}", b"1")
    return made


def answer(context: Context, operation: str, **query: str) -> bytes:
    request = Request(EnvironBuilder(query_string={operation: "", **query}).get_environ())
    return OPERATIONS[operation](context, "keys", request).get_data()


def texts(document: bytes, path: str) -> list[str]:
    names = path.replace("/", f"/{{{xml.NAMESPACE}}}")
    return [found.text or "" for found in ElementTree.fromstring(document).iterfind(f"{{{xml.NAMESPACE}}}{names}")]


def printable(key: str) -> str:
    """XML 1.0 cannot say control characters."""
    return "".join("\ufffd" if character < " " and character not in "\t\n\r" else character for character in key)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_key_is_read_back_as_it_was(context: Context, keys: list[str], operation: str):
    path = "Version/Key" if operation == "versions" else "Contents/Key"
    assert texts(answer(context, operation), path) == [printable(key) for key in keys]
    shown = texts(answer(context, operation, **{"encoding-type": "url"}), path)
    assert [unquote(text) for text in shown] == keys
    assert shown == [quote(key, safe="/") for key in keys]


@pytest.mark.parametrize("delimiter", ["/", "&", "<", "%", " ", "é", "\r"])
def test_every_common_prefix_and_what_was_asked_are_read_back_as_they_were(
    context: Context, keys: list[str], delimiter: str
):
    prefix = "a"
    under = [key for key in keys if key.startswith(prefix)]
    cut = [key.find(delimiter, len(prefix)) for key in under]
    expected = sorted({key[: at + len(delimiter)] for key, at in zip(under, cut, strict=True) if at >= 0})
    for operation in OPERATIONS:
        page = answer(context, operation, prefix=prefix, delimiter=delimiter)
        assert texts(page, "CommonPrefixes/Prefix") == [printable(text) for text in expected]
        assert (texts(page, "Prefix"), texts(page, "Delimiter")) == ([prefix], [delimiter])
        page = answer(context, operation, prefix=prefix, delimiter=delimiter, **{"encoding-type": "url"})
        assert texts(page, "CommonPrefixes/Prefix") == [quote(text, safe="/") for text in expected]
        assert texts(page, "Delimiter") == [quote(delimiter, safe="/")]


def test_an_object_is_shown_with_its_time_etag_checksums_and_size(context: Context):
    objects.create_bucket(context, "keys")
    record = metadata.new_record(etag="0cc175b9c0f1b6a831c399e269772661")
    record |= {"modified": 1_700_000_000.9996, "checksums": {"crc32": "x", "sha256": "y"}}
    with tree.unfinished(context) as file:
        file.write_bytes(b"a")
        tree.commit(context, "keys", "a&b", file, record)
    common = (
        "<Key>a&amp;b</Key><LastModified>2023-11-14T22:13:20.999Z</LastModified>"
        '<ETag>"0cc175b9c0f1b6a831c399e269772661"</ETag><ChecksumAlgorithm>CRC32</ChecksumAlgorithm>'
        "<ChecksumAlgorithm>SHA256</ChecksumAlgorithm><Size>1</Size><StorageClass>STANDARD</StorageClass>"
    )
    assert f"<Contents>{common}</Contents>".encode() in answer(context, "list-type")
    version = f"<Version>{common}<VersionId>null</VersionId><IsLatest>true</IsLatest></Version>"
    assert version.encode() in answer(context, "versions")


def test_a_page_of_no_keys_is_empty_and_the_last(context: Context, keys: list[str]):
    for operation in OPERATIONS:
        page = answer(context, operation, **{"max-keys": "0"})
        assert texts(page, "IsTruncated") == ["false"]
        assert not texts(page, "Contents/Key") + texts(page, "Version/Key")


@pytest.mark.parametrize("count", ["-1", "", "x", "1.5", "9" * 5000])
def test_a_number_of_keys_that_is_none_is_refused(context: Context, count: str):
    objects.create_bucket(context, "keys")
    for operation in OPERATIONS:
        with pytest.raises(AwsError, match="max-keys"):
            answer(context, operation, **{"max-keys": count})


def test_times_are_shown_in_milliseconds_cut_off():
    draw = random.Random(2)
    edges = [-86_400.0, -1.5, -0.0004, 0.0, 1.9999996, 86_399.9999996, 1_709_251_199.9999999, 1e9, 4e9]
    for seconds in edges + [draw.uniform(-1e9, 4e9) for _ in range(2000)]:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
        assert xml.time_text(seconds) == moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
