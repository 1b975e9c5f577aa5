"""Regular expressions that users wrote: searched without the server ever waiting for one.

An expression is Python's. It runs on RE2 where that finds the same (linear.py); the others run in one process per
server (pattern_child.py), where each search has 100 ms of CPU time.
"""

import json
import re
import select
import subprocess
import sys
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from sagelocal.core import linear
from sagelocal.core.context import Context, one_per_server
from sagelocal.core.registry import on_stop

try:
    import re2
except ImportError:  # there is no wheel for this system: all expressions run in the process
    re2 = None

MAX_MEMORY = 1 << 20  # bytes of one compiled expression; more than that takes long to compile
ANSWER_SECONDS = 10  # for a process that gets no CPU time at all

Groups = tuple[str | None, ...]  # the whole match, then its groups


class InvalidExpression(ValueError):
    """Python does not compile it."""


class TooSlow(Exception):
    """A search that was ended."""


class Expression:
    """One expression; `whole`: only a match of the whole text counts. Raises InvalidExpression."""

    def __init__(self, text: str, whole: bool = False):
        self.text, self.whole = text, whole
        self.groups = groups(text)
        self.linear, self._rules = _compiled(text, whole)

    def search(self, text: str, worker: "Worker") -> Groups | None:
        """The first match. Raises TooSlow."""
        encoded = self.encoded(text)
        if encoded is None:
            return worker.search(self, text)
        match = self.linear.search(encoded)
        return tuple(None if part is None else part.decode() for part in (match[0], *match.groups())) if match else None

    def encoded(self, text: str) -> bytes | None:
        """The text for RE2; None where RE2 would not find what Python finds."""
        if self.linear is None or (self._rules.ascii_only and not text.isascii()):
            return None
        if self._rules.one_line_only and "\n" in text:
            return None
        try:
            return text.encode()
        except UnicodeEncodeError:  # half of a pair of UTF-16
            return None


class Several:
    """Expressions that are searched in the same texts: one pass says which of them can match at all."""

    def __init__(self, expressions: Sequence[Expression]):
        self._slow = [expression for expression in expressions if expression.linear is None]
        self._linear = [expression for expression in expressions if expression.linear is not None]
        self._set = _set(self._linear)

    def possible(self, text: str) -> list[Expression]:
        """Those that may match."""
        try:
            hits = self._set.Match(text.encode()) or [] if self._set else range(len(self._linear))
        except UnicodeEncodeError:
            hits = range(len(self._linear))
        found = {self._linear[index] for index in hits}
        return [e for e in (*self._slow, *self._linear) if e in found or e.encoded(text) is None]


class Worker:
    """The process for what RE2 cannot do. It is started when it is needed first, and again after it was ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def search(self, expression: Expression, text: str) -> Groups | None:
        """Raises TooSlow."""
        with self._lock:
            answer = self._asked(json.dumps([expression.text, text, expression.whole]))
        if not answer.endswith("\n"):
            raise TooSlow(f"{expression.text!r} took more than 100 ms on one line")
        found = json.loads(answer)
        return None if found is None else tuple(found)

    def stop(self) -> None:
        with self._lock:
            self._end()

    def _asked(self, request: str) -> str:
        answer = ""
        try:
            process = self._started()
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(f"{request}\n")
            process.stdin.flush()
            if select.select([process.stdout], [], [], ANSWER_SECONDS)[0]:
                answer = process.stdout.readline()
        except OSError:  # it ended, or cannot be started
            pass
        if not answer.endswith("\n"):
            self._end()
        return answer

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("pattern_child.py"))]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={})
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@one_per_server
def worker(_: Context) -> Worker:
    """The server's process for expressions."""
    return Worker()


@on_stop
def stop_worker(context: Context) -> None:
    worker(context).stop()


def groups(text: str) -> int:
    """How many groups an expression has. Raises InvalidExpression."""
    try:
        return re.compile(text).groups
    except (re.error, OverflowError, RecursionError) as problem:
        raise InvalidExpression(str(problem)) from None


@lru_cache(1024)
def _compiled(text: str, whole: bool) -> tuple[Any, linear.Translation]:
    """The expression of RE2, None where it has none, and when it may be used."""
    try:
        rules = linear.translated(text)
        if re2 is None:
            return None, rules
        return re2.compile((rf"\A(?:{rules.text})\z" if whole else rules.text).encode(), _options()), rules
    except linear.Untranslatable:
        return None, linear.Translation()
    except re2.error:  # too large
        return None, linear.Translation()


def _options() -> Any:
    options = re2.Options()
    options.max_mem = MAX_MEMORY
    options.log_errors = False
    return options


def _set(expressions: Sequence[Expression]) -> Any:
    """All in one automaton, by their place; None where there is none of them or they are too large together."""
    if not expressions:
        return None
    options = re2.Options()
    options.log_errors = False
    made = re2.Set.SearchSet(options)
    try:
        for expression in expressions:
            made.Add(linear.translated(expression.text).text.encode())
        made.Compile()
    except re2.error:
        return None
    return made
