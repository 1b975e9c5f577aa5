"""Requests to function URLs, whose names not every resolver knows: they are on this machine."""

import http.client
from urllib.parse import urlsplit

from tests.waiting import HANG


def ask(
    url: str, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """(status, headers, body) of one request."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=HANG)
    path = url.removeprefix(f"http://{parts.netloc}")
    connection.request(method, path, body, {"Host": parts.netloc, **(headers or {})})
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()
