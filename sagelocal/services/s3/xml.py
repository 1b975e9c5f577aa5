"""S3's XML: answers from plain dictionaries, and requests back into them."""

import math
from collections.abc import Callable
from datetime import date, timedelta
from functools import lru_cache
from xml.etree import ElementTree

from werkzeug.wrappers import Response

from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json

SECOND = [f"{number:02d}" for number in range(60)]
MILLISECOND = [f"{number:03d}" for number in range(1000)]
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class Written(bytes):
    """Elements that are XML already, tags and all."""


def replacing(replacements: dict[int, bytes]) -> Callable[[list[bytes]], list[bytes]]:
    """A function that replaces bytes of texts in UTF-8. It takes all texts of a page at once, in a few steps for all.
    replacements: first that of the byte which the others' have in them."""
    plain = bytes(set(range(256)) - replacements.keys())

    def replaced(texts: list[bytes]) -> list[bytes]:
        joined = b"\xff".join(texts)  # a byte that UTF-8 does not have
        special = joined.translate(None, plain)
        for byte, replacement in replacements.items():
            if byte in special:
                joined = joined.replace(bytes((byte,)), replacement)
        return joined.split(b"\xff") if texts else []

    return replaced


# XML 1.0 has no way to write most control characters; clients ask for encoding-type=url to get keys with them.
UNPRINTABLE = dict.fromkeys(set(range(32)) - set(b"\t\n\r"), "\ufffd".encode())
escaped = replacing({ord("&"): b"&amp;", ord("<"): b"&lt;", ord(">"): b"&gt;", ord("\r"): b"&#13;"} | UNPRINTABLE)


def answer(root: str, content: Json, status: int = 200) -> Response:
    """`content` as XML: a list repeats its element, None leaves it out, and what is Written stands as it is."""
    return Response(_document(root, content, f' xmlns="{NAMESPACE}"'), status, content_type="application/xml")


def document(root: str, content: Json) -> str:
    return _document(root, content, f' xmlns="{NAMESPACE}"').decode()


def error(problem: AwsError, resource: str) -> Response:
    content = {"Code": problem.code, "Message": problem.message, "Resource": resource, "RequestId": "embedded"}
    return Response(_document("Error", content), problem.status, content_type="application/xml")


def time_text(seconds: float) -> str:
    """Seconds since 1970 as S3 writes times in XML."""
    fraction, whole = math.modf(seconds)
    more, microseconds = divmod(round(fraction * 1e6), 1_000_000)
    minutes, second = divmod(int(whole) + more, 60)
    return f"{_date(minutes // 1440)}T{_clock(minutes % 1440)}:{SECOND[second]}.{MILLISECOND[microseconds // 1000]}Z"


@lru_cache(4096)
def _date(days: int) -> str:
    return (date(1970, 1, 1) + timedelta(days)).isoformat()


@lru_cache(1440)
def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def parse(data: bytes) -> ElementTree.Element:
    """A request's document, namespaces taken off. Raises MalformedXML."""
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as problem:
        raise AwsError("MalformedXML", f"The XML you provided was not well-formed: {problem}", 400) from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def _document(root: str, content: Json, attributes: str = "") -> bytes:
    start = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}{attributes}>'
    return b"%b%b</%b>" % (start.encode(), _elements(content), root.encode())


def _elements(content: Json) -> bytes:
    parts: list[bytes] = []
    for name, value in content.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Written):
                parts.append(item)
            elif item is not None:
                tag = name.encode()
                parts.append(b"<%b>%b</%b>" % (tag, _text(item), tag))
    return b"".join(parts)


def _text(item: object) -> bytes:
    """What is between two tags."""
    if isinstance(item, dict):
        return _elements(item)
    text = str(item).lower() if isinstance(item, bool) else str(item)
    return escaped([text.encode()])[0]
