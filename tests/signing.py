"""Raw HTTP requests that are signed as AWS's clients sign them: by botocore, with this process's keys or others."""

import os
from typing import Any

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


def keys() -> Credentials:
    """Those of the environment: every server of the tests has them as its owner's."""
    return Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])


def signed(
    method: str, url: str, service: str, body: bytes = b"", headers: dict[str, str] | None = None, by: Any = None
) -> dict[str, str]:
    """The headers to send, with those given. `by`: the credentials, where they are not `keys`."""
    request = AWSRequest(method, url, data=body, headers=headers or {})
    kind = S3SigV4Auth if service == "s3" else SigV4Auth
    kind(by or keys(), service, "us-east-1").add_auth(request)
    return dict(request.headers.items())
