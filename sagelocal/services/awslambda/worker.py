"""Runs one Lambda function in its own process: `python worker.py`, with a socket to the server as its input.

Imports the handler once, then answers one event after the other: a line of JSON in, a line of JSON out. Imports nothing
of this project: a function sees its own code and this environment's packages only.
"""

import importlib
import json
import logging
import os
import resource
import socket
import sys
import time
import traceback
import types
from collections.abc import Callable
from typing import Any


class LambdaContext:
    """Source: https://docs.aws.amazon.com/lambda/latest/dg/python-context.html"""

    def __init__(self, call: dict[str, Any]):
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.invoked_function_arn = call["arn"]
        self.aws_request_id = call["request_id"]
        self.tenant_id = None
        self.identity = types.SimpleNamespace(cognito_identity_id=None, cognito_identity_pool_id=None)
        client = call["client_context"]
        self.client_context = types.SimpleNamespace(**client) if isinstance(client, dict) else None
        self._epoch_deadline_time_in_ms = call["deadline_ms"]

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int(self._epoch_deadline_time_in_ms - time.time() * 1000))

    def log(self, message: object) -> None:
        sys.stdout.write(str(message))


class RequestId(logging.Filter):
    """Gives each log record the id of the request it belongs to."""

    current = ""

    def filter(self, record: logging.LogRecord) -> bool:
        record.aws_request_id = RequestId.current
        return True


def main() -> None:
    server = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)  # a function that reads its input finds none, as on AWS
    os.close(null)
    channel = server.makefile("rw", encoding="utf-8", newline="\n")
    sys.path[0] = os.environ["LAMBDA_TASK_ROOT"]
    _set_up_logging()
    handler, problem = _load(os.environ["_HANDLER"])
    _send(channel, {"ready": handler is not None})
    for line in channel:
        call = json.loads(line)
        RequestId.current = call["request_id"]
        answer: dict[str, Any] = {"error": problem} if handler is None else _answer(handler, call)
        answer["max_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        sys.stderr.flush()
        print(call["mark"], flush=True)
        _send(channel, answer)


def _answer(handler: Callable[..., Any], call: dict[str, Any]) -> dict[str, Any]:
    try:
        result = handler(json.loads(call["event"]), LambdaContext(call))
    except Exception as problem:
        return {"error": _described(problem)}
    try:
        return {"result": json.dumps(result, ensure_ascii=False)}
    except (TypeError, ValueError, RecursionError) as problem:
        return {"error": _error("Runtime.MarshalError", f"Unable to marshal response: {problem}")}


def _load(name: str) -> tuple[Callable[..., Any] | None, dict[str, Any] | None]:
    """The function that `module.function` names, or the error that each invocation answers in its place."""
    module_name, _, function_name = name.rpartition(".")
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as problem:
        traceback.print_exc()
        return None, _error("Runtime.ImportModuleError", f"Unable to import module '{module_name}': {problem}")
    except SyntaxError as problem:
        message = f"Syntax error in module '{module_name}': {problem}"
        return None, _error("Runtime.UserCodeSyntaxError", message)
    except Exception as problem:
        return None, _described(problem)
    if not hasattr(module, function_name):
        message = f"Handler '{function_name}' missing on module '{module_name}'"
        return None, _error("Runtime.HandlerNotFound", message)
    return getattr(module, function_name), None


def _described(problem: Exception) -> dict[str, Any]:
    """The exception as Lambda answers it, without the frames of this file; it is printed to the log too."""
    frames = [frame for frame in traceback.extract_tb(problem.__traceback__) if frame.filename != __file__]
    trace = traceback.format_list(frames)
    print(
        f"[ERROR] {type(problem).__name__}: {problem}\nTraceback (most recent call last):\n{''.join(trace)}", flush=True
    )
    return _error(type(problem).__name__, str(problem), trace)


def _error(kind: str, message: str, trace: list[str] | None = None) -> dict[str, Any]:
    error = {"errorMessage": message, "errorType": kind, "requestId": RequestId.current, "stackTrace": trace or []}
    if trace is None:
        print(f"[ERROR] {kind}: {message}", flush=True)
    return error


def _set_up_logging() -> None:
    """Lambda's own root handler, with its format; the level stays WARNING until the function says otherwise."""
    handler = logging.StreamHandler(sys.stdout)
    text = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s"
    formatter = logging.Formatter(text, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    handler.addFilter(RequestId())
    logging.getLogger().addHandler(handler)


def _send(channel: Any, message: dict[str, Any]) -> None:
    channel.write(json.dumps(message) + "\n")
    channel.flush()


if __name__ == "__main__":
    main()
