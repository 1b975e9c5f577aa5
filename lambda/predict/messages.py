"""What comes in and what goes out, directly or over HTTP.

A direct event is `{"url": …}` or `{"image": base64}`, with `top_k` if wanted. A function URL and API Gateway (payload
versions 1 and 2) carry the same JSON in `body`, base64-encoded or not, or a picture's bytes under an `image/…` content
type with `top_k` in the query; their answers take the proxy shape.

Only POST: with GET a URL would stand in access logs, and a URL of this function inside one would make it call itself.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from errors import InvalidRequest, PredictError, UnsupportedMediaType

MOST_BREEDS = 5
_FIELDS = ("url", "image", "top_k")
# The last is what curl -d says unless told otherwise.
_JSON_TYPES = ("", "application/json", "text/plain", "application/x-www-form-urlencoded")


@dataclass(frozen=True)
class Request:
    """Exactly one of `url` and `image` is set. `top_k`: how many breeds to answer."""

    url: str | None
    image: bytes | None
    top_k: int


def read_request(event: Any) -> Request:
    """Raises InvalidRequest, UnsupportedMediaType."""
    if over_http(event) and _posted_type(event).startswith("image/"):
        return Request(None, _picture_in_body(event), _top_k_in_query(event))
    content = _json_in_body(event) if over_http(event) else event
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
    content: dict[str, Any] = {"code": error.code, "message": str(error)}
    if error.retry_after is not None:
        content["retry_after_seconds"] = error.retry_after
    return _reply(event, error.status, {"error": content}, headers)


def _reply(
    event: Any, status: int, content: dict[str, Any], more_headers: dict[str, str] | None = None
) -> dict[str, Any]:
    if not over_http(event):
        return {"statusCode": status, **content}
    headers = {"content-type": "application/json", "cache-control": "no-store", **(more_headers or {})}
    return {"statusCode": status, "headers": headers, "body": json.dumps(content), "isBase64Encoded": False}


def _posted_type(event: Mapping[str, Any]) -> str:
    """The body's media type, lower case; raises InvalidRequest for another method than POST."""
    context = event.get("requestContext")
    over_v2 = context.get("http") if isinstance(context, Mapping) else None
    method = event.get("httpMethod") or (over_v2.get("method") if isinstance(over_v2, Mapping) else None) or "POST"
    if method != "POST":
        raise InvalidRequest("Use POST with a JSON body, or with an image and its content type.")
    headers = event.get("headers")
    pairs = headers.items() if isinstance(headers, Mapping) else ()
    found = [str(value) for name, value in pairs if str(name).lower() == "content-type"]
    return found[0].partition(";")[0].strip().lower() if found else ""


def _json_in_body(event: Mapping[str, Any]) -> Any:
    media_type = _posted_type(event)
    if media_type not in _JSON_TYPES and not media_type.endswith("+json"):
        raise UnsupportedMediaType("The body is neither JSON nor an image. Send one with its own content type.")
    body = event.get("body") or ""
    try:
        return json.loads(base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body)
    except (ValueError, TypeError, RecursionError):
        raise InvalidRequest('The body is not JSON. Send {"url": "https://…"} or {"image": "<base64>"}.') from None


def _picture_in_body(event: Mapping[str, Any]) -> bytes:
    if not event.get("isBase64Encoded"):
        raise InvalidRequest("The image did not arrive as bytes. Add its type to the API's binary media types.")
    return _decoded(event.get("body") or "")


def _top_k_in_query(event: Mapping[str, Any]) -> int:
    query = event.get("queryStringParameters")
    text = query.get("top_k") if isinstance(query, Mapping) else None
    return _top_k(int(text) if isinstance(text, str) and re.fullmatch("[0-9]{1,3}", text) else text)


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
