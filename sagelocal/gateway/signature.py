"""What a request's signature says: whose it is and what it is good for. Nothing of it is checked here.

Sources: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-authentication-methods.html and, for version 2,
https://docs.aws.amazon.com/AmazonS3/latest/API/RESTAuthentication.html
"""

import re
from dataclasses import dataclass, field
from typing import Literal

from werkzeug.wrappers import Request

from sagelocal.core.sigv4 import ALGORITHM, TERMINATOR, Scope

SERVICE_BY_SIGNING_NAME = {"monitoring": "cloudwatch", "servicequotas": "service-quotas"}
PRESIGNED = ("s3", "sts")  # the services whose requests may be signed in the query
HEADER_PARTS = {"Credential", "SignedHeaders", "Signature"}


class Malformed(Exception):
    """A signature that cannot be read; the message says why. `service`: of its scope, as far as it has one."""

    def __init__(self, message: str, service: str = "", in_query: bool = False):
        super().__init__(message)
        self.service, self.in_query = service, in_query


@dataclass(frozen=True)
class Claim:
    """`moment`: when it was signed, as it was written; for a presigned URL of version 2 the second it expires at.
    `expires`: seconds that a presigned URL of version 4 lives."""

    version: Literal[2, 4]
    access_key: str
    signature: str
    token: str
    moment: str
    scope: Scope = field(default=Scope("", "", "s3"))
    signed_headers: tuple[str, ...] = ()
    in_query: bool = False
    expires: str = ""


def claim_of(request: Request) -> Claim | None:
    """None for a request without a signature. Raises Malformed."""
    header, query = request.headers.get("Authorization", ""), request.args
    in_query = "X-Amz-Algorithm" in query or "X-Amz-Credential" in query or "X-Amz-Signature" in query
    in_old_query = "AWSAccessKeyId" in query and "Signature" in query
    if header and (in_query or in_old_query):
        raise Malformed("Only one auth mechanism allowed: a query parameter or the Authorization header.", "s3", True)
    if header.startswith("AWS "):
        return _old_header(request, header)
    if header:
        return _header(request, header)
    if in_query:
        return _query(request)
    return _old_query(request) if in_old_query else None


def service_of(scope_service: str, request: Request) -> str:
    """boto3's name of the service of a scope."""
    if scope_service == "sagemaker" and "X-Amz-Target" not in request.headers:
        return "sagemaker-runtime"
    return SERVICE_BY_SIGNING_NAME.get(scope_service, scope_service)


def guessed_service(request: Request) -> str:
    """A service that speaks the protocol of a request without a signature, so that the refusal can be read."""
    if "X-Amz-Target" in request.headers:
        return "sagemaker"
    if request.path.startswith("/service/"):
        return "cloudwatch"
    if re.match(r"/\d{4}-\d\d-\d\d/", request.path):
        return "lambda"
    if re.fullmatch(r"/endpoints/[^/]+/(async-)?invocations(-response-stream)?", request.path):
        return "sagemaker-runtime"
    form = request.mimetype == "application/x-www-form-urlencoded" and request.path == "/"
    return "sts" if form or "Action" in request.args else "s3"


def _header(request: Request, header: str) -> Claim:
    given = [part.strip().partition("=")[::2] for part in header.partition(" ")[2].split(",")]
    parts = dict(given)
    access_key, scope = credential(parts.get("Credential", ""))
    if not header.startswith(f"{ALGORITHM} "):
        raise Malformed(f"The algorithm must be {ALGORITHM}.", scope.service)
    wrong = [name for name in ("SignedHeaders", "Signature") if not parts.get(name)]
    if wrong or len(given) != len(HEADER_PARTS) or set(parts) != HEADER_PARTS:
        missing = wrong[0] if wrong else "each"
        raise Malformed(f"Authorization header requires '{missing}' parameter, once.", scope.service)
    return Claim(
        version=4,
        access_key=access_key,
        signature=parts["Signature"],
        token=request.headers.get("X-Amz-Security-Token", ""),
        moment=request.headers.get("X-Amz-Date") or request.headers.get("Date", ""),
        scope=scope,
        signed_headers=tuple(parts["SignedHeaders"].lower().split(";")),
    )


def _query(request: Request) -> Claim:
    query = request.args
    access_key, scope = credential(query.get("X-Amz-Credential", ""), in_query=True)
    for name in ("Algorithm", "Date", "Expires", "SignedHeaders", "Signature"):
        if len(query.getlist(f"X-Amz-{name}")) != 1:
            raise Malformed(f"Query-string authentication requires one X-Amz-{name} parameter.", scope.service, True)
    if query["X-Amz-Algorithm"] != ALGORITHM:
        raise Malformed(f"X-Amz-Algorithm only supports {ALGORITHM}.", scope.service, True)
    return Claim(
        version=4,
        access_key=access_key,
        signature=query["X-Amz-Signature"],
        token=query.get("X-Amz-Security-Token") or request.headers.get("X-Amz-Security-Token", ""),
        moment=query["X-Amz-Date"],
        scope=scope,
        signed_headers=tuple(query["X-Amz-SignedHeaders"].lower().split(";")),
        in_query=True,
        expires=query["X-Amz-Expires"],
    )


def credential(text: str, in_query: bool = False) -> tuple[str, Scope]:
    found = re.fullmatch(rf"([^/]+)/(\d{{8}})/([a-z0-9-]+)/([a-z0-9._-]+)/{TERMINATOR}", text, re.ASCII)
    if found is None:
        wanted = f"<your-akid>/YYYYMMDD/REGION/SERVICE/{TERMINATOR}"
        service = text.split("/")[3] if text.count("/") > 2 else ""
        raise Malformed(f"The Credential is malformed; expecting {wanted}.", service, in_query)
    return found[1], Scope(*found.groups()[1:])


def _old_header(request: Request, header: str) -> Claim:
    access_key, _, signature = header.removeprefix("AWS ").partition(":")
    if not (access_key and signature):
        raise Malformed("AWS authorization header is invalid. Expected AwsAccessKeyId:signature", "s3")
    moment = request.headers.get("X-Amz-Date") or request.headers.get("Date", "")
    return Claim(2, access_key, signature, request.headers.get("X-Amz-Security-Token", ""), moment)


def _old_query(request: Request) -> Claim:
    query = request.args
    token = query.get("x-amz-security-token") or request.headers.get("X-Amz-Security-Token", "")
    expires = query.get("Expires", "")
    return Claim(2, query["AWSAccessKeyId"], query["Signature"], token, expires, in_query=True)
