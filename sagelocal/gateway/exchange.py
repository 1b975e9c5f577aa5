"""One request on its way through the chain."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from werkzeug.wrappers import Request

from sagelocal.core.context import Context

OWN_PAGE = "sagelocal"
FUNCTION_URL = "function-url"
S3 = "s3"


@dataclass
class Exchange:
    """A request, and what the handlers have found out about it.

    `context` acts as the caller once the chain knows who that is; `service` is boto3's name of one, or OWN_PAGE or
    FUNCTION_URL; `stop` ends the server.
    """

    request: Request
    context: Context
    stop: Callable[[], None]
    service: str = ""
    operation: str = ""
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
