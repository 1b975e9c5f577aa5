"""Who sent a request, proved by its signature.

Order and windows as documented: S3 allows clocks to differ by 15 minutes, the other services by 5.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html
"""

import hashlib
import hmac
import time
from calendar import timegm
from email.utils import parsedate_to_datetime

from sagelocal.core import sigv4
from sagelocal.core.errors import AwsError
from sagelocal.gateway import payload, sigv2
from sagelocal.gateway.exchange import Exchange
from sagelocal.gateway.refusals import Why, refused
from sagelocal.gateway.signature import Claim
from sagelocal.services.iam import sessions
from sagelocal.services.iam.sessions import Identity

SKEW = 300  # seconds
SKEW_OF_S3 = 900
LONGEST_URL = 7 * 24 * 3600  # seconds


def identify(exchange: Exchange, signing_name: str = "") -> Identity:
    """Who signed the request; its body is checked while it is read. Raises AwsError, in the words of the service.

    `signing_name`: the service that must stand in the signature's scope, where the service was not chosen by it.
    """
    claim, service = exchange.claim, exchange.service
    if claim is None:
        raise refused(Why.UNSIGNED, service)
    identity = owner_of_key(exchange, claim)
    if claim.version == 2 and (service != "s3" or signing_name):
        raise refused(Why.UNREADABLE, service)
    _check_time(exchange, claim)
    if claim.version == 2:
        compare(sigv2.signature(identity.secret_key, claim, exchange.request, exchange.raw_path), claim, service)
    else:
        check_scope(exchange, claim, signing_name)
        _check_version_4(exchange, claim, identity)
    return identity


def owner_of_key(exchange: Exchange, claim: Claim) -> Identity:
    """Whose the key is, if the token that goes with it was sent."""
    service = exchange.service
    try:
        identity = sessions.identity(exchange.context, claim.access_key)
    except sessions.InvalidClientTokenId:
        raise refused(Why.UNKNOWN_KEY, service) from None
    except sessions.ExpiredToken:
        raise refused(Why.EXPIRED_TOKEN, service) from None
    if identity.token and not claim.token:
        raise refused(Why.UNKNOWN_KEY, service)
    if not hmac.compare_digest(identity.token.encode(), claim.token.encode("utf-8", "replace")):
        raise refused(Why.WRONG_TOKEN, service)
    return identity


def check_scope(exchange: Exchange, claim: Claim, signing_name: str = "s3") -> None:
    region, scope, service = exchange.context.region, claim.scope, exchange.service
    if scope.region != region:
        what = f"the region '{scope.region}' is wrong; expecting '{region}'"
    elif signing_name and scope.service != signing_name:
        what = f"the service '{scope.service}' is wrong; expecting '{signing_name}'"
    elif not _moment(claim).startswith(scope.day):
        what = f"the date '{scope.day}' is not that of {claim.moment}"
    else:
        return
    usual = "The authorization header is malformed" if service == "s3" else "Credential should be scoped rightly"
    raise refused(Why.OTHER_SCOPE, service, f"{usual}; {what}.")


def _check_time(exchange: Exchange, claim: Claim) -> None:
    service, now = exchange.service, time.time()
    skew = SKEW_OF_S3 if service == "s3" else SKEW
    signed_at = _seconds(claim.moment)
    if claim.version == 2 and claim.in_query:
        if not _is_number(claim.moment, 18) or now > int(claim.moment):
            raise refused(Why.EXPIRED_URL, service)
    elif signed_at is None:
        if service == "s3":
            message = "AWS authentication requires a valid Date or x-amz-date header"
            raise AwsError("AccessDenied", message, 403)
        raise refused(Why.UNREADABLE, service, "Date must be in ISO-8601 'basic format'.")
    elif claim.in_query:
        _check_expires(service, claim.expires)
        if signed_at > now + skew:
            raise refused(Why.EXPIRED_URL, service, "Request is not yet valid" if service == "s3" else "")
        if now > signed_at + int(claim.expires):
            raise refused(Why.EXPIRED_URL, service)
    elif abs(now - signed_at) > skew:
        shown, at = time.strftime(sigv4.MOMENT, time.gmtime(now)), claim.moment
        early = f"Signature not yet current: {at} is still later than {shown} + {skew // 60} min."
        late = f"Signature expired: {at} is now earlier than {shown} - {skew // 60} min."
        raise refused(Why.SKEWED, service, "" if service == "s3" else early if signed_at > now else late)


def _check_expires(service: str, text: str) -> None:
    if not _is_number(text, 9):
        raise refused(Why.UNREADABLE_QUERY, service, "X-Amz-Expires should be a number")
    if int(text) > LONGEST_URL:
        message = f"X-Amz-Expires must be less than a week (in seconds); it must be at most {LONGEST_URL}"
        raise refused(Why.UNREADABLE_QUERY, service, message)


def _is_number(text: str, most_digits: int) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= most_digits


def _seconds(moment: str) -> float | None:
    """Of a time of version 4, or of a Date header."""
    try:
        return timegm(time.strptime(moment, sigv4.MOMENT))
    except ValueError:
        pass
    try:
        return parsedate_to_datetime(moment).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _moment(claim: Claim) -> str:
    """When a request of version 4 was signed, as the signature has it; "" where it does not say."""
    seconds = _seconds(claim.moment)
    return "" if seconds is None else time.strftime(sigv4.MOMENT, time.gmtime(seconds))


def _check_version_4(exchange: Exchange, claim: Claim, identity: Identity) -> None:
    request, service = exchange.request, exchange.service
    sent = {name.lower(): value for name, value in request.headers.items()}
    sent["host"] = sent.get("host", "").lower()  # as clients sign it, whatever they write
    names = claim.signed_headers
    if not {"host", *(name for name in sent if name.startswith("x-amz-"))} <= set(names):
        raise refused(Why.HEADER_UNSIGNED, service)
    if not set(names) <= set(sent) or list(names) != sorted(set(names)):
        raise refused(Why.MISMATCH, service)
    if service == "s3":
        stated = payload.stated_hash(request, claim.in_query)
    else:
        stated = hashlib.sha256(request.get_data()).hexdigest()
    canonical = sigv4.canonical_request(
        request.method,
        sigv4.canonical_path(exchange.raw_path, claim.scope.service),
        sigv4.canonical_query(request.query_string.decode("latin-1"), ("X-Amz-Signature",) if claim.in_query else ()),
        [(name, sent[name]) for name in names],
        stated,
    )
    moment = _moment(claim)
    text = sigv4.string_to_sign(claim.scope, moment, canonical)
    compare(sigv4.signature(identity.secret_key, claim.scope, text), claim, service)
    if service == "s3":
        payload.check_while_reading(request, stated, identity.secret_key, claim.scope, moment, claim.signature)


def compare(computed: str, claim: Claim, service: str) -> None:
    if not hmac.compare_digest(computed.encode(), claim.signature.encode("utf-8", "replace")):
        raise refused(Why.MISMATCH, service)
