"""How large a request's body may be: known from its first line and headers, so that none is read that will be refused.

Sources: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html,
https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html,
https://docs.aws.amazon.com/general/latest/gr/sagemaker.html. Where AWS names no limit of the request itself, the limit
of what is in it (1 MiB of definition, events or log lines) has room to be escaped.
"""

import io
import re
from dataclasses import dataclass
from typing import Any

from werkzeug.wrappers import Request

from sagelocal.core import registry
from sagelocal.core.errors import AwsError
from sagelocal.gateway.exchange import FUNCTION_URL, OWN_PAGE, S3, Exchange
from sagelocal.services.s3 import forms

MIB = 1 << 20
NATIVE = 6 * MIB
FOREIGN = 32 * MIB  # moto's services: an image layer's part is the largest
OWN_PAGES = 64 << 10
S3_OBJECT, S3_DOCUMENT = 5 << 30, 8 * MIB
ENDPOINT = 25 * MIB
INVOKE, INVOKE_LATER = 6 * MIB, 1 * MIB
LAMBDA_CODE = 69_905_067  # 50 MiB of zip in base64
LAMBDA_OTHER = 1 * MIB


@dataclass(frozen=True)
class Limit:
    """The most bytes of a body, and AWS's error for more."""

    most: int
    code: str = "RequestEntityTooLargeException"
    message: str = "Request must be smaller than {most} bytes."
    status: int = 413

    def refusal(self) -> AwsError:
        return AwsError(self.code, self.message.format(most=self.most), self.status)


def bound_body(exchange: Exchange) -> None:
    """Refuse a body that says that it is too large; see to it that one that does not say ends in time."""
    request, limit = exchange.request, of(exchange.service, exchange.request)
    stated = request.headers.get("x-amz-decoded-content-length") if limit.most == S3_OBJECT else None
    length = request.content_length if stated is None else _decimal(stated)
    if length is not None and length > limit.most:
        raise limit.refusal()
    request.max_form_memory_size = request.max_form_parts = limit.most  # a form is a body like others
    if request.content_length is None:
        environ = request.environ
        environ["wsgi.input"] = io.BufferedReader(Counted(environ["wsgi.input"], limit), 1 << 16)


def _decimal(text: str) -> int:
    """Raises AwsError for what is no number of bytes."""
    if not re.fullmatch("[0-9]{1,18}", text):
        raise AwsError("InvalidArgument", "x-amz-decoded-content-length must be a number of bytes.", 400)
    return int(text)


def of(service: str, request: Request) -> Limit:
    """The limit of a request to a service (see Exchange)."""
    if service == S3:
        return _of_s3(request)
    if service == OWN_PAGE:
        return Limit(OWN_PAGES)
    if service == FUNCTION_URL:
        return Limit(INVOKE, message="Request Entity Too Large")
    if service == "lambda":
        return _of_lambda(request)
    if service == "sagemaker-runtime":
        return Limit(ENDPOINT, "ValidationError", "The body has more than {most} bytes.", 400)
    return Limit(NATIVE if service in registry.SERVICES else FOREIGN)


def _of_s3(request: Request) -> Limit:
    _, _, key = request.path.removeprefix("/").partition("/")
    if forms.is_form(request) or (request.method == "PUT" and key and not {"tagging", "acl"} & set(request.args)):
        return Limit(S3_OBJECT, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.", 400)
    return Limit(S3_DOCUMENT, "MaxMessageLengthExceeded", "Your request was too large.", 400)


def _of_lambda(request: Request) -> Limit:
    if request.path.endswith(("/invocations", "/invoke-async")):
        later = request.headers.get("X-Amz-Invocation-Type") == "Event"
        said = "Request must be smaller than {most} bytes for the InvokeFunction operation"
        return Limit(INVOKE_LATER if later else INVOKE, "RequestTooLargeException", said)
    brings_code = re.fullmatch(r"/[0-9-]+/functions(/|/[^/]+/code/?)?", request.path)
    name = "UpdateFunctionCode" if request.method == "PUT" else "CreateFunction"
    said = f"Request must be smaller than {{most}} bytes for the {name} operation"
    return Limit(LAMBDA_CODE, message=said) if brings_code else Limit(LAMBDA_OTHER)


class Counted(io.RawIOBase):
    """A body that does not say its length, as long as it is no longer than the limit."""

    def __init__(self, source: Any, limit: Limit):
        self._source, self._limit, self._left = source, limit, limit.most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count: int = self._source.readinto1(buffer)
        self._left -= count
        if self._left < 0:
            raise self._limit.refusal()
        return count

    def readall(self) -> bytes:
        return b"".join(iter(lambda: self.read(1 << 18) or b"", b""))
