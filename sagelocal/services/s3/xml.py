"""S3's XML: answers from plain dictionaries, and requests back into them."""

from datetime import UTC, datetime
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from werkzeug.wrappers import Response

from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


def answer(root: str, content: Json, status: int = 200) -> Response:
    """`content` as XML: a list repeats its element, None leaves it out."""
    return Response(document(root, content), status, content_type="application/xml")


def document(root: str, content: Json) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="{NAMESPACE}">{_elements(content)}</{root}>'


def error(problem: AwsError, resource: str) -> Response:
    content = {"Code": problem.code, "Message": problem.message, "Resource": resource, "RequestId": "embedded"}
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{_elements(content)}</Error>'
    return Response(text, problem.status, content_type="application/xml")


def time_text(seconds: float) -> str:
    """Seconds since 1970 as S3 writes times in XML."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def parse(data: bytes) -> ElementTree.Element:
    """A request's document, namespaces taken off. Raises MalformedXML."""
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as problem:
        raise AwsError("MalformedXML", f"The XML you provided was not well-formed: {problem}", 400) from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def _elements(content: Json) -> str:
    parts = []
    for name, value in content.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                parts.append(f"<{name}>{_elements(item)}</{name}>")
            elif isinstance(item, bool):
                parts.append(f"<{name}>{str(item).lower()}</{name}>")
            elif item is not None:
                parts.append(f"<{name}>{escape(_printable(str(item)), {chr(13): '&#13;'})}</{name}>")
    return "".join(parts)


def _printable(text: str) -> str:
    """XML 1.0 has no way to write most control characters; clients ask for encoding-type=url to get keys with them."""
    return "".join(c if c >= " " or c in "\t\n\r" else "�" for c in text)
