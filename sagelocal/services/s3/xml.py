"""S3's XML: answers from plain dictionaries, and requests back into them."""

import re
from datetime import UTC, datetime
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from werkzeug.wrappers import Response

from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json

UNPRINTABLE = re.compile(r"[^\t\n\r -\U0010ffff]")
ORDINARY = re.compile(r"[\w ./:%+=-]*")  # nothing to escape, as in nearly all keys of a page
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class Written(str):
    """Elements that are XML already, tags and all."""


def answer(root: str, content: Json, status: int = 200) -> Response:
    """`content` as XML: a list repeats its element, None leaves it out, and what is Written stands as it is."""
    return Response(document(root, content), status, content_type="application/xml")


def document(root: str, content: Json) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="{NAMESPACE}">{_elements(content)}</{root}>'


def error(problem: AwsError, resource: str) -> Response:
    content = {"Code": problem.code, "Message": problem.message, "Resource": resource, "RequestId": "embedded"}
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{_elements(content)}</Error>'
    return Response(text, problem.status, content_type="application/xml")


def time_text(seconds: float) -> str:
    """Seconds since 1970 as S3 writes times in XML."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def text(value: str) -> str:
    """A value between two tags. XML 1.0 has no way to write most control characters; clients ask for encoding-type=url
    to get keys with them."""
    return value if ORDINARY.fullmatch(value) else escape(UNPRINTABLE.sub("�", value), {"\r": "&#13;"})


def parse(data: bytes) -> ElementTree.Element:
    """A request's document, namespaces taken off. Raises MalformedXML."""
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as problem:  # also an encoding that is none
        raise AwsError("MalformedXML", f"The XML you provided was not well-formed: {problem}", 400) from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def _elements(content: Json) -> str:
    parts: list[str] = []
    for name, value in content.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Written):
                parts.append(item)
            elif isinstance(item, dict):
                parts.append(f"<{name}>{_elements(item)}</{name}>")
            elif isinstance(item, bool):
                parts.append(f"<{name}>{str(item).lower()}</{name}>")
            elif item is not None:
                parts.append(f"<{name}>{text(str(item))}</{name}>")
    return "".join(parts)
