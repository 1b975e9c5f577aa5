"""What a function gets for an HTTP request, and what its answer becomes: payload format 2.0.

Source: https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads
"""

import base64
import json
import re
import time
from urllib.parse import parse_qsl

from werkzeug.wrappers import Request, Response

from sagelocal.core.context import Context
from sagelocal.core.json import Json, read
from sagelocal.services.awslambda.documents import UrlConfig

TEXT_TYPES = ("application/json", "application/javascript", "application/xml")
SECRET_HEADERS = ("authorization", "x-amz-security-token")  # of a signature: the caller's, not the function's
OWN_HEADERS = ("connection", "content-length", "transfer-encoding")  # they belong to this connection
HEADER_NAME = re.compile("[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def event(
    context: Context, config: UrlConfig, request: Request, path: str, request_id: str, caller: Json | None
) -> Json:
    """The event. `path`: below the URL, from "/", as it was written; `caller`: who signed."""
    now = time.time()
    domain = request.host
    headers = {name.lower(): value for name, value in request.headers.items()}
    if config["AuthType"] == "AWS_IAM":
        headers = {name: value for name, value in headers.items() if name not in SECRET_HEADERS}
    cookies = [cookie.strip() for cookie in headers.pop("cookie", "").split(";") if cookie.strip()]
    query: dict[str, str] = {}
    for name, value in parse_qsl(request.query_string.decode("latin-1"), keep_blank_values=True):
        query[name] = f"{query[name]},{value}" if name in query else value
    made: Json = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": request.query_string.decode("latin-1"),
        "headers": headers,
        "requestContext": {
            "accountId": context.account if caller else "anonymous",
            "apiId": config["_Id"],
            "domainName": domain,
            "domainPrefix": config["_Id"],
            "http": {
                "method": request.method,
                "path": path,
                "protocol": request.environ.get("SERVER_PROTOCOL", "HTTP/1.1"),
                "sourceIp": request.remote_addr or "127.0.0.1",
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": request_id,
            "routeKey": "$default",
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "timeEpoch": int(now * 1000),
        },
        "isBase64Encoded": False,
    }
    if cookies:
        made["cookies"] = cookies
    if query:
        made["queryStringParameters"] = query
    if caller:
        made["requestContext"]["authorizer"] = {"iam": caller}
    return made | _body(request)


def response(payload: str) -> Response:
    """The response for a function's answer (JSON text): one with a statusCode says all, any other is a body itself."""
    try:
        answer = read(payload)
    except ValueError:
        return failed()
    if not isinstance(answer, dict) or "statusCode" not in answer:
        return Response(payload, 200, content_type="application/json")
    try:
        return _said(answer)
    except (TypeError, ValueError, AttributeError):
        return failed()


def failed() -> Response:
    """The response for a function that failed, timed out, or answered nothing that makes sense."""
    return Response("Internal Server Error", 502, content_type="text/plain")


def _said(answer: Json) -> Response:
    status = int(answer["statusCode"])
    if not 100 <= status <= 599:
        raise ValueError(status)
    body = answer.get("body")
    text = "" if body is None else body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    data = base64.b64decode(text, validate=True) if answer.get("isBase64Encoded") else text.encode()
    made = Response(data, status, content_type="application/json")
    for name, value in (answer.get("headers") or {}).items():
        if not HEADER_NAME.fullmatch(name):
            raise ValueError(name)
        if name.lower() not in OWN_HEADERS:
            made.headers[name] = str(value).lower() if isinstance(value, bool) else str(value)
    for cookie in answer.get("cookies") or []:
        made.headers.add("Set-Cookie", cookie)
    return made


def _body(request: Request) -> Json:
    data = request.get_data()
    if not data:
        return {}
    kind = request.mimetype
    if kind.startswith("text/") or kind in TEXT_TYPES or kind.endswith(("+json", "+xml")):
        try:
            return {"body": data.decode(), "isBase64Encoded": False}
        except UnicodeDecodeError:
            pass
    return {"body": base64.b64encode(data).decode(), "isBase64Encoded": True}
