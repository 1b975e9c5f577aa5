"""The server's log: one line of time, level and module for each message, on stderr, which `lifecycle` keeps in a file.

Every module of the server has a logger of its own name. Jobs, functions and endpoints log into CloudWatch Logs instead.
"""

import logging

from sagelocal.core.terminal import printable

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _Printable(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def set_up() -> None:
    """Send this process's log to stderr: all of sagelocal's, and the warnings of the libraries."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable(FORMAT))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("sagelocal").setLevel(logging.INFO)
