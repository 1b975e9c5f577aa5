"""What requests, answers and documents are made of."""

from typing import Any

Json = dict[str, Any]
