"""How AWS refuses a request whose signature does not prove who sent it: another code in each family of protocols.

Sources: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html,
https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html,
https://docs.aws.amazon.com/sagemaker/latest/APIReference/CommonErrors.html
"""

from enum import Enum

from botocore.exceptions import UnknownServiceError

from sagelocal.core import service_models
from sagelocal.core.errors import AwsError
from sagelocal.core.sigv4 import MISMATCH

IN_XML = ("query", "ec2", "rest-xml")
NO_SUCH_TOKEN = "The security token included in the request is invalid."


class Why(Enum):
    """(code, status, message) of S3, then of services that answer XML, then of those that answer JSON."""

    UNSIGNED = (
        ("AccessDenied", 403, "Access Denied"),
        ("MissingAuthenticationToken", 403, "Request is missing Authentication Token"),
        ("MissingAuthenticationTokenException", 403, "Missing Authentication Token"),
    )
    UNREADABLE = (
        ("AuthorizationHeaderMalformed", 400, "The authorization header is malformed."),
        ("IncompleteSignature", 400, "The request signature does not conform to AWS standards."),
        ("IncompleteSignatureException", 400, "The request signature does not conform to AWS standards."),
    )
    UNREADABLE_QUERY = (
        ("AuthorizationQueryParametersError", 400, "Error parsing the X-Amz-Credential parameter."),
        ("IncompleteSignature", 400, "The request signature does not conform to AWS standards."),
        ("IncompleteSignatureException", 400, "The request signature does not conform to AWS standards."),
    )
    UNKNOWN_KEY = (
        ("InvalidAccessKeyId", 403, "The AWS Access Key Id you provided does not exist in our records."),
        ("InvalidClientTokenId", 403, NO_SUCH_TOKEN),
        ("UnrecognizedClientException", 400, NO_SUCH_TOKEN),
    )
    WRONG_TOKEN = (
        ("InvalidToken", 400, "The provided token is malformed or otherwise invalid."),
        ("InvalidClientTokenId", 403, NO_SUCH_TOKEN),
        ("UnrecognizedClientException", 400, NO_SUCH_TOKEN),
    )
    EXPIRED_TOKEN = (
        ("ExpiredToken", 400, "The provided token has expired."),
        ("ExpiredToken", 403, "The security token included in the request is expired"),
        ("ExpiredTokenException", 400, "The security token included in the request is expired"),
    )
    OTHER_SCOPE = (
        ("AuthorizationHeaderMalformed", 400, "The authorization header is malformed."),
        ("SignatureDoesNotMatch", 403, "Credential should be scoped to a valid region and the correct service."),
        ("InvalidSignatureException", 400, "Credential should be scoped to a valid region and the correct service."),
    )
    SKEWED = (
        ("RequestTimeTooSkewed", 403, "The difference between the request time and the current time is too large."),
        ("SignatureDoesNotMatch", 403, "Signature expired."),
        ("InvalidSignatureException", 400, "Signature expired."),
    )
    EXPIRED_URL = (
        ("AccessDenied", 403, "Request has expired"),
        ("SignatureDoesNotMatch", 403, "Signature expired."),
        ("InvalidSignatureException", 400, "Signature expired."),
    )
    HEADER_UNSIGNED = (
        ("AccessDenied", 403, "There were headers present in the request which were not signed"),
        ("SignatureDoesNotMatch", 403, "There were headers present in the request which were not signed"),
        ("InvalidSignatureException", 400, "There were headers present in the request which were not signed"),
    )
    MISMATCH = (
        ("SignatureDoesNotMatch", 403, MISMATCH),
        ("SignatureDoesNotMatch", 403, MISMATCH),
        ("InvalidSignatureException", 400, MISMATCH),
    )


def refused(why: Why, service: str, message: str = "") -> AwsError:
    """The error, in the words of a service (boto3's name of one); `message` in place of the usual one."""
    family, rest = _family(service)
    code, status, usual = why.value[family]
    return AwsError(code, message or usual, 403 if rest and why.value[1][1] == 403 else status)


def _family(service: str) -> tuple[int, bool]:
    """(place in Why's values, whether it is one of REST and JSON: those answer 403 where the others answer 400)."""
    if service == "s3":
        return 0, False
    try:
        metadata = service_models.service_model(service).metadata
    except UnknownServiceError:
        return 2, True
    if metadata["protocol"] in IN_XML or "awsQueryCompatible" in metadata:
        return 1, False
    return 2, metadata["protocol"] == "rest-json"
