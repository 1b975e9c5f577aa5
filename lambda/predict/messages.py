"""What comes in and what goes out, directly or over HTTP.

A direct event is `{"url": …}` or `{"image": base64}`, with `top_k` if wanted. A function URL and API Gateway (payload
versions 1 and 2) carry the same JSON in `body`, base64-encoded or not; their answers take the proxy shape.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from errors import InvalidRequest, PredictError

MOST_BREEDS = 5
_FIELDS = ("url", "image", "top_k")


@dataclass(frozen=True)
class Request:
    """Exactly one of `url` and `image` is set. `top_k`: how many breeds to answer."""

    url: str | None
    image: bytes | None
    top_k: int


def read_request(event: Any) -> Request:
    """Raises InvalidRequest."""
    content = _body(event) if over_http(event) else event
    if not isinstance(content, Mapping):
        raise InvalidRequest('The request is not a JSON object. Send {"url": "https://…"} or {"image": "<base64>"}.')
    if unknown := sorted(str(name) for name in content if name not in _FIELDS):
        raise InvalidRequest(f"Unknown field {unknown[0][:40]!r}. The known ones are {', '.join(_FIELDS)}.")
    url, image = content.get("url"), content.get("image")
    if (url is None) == (image is None):
        raise InvalidRequest("Send exactly one of url and image.")
    if url is not None and not isinstance(url, str):
        raise InvalidRequest("url is not text. Send a full https:// address.")
    return Request(url, None if image is None else _decoded(image), _top_k(content.get("top_k")))


def over_http(event: Any) -> bool:
    return isinstance(event, Mapping) and "requestContext" in event


def success(event: Any, answer: dict[str, Any]) -> dict[str, Any]:
    return _reply(event, 200, answer)


def failure(event: Any, error: PredictError) -> dict[str, Any]:
    headers = {"retry-after": str(error.retry_after)} if error.retry_after is not None else {}
    return _reply(event, error.status, {"error": {"code": error.code, "message": str(error)}}, headers)


def _reply(
    event: Any, status: int, content: dict[str, Any], more_headers: dict[str, str] | None = None
) -> dict[str, Any]:
    if not over_http(event):
        return {"statusCode": status, **content}
    headers = {"content-type": "application/json", "cache-control": "no-store", **(more_headers or {})}
    return {"statusCode": status, "headers": headers, "body": json.dumps(content), "isBase64Encoded": False}


def _body(event: Mapping[str, Any]) -> Any:
    method = event.get("httpMethod") or event.get("requestContext", {}).get("http", {}).get("method", "POST")
    if method != "POST":
        raise InvalidRequest("Use POST with a JSON body.")
    body = event.get("body") or ""
    try:
        return json.loads(base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body)
    except (ValueError, TypeError, RecursionError):
        raise InvalidRequest('The body is not JSON. Send {"url": "https://…"} or {"image": "<base64>"}.') from None


def _decoded(image: Any) -> bytes:
    if not isinstance(image, str):
        raise InvalidRequest("image is not text. Send the picture's bytes as base64.")
    try:
        data = base64.b64decode("".join(image.split()), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(
            "image is not base64. Send the picture's bytes as base64, without a data: prefix."
        ) from None
    if not data:
        raise InvalidRequest("image is empty. Send the picture's bytes as base64.")
    return data


def _top_k(raw: Any) -> int:
    if raw is None:
        return MOST_BREEDS
    if isinstance(raw, bool) or not isinstance(raw, int) or not 1 <= raw <= MOST_BREEDS:
        raise InvalidRequest(f"top_k must be a whole number from 1 to {MOST_BREEDS}.")
    return raw
