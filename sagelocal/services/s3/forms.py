"""PostObject: an upload by an HTML form, as far as the policy in the form lets it.

The file is the last field, so that who sends it is known, and the policy checked, before it is read.
Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-UsingHTTPPOST.html
"""

import base64
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from werkzeug.exceptions import HTTPException
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData
from werkzeug.wrappers import Request, Response

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json, read
from sagelocal.services.iam import enforcement
from sagelocal.services.iam.policy import Call
from sagelocal.services.s3 import bodies, metadata, notifications, tree, xml
from sagelocal.services.s3.documents import ObjectRecord
from sagelocal.services.s3.permissions import object_arn

FORM = "sagelocal.form"  # where a WSGI environ has the Form of its body
MAX_FIELD_BYTES = 20 << 10  # of all fields before the file; S3's own limit
NOT_IN_POLICY = ("awsaccesskeyid", "signature", "x-amz-signature", "policy", "file")
UNSUPPORTED = ("tagging", "acl", *(f"{bodies.CHECKSUM}{name}" for name in bodies.KNOWN))


def is_form(request: Request) -> bool:
    """A query names another operation, for which a form's signature is not good."""
    one_name = request.path.strip("/") != "" and "/" not in request.path.strip("/")
    return request.method == "POST" and request.mimetype == "multipart/form-data" and one_name and not request.args


@dataclass
class Form:
    """The fields before the file, by name in lower case, and the file, which is read by `blocks`."""

    events: Iterator[Event]
    fields: dict[str, str] = field(default_factory=dict)
    filename: str = ""

    def blocks(self) -> Iterator[bytes]:
        for event in self.events:
            if not isinstance(event, Data):
                return
            yield event.data

    @property
    def key(self) -> str:
        return self.fields.get("key", "").replace("${filename}", self.filename)


def form_of(request: Request) -> Form:
    """The form in a request, read up to its file, once. Raises MalformedPOSTRequest and its like."""
    if FORM not in request.environ:
        request.environ[FORM] = _read(request)
    form: Form = request.environ[FORM]
    return form


def post(context: Context, bucket: str, request: Request) -> Response:
    form = form_of(request)
    tree.existing_bucket(context, bucket)
    if not form.key:
        raise AwsError("InvalidArgument", "Bucket POST must contain a field named 'key'.", 400)
    unsupported = [name for name in UNSUPPORTED if name in form.fields]
    if unsupported:
        raise AwsError("NotImplemented", f"This S3 takes no form with the field {unsupported[0]}.", 501)
    shortest, longest = check_policy(form, bucket)
    enforcement.authorize(context, "s3", [Call("s3:PutObject", object_arn(bucket, form.key))])
    etag = _store(context, bucket, form, shortest, longest)
    return _answer(context, bucket, form, etag)


def check_policy(form: Form, bucket: str) -> tuple[int, int]:
    """(shortest, longest) file that the form's policy allows. Raises AccessDenied for what it does not."""
    try:
        policy = read(base64.b64decode(form.fields["policy"], validate=True))
        expiration = datetime.fromisoformat(policy["expiration"])
        conditions = [_condition(item) for item in policy["conditions"]]
    except (ValueError, KeyError, TypeError):
        raise AwsError("InvalidPolicyDocument", "Invalid Policy: it is no policy of a form in base64.", 400) from None
    if expiration.replace(tzinfo=expiration.tzinfo or UTC) < datetime.now(UTC):
        raise _against("Policy expired.")
    given = {**form.fields, "key": form.key, "bucket": bucket}
    bounds, covered = (0, bodies.MAX_OBJECT), {"bucket"}
    for operator, name, wanted in conditions:
        if operator == "content-length-range":
            bounds = (int(name), int(wanted))
            continue
        value = given.get(name, "")
        covered.add(name)
        if not (value.startswith(wanted) if operator == "starts-with" else value == wanted):
            raise _against(f'Policy Condition failed: ["{operator}", "${name}", "{wanted}"]')
    covered |= {*NOT_IN_POLICY, *(name for name in form.fields if name.startswith("x-ignore-"))}
    extra = [name for name in form.fields if name not in covered]
    if extra:
        raise _against(f"Extra input fields: {extra[0]}")
    return bounds


