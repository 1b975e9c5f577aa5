"""What the tests of Lambda share: zips, calls, and waiting for what happens in the background."""

import io
import json
import time
import zipfile
from collections.abc import Callable
from typing import Any

ROLE = "arn:aws:iam::123456789012:role/lambda"


def packed(files: dict[str, str]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zip_file:
        for name, content in files.items():
            zip_file.writestr(name, content)
    return archive.getvalue()


def call(functions: Any, name: str, event: object = None, **more: Any) -> Any:
    """The answer of a function that must not fail."""
    answer = functions.invoke(FunctionName=name, Payload=json.dumps(event), **more)
    body = answer["Payload"].read()
    assert "FunctionError" not in answer, body
    return json.loads(body)


def until(look: Callable[[], Any], seconds: float = 15.0) -> Any:
    """What `look` gives as soon as that is something true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")
