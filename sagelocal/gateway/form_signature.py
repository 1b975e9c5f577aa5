"""Who signed the policy of an upload by form. What the policy says, S3 itself checks (services/s3/forms.py).

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-authentication-HTTPPOST.html
"""

from sagelocal.core import sigv4
from sagelocal.gateway import sigv2
from sagelocal.gateway.exchange import Exchange
from sagelocal.gateway.refusals import Why, refused
from sagelocal.gateway.signature import Claim, Malformed, credential
from sagelocal.gateway.verification import check_scope, compare, owner_of_key
from sagelocal.services.iam.sessions import Identity
from sagelocal.services.s3 import forms


def identify(exchange: Exchange) -> Identity:
    """Raises AwsError; the form is read up to its file."""
    fields = forms.form_of(exchange.request).fields
    if "policy" not in fields:
        raise refused(Why.UNSIGNED, exchange.service)
    claim = _claim(exchange, fields)
    identity = owner_of_key(exchange, claim)
    if claim.version == 2:
        computed = sigv2.sign(identity.secret_key, fields["policy"])
    else:
        check_scope(exchange, claim)
        computed = sigv4.signature(identity.secret_key, claim.scope, fields["policy"])
    compare(computed, claim, exchange.service)
    return identity


def _claim(exchange: Exchange, fields: dict[str, str]) -> Claim:
    token = fields.get("x-amz-security-token", "")
    if "awsaccesskeyid" in fields:
        return Claim(2, fields["awsaccesskeyid"], fields.get("signature", ""), token, "")
    try:
        access_key, scope = credential(fields.get("x-amz-credential", ""))
    except Malformed as problem:
        raise refused(Why.UNREADABLE_QUERY, exchange.service, str(problem)) from None
    if fields.get("x-amz-algorithm") != sigv4.ALGORITHM:
        raise refused(Why.UNREADABLE_QUERY, exchange.service, f"x-amz-algorithm must be {sigv4.ALGORITHM}.")
    return Claim(4, access_key, fields.get("x-amz-signature", ""), token, fields.get("x-amz-date", ""), scope)
