"""S3: which function answers which request. Path-style addressing only."""

from collections.abc import Callable
from urllib.parse import unquote

from werkzeug.wrappers import Request, Response

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError, InternalFailure
from sagelocal.services.iam import enforcement
from sagelocal.services.s3 import buckets, forms, listing, multipart, permissions, reading, tree, writing, xml

# Query parameters name the operation; those not named below (x-id, prefix, X-Amz-Signature …) leave it as it is.
# Source: the request URIs of https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
UNSUPPORTED = (
    *("accelerate", "analytics", "attributes", "intelligent-tiering", "inventory", "legal-hold", "metrics"),
    "object-lock",
    *("policyStatus", "replication", "requestPayment", "restore", "retention", "select", "torrent", "metadataTable"),
)

OBJECT: dict[tuple[str, str], Callable[..., Response]] = {
    ("GET", ""): reading.get,
    ("HEAD", ""): reading.get,
    ("PUT", ""): writing.put,
    ("PUT", "copy"): writing.copy,
    ("DELETE", ""): writing.delete,
    ("GET", "tagging"): writing.get_tags,
    ("PUT", "tagging"): writing.put_tags,
    ("DELETE", "tagging"): writing.delete_tags,
    ("POST", "uploads"): multipart.create,
    ("PUT", "uploadId"): multipart.upload_part,
    ("PUT", "uploadId copy"): multipart.copy_part,
    ("POST", "uploadId"): multipart.complete,
    ("DELETE", "uploadId"): multipart.abort,
    ("GET", "uploadId"): multipart.list_parts,
    ("GET", "acl"): lambda context, bucket, key, request: buckets.acl(context, bucket, request),
    ("PUT", "acl"): lambda context, bucket, key, request: Response(),
}

BUCKET: dict[tuple[str, str], Callable[..., Response]] = {
    ("GET", ""): listing.list_v1,
    ("GET", "list-type"): listing.list_v2,
    ("GET", "versions"): listing.list_versions,
    ("GET", "uploads"): multipart.list_uploads,
    ("GET", "location"): buckets.location,
    ("GET", "acl"): buckets.acl,
    ("PUT", "acl"): lambda context, bucket, request: Response(),
    ("HEAD", ""): buckets.head,
    ("PUT", ""): buckets.create,
    ("DELETE", ""): buckets.delete,
    ("POST", "delete"): writing.delete_many,
}

SUBRESOURCES = {
    *(name for _, text in (*OBJECT, *BUCKET) for name in text.split() if name != "copy"),
    *buckets.UNSET,
    *permissions.SETTINGS,
    *UNSUPPORTED,
}
SETTING = {"GET": buckets.get_setting, "PUT": buckets.put_setting, "DELETE": buckets.delete_setting}


def handle(context: Context, request: Request) -> Response:
    """The answer to any S3 request. Raises AwsError."""
    try:
        return _marked(_route(context, request))
    except tree.NoSuchKey as problem:
        raise _hidden(context, problem) from None


def error(problem: AwsError, request: Request) -> Response:
    """The response for an error: S3's XML. S3 has its own name for what is the server's fault."""
    code = "InternalError" if isinstance(problem, InternalFailure) else problem.code
    return _marked(xml.error(AwsError(code, problem.message, problem.status), _path(request)))


def _marked(response: Response) -> Response:
    response.headers["x-amz-request-id"] = "embedded"
    response.headers["Server"] = "embedded-s3"
    return response


def _path(request: Request) -> str:
    """The path as it was written."""
    path: str = request.environ.get("RAW_URI", request.path)
    return path.partition("?")[0]


def _route(context: Context, request: Request) -> Response:
    try:
        bucket, _, key = unquote(_path(request).removeprefix("/"), errors="strict").partition("/")
    except UnicodeDecodeError:
        raise AwsError("InvalidURI", "Couldn't parse the specified URI: it is not UTF-8.", 400) from None
    _check_one_subresource(request)
    enforcement.authorize(context, "s3", permissions.needed(bucket, key, request))
    if not bucket and request.method == "GET":
        return buckets.list_all(context, request)
    query = request.args
    unsupported = [name for name in UNSUPPORTED if name in query]
    if unsupported:
        raise _not_implemented(f"?{unsupported[0]}")
    if key:
        special = next((name for name in ("uploads", "uploadId", "tagging", "acl") if name in query), "")
        if request.method == "PUT" and "x-amz-copy-source" in request.headers:
            special = f"{special} copy".strip()
        answer = OBJECT.get((request.method, special))
        if answer:
            return answer(context, bucket, key, request)
    else:
        setting = next((name for name in buckets.UNSET if name in query), None)
        if setting and request.method in SETTING:
            return SETTING[request.method](context, bucket, setting, request)
        names = ("list-type", "versions", "uploads", "location", "acl", "delete")
        special = next((name for name in names if name in query), "")
        if not special and forms.is_form(request):
            return forms.post(context, bucket, request)
        answer = BUCKET.get((request.method, special))
        if answer:
            return answer(context, bucket, request)
    raise _not_implemented(f"{request.method} {'?' + special if special else ''}".strip())


def _check_one_subresource(request: Request) -> None:
    """Raise InvalidArgument for a request that names several operations: another one might be done than was allowed."""
    named = sorted(SUBRESOURCES & set(request.args))
    if len(named) > 1:
        raise AwsError("InvalidArgument", f"Conflicting query string parameters: {', '.join(named)}", 400)


def _hidden(context: Context, problem: tree.NoSuchKey) -> AwsError:
    """Who may not list a bucket is not told that an object is missing."""
    try:
        enforcement.authorize(context, "s3", [permissions.listing(problem.bucket, problem.key)])
    except AwsError as refusal:
        return refusal
    return problem


def _not_implemented(what: str) -> AwsError:
    return AwsError("NotImplemented", f"The embedded S3 does not implement this request ({what}).", 501)
