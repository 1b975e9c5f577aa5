"""What the tests of Lambda share: zips and calls."""

import io
import json
import zipfile
from typing import Any

from tests.sagelocal.board import TELL

ROLE = "arn:aws:iam::123456789012:role/lambda"

# A part of functions that must run at the same time: returns when `number` workers have come to the board.
MEET = (
    TELL
    + """
def meet(board, number):
    tell(board, wait_for=number)
"""
)


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
