"""One request on its way through the chain."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from werkzeug.wrappers import Request

from sagelocal.core import lifecycle
from sagelocal.core.context import Context
from sagelocal.gateway.signature import Claim

OWN_PAGE = lifecycle.OWN_PAGES
FUNCTION_URL = "function-url"
S3 = "s3"


@dataclass
class Exchange:
    """A request, and what the handlers have found out about it.

    `context` acts as the caller once the chain knows who that is; `service` is boto3's name of one, or OWN_PAGE or
    FUNCTION_URL; `claim` is what its signature says, None for one without; `stop` ends the server.
    """

    request: Request
    context: Context
    stop: Callable[[], None]
    service: str = ""
    operation: str = ""
    claim: Claim | None = None

    @cached_property
    def request_id(self) -> str:
        return str(uuid.uuid4())

    @property
    def raw_path(self) -> str:
        """The path as it was written."""
        path: str = self.request.environ.get("RAW_URI", self.request.path)
        return path.partition("?")[0]
