"""What the tests of both functions share: Lambda's context object, handlers loaded by path, small pictures."""

import importlib.util
import io
import time
from pathlib import Path
from types import ModuleType

from PIL import Image

FUNCTIONS = Path(__file__).parents[2] / "lambda"


class LambdaContext:
    """What Lambda passes as the second argument."""

    function_name = "pawline-test"
    function_version = "$LATEST"
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:pawline-test"
    memory_limit_in_mb = "512"
    aws_request_id = "3f1b2c4d-0000-4000-8000-000000000001"
    log_group_name = "/aws/lambda/pawline-test"
    log_stream_name = "2026/11/23/[$LATEST]0123456789abcdef"
    identity = None
    client_context = None

    def __init__(self, seconds: float = 30.0) -> None:
        self._end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._end - time.monotonic()) * 1000))


def load_handler(function: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{function}_handler", FUNCTIONS / function / "handler.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def picture_bytes(kind: str = "JPEG", size: tuple[int, int] = (64, 48)) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(buffer, kind)
    return buffer.getvalue()
