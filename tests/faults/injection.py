"""Makes a server's disk refuse, or the server end, at a chosen operation that lasts: a commit, a rename, a new file.

Everything is done from Python: SQLite lets its system calls be replaced (xSetSystemCall), so that an error of the disk
takes its real way through it, and Python's own functions are wrapped. An operation is named by what it does, with names
that differ between runs replaced, and by the how manieth of its like it is: threads make a bare count differ.
"""

import _sqlite3
import builtins
import ctypes
import errno
import io
import os
import re
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sagelocal.core import database, store

KILL_BEFORE, KILL_AFTER, FULL = "kill before", "kill after", "full"
ONCE = ("ENOSPC", "EIO")
KINDS = (KILL_BEFORE, KILL_AFTER, *ONCE, FULL)

MAKERS = ("mkdir", "link", "symlink", "open")  # what a full disk refuses; it lets files be renamed and removed
CHANGERS = ("mkdir", "link", "symlink", "rename", "replace", "unlink", "rmdir")
CHANGING_NAMES = (
    (r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{8,}", "<hex>"),
    (r"(?<=-)[A-Za-z0-9]{10}(?=$|[/.-])", "<mark>"),
    (r"(?<=[-/])[a-z0-9]{12}(?=$|[/.-])", "<execution>"),
    (r"\d+", "<n>"),
)


class Injector:
    """Counts the operations on one state directory and does the fault's work at the one that it names.

    `operation`: its name and number, "" to only write the list of all to `log`. A fault of kind FULL lasts until the
    file `<state directory>.full`, which it makes, is removed.
    """

    def __init__(self, state_dir: Path, operation: str = "", kind: str = "", log: Path | None = None):
        self.state_dir, self.operation, self.kind = str(state_dir), operation, kind
        self.armed = Path(f"{state_dir}.armed")  # operations count from the moment that this file is there
        self.full = Path(f"{state_dir}.full")
        self._log = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND) if log else None
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._counting = False
        self.is_full = False
        self.refuse_next = 0  # the error that SQLite's next write gets

    def named(self, operation: str, path: str) -> str | None:
        """The name of this operation, None where it does not count."""
        shown = path.removeprefix(self.state_dir)
        for pattern, stand_in in CHANGING_NAMES:
            shown = re.sub(pattern, stand_in, shown)
        with self._lock:
            if not self._counting:
                self._counting = self.armed.exists()
                if not self._counting:
                    return None
            label = f"{operation} {shown}"
            self._seen[label] += 1
            name = f"{label} #{self._seen[label]}"
        if self._log is not None:
            os.write(self._log, f"{name}\n".encode())
        return name

    def before(self, name: str | None, maker: bool) -> int:
        """The error that an operation must fail with, if any."""
        if name is not None and name == self.operation:
            if self.kind == KILL_BEFORE:
                self.end()
            if self.kind in ONCE:
                self.operation = ""
                return int(getattr(errno, self.kind))
            if self.kind == FULL:
                os.close(os.open(self.full, os.O_CREAT | os.O_WRONLY))
                self.operation, self.is_full = "", True
        return errno.ENOSPC if maker and self.refuses() else 0

    def after(self, name: str | None) -> None:
        if name is not None and name == self.operation and self.kind == KILL_AFTER:
            self.end()

    def refuses(self) -> bool:
        self.is_full = self.is_full and os.path.exists(self.full)
        return self.is_full

    def end(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def install(injector: Injector) -> None:
    _wrap_files(injector)
    _wrap_commits(injector)
    _replace_system_calls(injector)


def _wrap_files(injector: Injector) -> None:
    def wrapped(operation: str, real: Callable[..., Any], counts: Callable[..., bool]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            paths = [os.fspath(part) for part in args if isinstance(part, str | os.PathLike)]
            mine = [path for path in paths if str(path).startswith(f"{injector.state_dir}/")]
            if not mine or not counts(*args, **options):
                return real(*args, **options)
            name = injector.named(operation, str(mine[-1]))
            refusal = injector.before(name, operation in MAKERS)
            if refusal:
                raise OSError(refusal, os.strerror(refusal), mine[-1])
            answer = real(*args, **options)
            injector.after(name)
            return answer

        return call

    for operation in CHANGERS:
        setattr(os, operation, wrapped(operation, getattr(os, operation), lambda *_, **__: True))
    opened = wrapped("open", io.open, lambda _, mode="r", *rest, **more: bool(set(mode) & set("wax+")))
    io.open = builtins.open = opened  # type: ignore[assignment]


def _wrap_commits(injector: Injector) -> None:
    real = database.Database.transaction
    note = store.Store._note
    written: set[str] = set()

    def noted(self: store.Store, kind: str, name: str, *rest: Any, **more: Any) -> None:
        written.add(str(kind))
        note(self, kind, name, *rest, **more)

    @contextmanager
    def transaction(self: database.Database) -> Iterator[None]:
        written.clear()
        with real(self):
            yield
            name = injector.named("commit", " ".join(sorted(written)))
            refusal = injector.before(name, maker=False)
            injector.refuse_next = refusal
        injector.refuse_next = 0
        injector.after(name)

    store.Store._note = noted  # type: ignore[method-assign]
    database.Database.transaction = transaction  # type: ignore[method-assign,assignment]


class _Vfs(ctypes.Structure):
    """The head of SQLite's struct sqlite3_vfs, as far as xSetSystemCall. Source: https://sqlite.org/c3ref/vfs.html"""

    _fields_ = [
        *(("iVersion", ctypes.c_int), ("szOsFile", ctypes.c_int), ("mxPathname", ctypes.c_int)),
        *(("pNext", ctypes.c_void_p), ("zName", ctypes.c_char_p), ("pAppData", ctypes.c_void_p)),
        *((f"method{number}", ctypes.c_void_p) for number in range(13)),
        ("xSetSystemCall", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)),
    ]


def sqlite() -> ctypes.CDLL | None:
    """The library that Python's sqlite3 uses; None where it cannot be called from here."""
    module = ctypes.CDLL(getattr(_sqlite3, "__file__", None))  # its libraries are searched with it
    return module if hasattr(module, "sqlite3_vfs_find") else None


_kept: list[Any] = []  # SQLite calls these for as long as the process lives


def _replace_system_calls(injector: Injector) -> None:
    """Have SQLite's writes to files ask the injector first."""
    module = sqlite()
    assert module, "SQLite is built into this Python"
    module.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
    module.sqlite3_vfs_find.argtypes = [ctypes.c_char_p]
    vfs = module.sqlite3_vfs_find(None)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.pwrite.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64]
    libc.pwrite.restype = ctypes.c_ssize_t
    prototype = ctypes.CFUNCTYPE(
        ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64, use_errno=True
    )

    def pwrite(descriptor: int, data: int, size: int, offset: int) -> int:
        refusal = injector.refuse_next or (errno.ENOSPC if injector.refuses() else 0)
        if refusal:
            injector.refuse_next = 0
            ctypes.set_errno(refusal)
            return -1
        return int(libc.pwrite(descriptor, data, size, offset))

    replacement = prototype(pwrite)
    _kept.append(replacement)
    replaced = [
        vfs.contents.xSetSystemCall(ctypes.cast(vfs, ctypes.c_void_p), name, ctypes.cast(replacement, ctypes.c_void_p))
        for name in (b"pwrite", b"pwrite64")
    ]
    assert sqlite3.SQLITE_OK in replaced, "SQLite here writes its files by other system calls"