def _condition(item: Any) -> tuple[str, str, str]:
    """(operator, field or shortest, value or longest). Raises ValueError and TypeError."""
    if isinstance(item, dict):
        ((name, value),) = item.items()
        return "eq", str(name).lower(), str(value)
    operator, name, value = item
    operator = str(operator).lower()
    if operator == "content-length-range":
        return operator, str(int(name)), str(int(value))
    if operator not in ("eq", "starts-with") or not name.startswith("$"):
        raise ValueError(operator)
    return operator, name[1:].lower(), str(value)


def _against(what: str) -> AwsError:
    return AwsError("AccessDenied", f"Invalid according to Policy: {what}", 403)


def _store(context: Context, bucket: str, form: Form, shortest: int, longest: int) -> str:
    digest, size = hashlib.md5(usedforsecurity=False), 0
    with tree.unfinished(context) as temporary:
        with temporary.open("wb") as file:
            for block in form.blocks():
                size += len(block)
                if size > longest:
                    raise AwsError("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size", 400)
                file.write(block)
                digest.update(block)
        if size < shortest:
            raise AwsError("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size", 400)
        with tree.changing(context):
            path = tree.commit(context, bucket, form.key, temporary, _record(form, digest.hexdigest()))
            notifications.object_created(context, bucket, form.key, path, digest.hexdigest(), "PostObject")
    return digest.hexdigest()


def _record(form: Form, etag: str) -> ObjectRecord:
    record = metadata.new_record(form.fields.get("content-type"), etag)
    record["modified"] = time.time()
    for name in metadata.KEPT_HEADERS:
        if name.lower() in form.fields:
            record["headers"][name] = form.fields[name.lower()]
    for name, value in form.fields.items():
        if name.startswith("x-amz-meta-"):
            record["user"][name.removeprefix("x-amz-meta-")] = value
    return record


def _answer(context: Context, bucket: str, form: Form, etag: str) -> Response:
    about: Json = {"Location": f"{context.url}/{bucket}/{form.key}", "Bucket": bucket, "Key": form.key}
    about["ETag"] = f'"{etag}"'
    redirect = form.fields.get("success_action_redirect", "")
    if redirect.startswith(("http://", "https://")):
        query = urlencode({"bucket": bucket, "key": form.key, "etag": about["ETag"]})
        headers = {"Location": f"{redirect}{'&' if '?' in redirect else '?'}{query}"}
        return Response(status=303, headers=headers)
    status = form.fields.get("success_action_status")
    if status == "201":
        return xml.answer("PostResponse", about, 201)
    return Response(status=200 if status == "200" else 204, headers={"ETag": about["ETag"]})


def _read(request: Request) -> Form:
    boundary = request.mimetype_params.get("boundary", "")
    if not boundary:
        raise _malformed("it has no boundary")
    events = _events(request, MultipartDecoder(boundary.encode(), max_form_memory_size=2 * bodies.BLOCK))
    form, name = Form(events), ""
    size = 0
    for event in events:
        if isinstance(event, File) or (isinstance(event, Field) and event.name.lower() == "file"):
            form.filename = event.filename.replace("\\", "/").rpartition("/")[2] if isinstance(event, File) else ""
            return form
        if isinstance(event, Field):
            name = event.name.lower()
            if name in form.fields:
                raise _malformed(f"the field {event.name} is there twice")
            form.fields[name] = ""
        elif isinstance(event, Data):
            size += len(event.data)
            if size > MAX_FIELD_BYTES:
                message = "Your POST request fields preceding the upload file were too large."
                raise AwsError("MaxPostPreDataLengthExceeded", message, 400)
            form.fields[name] += event.data.decode("utf-8", "replace")
    raise AwsError("InvalidArgument", "POST requires exactly one file upload per request.", 400)


def _events(request: Request, decoder: MultipartDecoder) -> Iterator[Event]:
    while True:
        try:
            event = decoder.next_event()
            if isinstance(event, Epilogue):
                return
            if isinstance(event, NeedData):
                decoder.receive_data(request.stream.read(bodies.BLOCK) or None)
                continue
        except (ValueError, HTTPException):
            raise _malformed("it is cut off, or no multipart/form-data") from None
        yield event


def _malformed(why: str) -> AwsError:
    message = f"The body of your POST request is not well-formed multipart/form-data: {why}."
    return AwsError("MalformedPOSTRequest", message, 400)
