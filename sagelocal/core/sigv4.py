"""AWS's Signature Version 4: what both who signs and who verifies must compute.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hashlib
import hmac
import re
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from posixpath import normpath
from urllib.parse import quote, unquote_to_bytes, urlsplit

from sagelocal.core.errors import AwsError
from sagelocal.core.secret import Keys

ALGORITHM = "AWS4-HMAC-SHA256"
TERMINATOR = "aws4_request"
MOMENT = "%Y%m%dT%H%M%SZ"
NOTHING = hashlib.sha256(b"").hexdigest()
CHUNKS = "sagelocal.chunks"  # where a WSGI environ has the ChunkSignatures of its body

# What S3 answers to a signature that is not the one it computes.
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your key and signing method."
)


@dataclass(frozen=True)
class Scope:
    """What a signature is good for: one day (YYYYMMDD), region and service."""

    day: str
    region: str
    service: str

    def __str__(self) -> str:
        return f"{self.day}/{self.region}/{self.service}/{TERMINATOR}"


@lru_cache(1024)
def signing_key(secret: str, scope: Scope) -> bytes:
    key = b"AWS4" + secret.encode()
    for part in (scope.day, scope.region, scope.service, TERMINATOR):
        key = hmac.digest(key, part.encode(), hashlib.sha256)
    return key


def signature(secret: str, scope: Scope, text: str) -> str:
    """The signature of a string to sign, in hexadecimal."""
    return hmac.digest(signing_key(secret, scope), text.encode(), hashlib.sha256).hex()


def string_to_sign(scope: Scope, moment: str, canonical: str) -> str:
    """`canonical` as HTTP transports it: each character is a byte."""
    digest = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
    return f"{ALGORITHM}\n{moment}\n{scope}\n{digest}"


def canonical_request(method: str, path: str, query: str, headers: Sequence[tuple[str, str]], payload_hash: str) -> str:
    """`path` and `query` in their canonical forms; `headers`: those that are signed, names in lower case, sorted."""
    lines = "".join(f"{name}:{re.sub(' +', ' ', value.strip())}\n" for name, value in headers)
    names = ";".join(name for name, _ in headers)
    return f"{method}\n{path}\n{query}\n{lines}\n{names}\n{payload_hash}"


def canonical_path(path: str, service: str) -> str:
    """S3 signs a path as it is, encoded once; all others sign it without dots and doubled slashes, encoded once more
    than it was sent."""
    if service == "s3":
        return quote(unquote_to_bytes(path.encode("latin-1")), safe="/~") or "/"
    plain = normpath("/" + path.lstrip("/"))
    return quote((plain + "/" * (path.endswith("/") and plain != "/")).encode("latin-1"), safe="/~")


def canonical_query(query: str, without: Collection[str] = ()) -> str:
    """Encoded again, sorted. A "+" is a plus here, as clients sign it."""
    pairs = (part.partition("=") for part in query.split("&") if part)
    encoded = sorted((_encoded(name), _encoded(value)) for name, _, value in pairs)
    return "&".join(f"{name}={value}" for name, value in encoded if name not in without)


def _encoded(text: str) -> str:
    return quote(unquote_to_bytes(text.encode("latin-1")), safe="~")


def signed_headers(method: str, url: str, region: str, service: str, keys: Keys) -> dict[str, str]:
    """The headers of a request without a body."""
    moment = time.strftime(MOMENT, time.gmtime())
    scope = Scope(moment[:8], region, service)
    address = urlsplit(url)
    headers = [("host", address.netloc), ("x-amz-date", moment)]
    path, query = canonical_path(address.path, scope.service), canonical_query(address.query)
    canonical = canonical_request(method, path, query, headers, NOTHING)
    made = signature(keys.secret_key, scope, string_to_sign(scope, moment, canonical))
    credential = f"{ALGORITHM} Credential={keys.access_key}/{scope}, SignedHeaders=host;x-amz-date, Signature={made}"
    return {"Host": address.netloc, "X-Amz-Date": moment, "Authorization": credential}


class ChunkSignatures:
    """Checks the chunks of a body that is signed chunk by chunk, each over the signature before it.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
    """

    def __init__(self, secret: str, scope: Scope, moment: str, seed: str, trailer: bool):
        self._secret, self._scope, self._moment = secret, scope, moment
        self._last = seed
        self.trailer = trailer  # whether the last chunk is followed by a signed trailer

    def check_chunk(self, claimed: str, digest: str) -> None:
        """`digest`: SHA-256 of the chunk's data, in hexadecimal. Raises SignatureDoesNotMatch."""
        self._check(claimed, f"{ALGORITHM}-PAYLOAD", f"{NOTHING}\n{digest}")

    def check_trailer(self, claimed: str, trailers: dict[str, str]) -> None:
        """Raises SignatureDoesNotMatch."""
        text = "".join(f"{name}:{value}\n" for name, value in trailers.items())
        self._check(claimed, f"{ALGORITHM}-TRAILER", hashlib.sha256(text.encode("latin-1")).hexdigest())

    def _check(self, claimed: str, algorithm: str, end: str) -> None:
        text = f"{algorithm}\n{self._moment}\n{self._scope}\n{self._last}\n{end}"
        self._last = signature(self._secret, self._scope, text)
        if not hmac.compare_digest(self._last.encode(), claimed.encode("latin-1", "replace")):
            raise AwsError("SignatureDoesNotMatch", MISMATCH, 403)
