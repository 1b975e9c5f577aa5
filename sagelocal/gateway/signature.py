"""What a request's signature says: which service it is for, and whose it is. Signatures themselves are not checked."""

import re

from werkzeug.wrappers import Request

SERVICE_BY_SIGNING_NAME = {"monitoring": "cloudwatch", "servicequotas": "service-quotas"}
UNSIGNED = "s3"  # a request without a signature is a presigned or public S3 request


def access_key_of(request: Request) -> str:
    """The access key id that a request is signed with, "" for one without a signature. Presigned URLs of S3 may have
    the older signature, version 2, which boto3 still makes where no other is asked for."""
    header = request.headers.get("Authorization", "")
    signed = re.search(r"Credential=([^/]+)/", header) or re.match(r"AWS ([^:]+):", header)
    if signed:
        return signed[1]
    return request.args.get("X-Amz-Credential", "").partition("/")[0] or request.args.get("AWSAccessKeyId", "")


def service_of(request: Request) -> str:
    """boto3's name of the service a request is for, from the credential scope of its signature."""
    signed = re.search(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/aws4_request", request.headers.get("Authorization", ""))
    if signed:
        name = signed[1]
    else:
        scope = request.args.get("X-Amz-Credential", "").split("/")
        name = scope[3] if len(scope) == 5 else UNSIGNED
    if name == "sagemaker" and "X-Amz-Target" not in request.headers:
        return "sagemaker-runtime"
    return SERVICE_BY_SIGNING_NAME.get(name, name)
