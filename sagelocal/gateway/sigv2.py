"""S3's older signature, version 2, which boto3 still makes for presigned URLs where no other is asked for.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/RESTAuthentication.html
"""

import base64
import hashlib
import hmac
from urllib.parse import unquote

from werkzeug.wrappers import Request

from sagelocal.gateway.signature import Claim

# The query parameters that are signed.
SUBRESOURCES = {
    *("accelerate", "acl", "analytics", "cors", "defaultObjectAcl", "delete", "inventory", "lifecycle"),
    *("location", "logging", "metrics", "notification", "object-lock", "partNumber", "policy"),
    *("replication", "requestPayment", "restore", "select", "select-type", "storageClass", "tagging"),
    *("torrent", "uploadId", "uploads", "versionId", "versioning", "versions", "website"),
    *(f"response-{name}" for name in ("cache-control", "expires")),
    *(f"response-content-{name}" for name in ("disposition", "encoding", "language", "type")),
}


def signature(secret: str, claim: Claim, request: Request, path: str) -> str:
    """`path`: as it was written."""
    return sign(secret, _string_to_sign(claim, request, path))


def sign(secret: str, text: str) -> str:
    return base64.b64encode(hmac.digest(secret.encode(), text.encode("latin-1", "replace"), hashlib.sha1)).decode()


def _string_to_sign(claim: Claim, request: Request, path: str) -> str:
    """In a presigned URL the headers that were signed may stand in the query."""
    in_query = request.args.items() if claim.in_query else ()
    sent = {name.lower(): value for name, value in in_query if _may_be_a_header(name.lower())}
    sent |= {name.lower(): value.strip() for name, value in request.headers.items()}
    date = claim.moment if claim.in_query else "" if "x-amz-date" in sent else sent.get("date", "")
    lines = [request.method, sent.get("content-md5", ""), sent.get("content-type", ""), date]
    lines += [f"{name}:{sent[name]}" for name in sorted(sent) if name.startswith("x-amz-")]
    return "\n".join([*lines, _resource(request, path)])


def _may_be_a_header(name: str) -> bool:
    return name.startswith("x-amz-") or name in ("content-md5", "content-type")


def _resource(request: Request, path: str) -> str:
    pairs = [part.split("=", 1) for part in request.query_string.decode("latin-1").split("&")]
    signed = sorted((pair for pair in pairs if pair[0] in SUBRESOURCES), key=lambda pair: pair[0])
    query = "&".join("=".join([pair[0], *(unquote(value, "latin-1") for value in pair[1:])]) for pair in signed)
    bucket_only = path.count("/") == 1 and path != "/"
    return path + "/" * bucket_only + f"?{query}" * bool(query)
