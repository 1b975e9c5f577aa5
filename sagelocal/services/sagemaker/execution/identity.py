"""Names of what an execution does: made from what is done, so that doing it again finds what is there already.

The names of one attempt at one step are the same before and after a restart, and no other attempt has them.
"""

import hashlib
import string
import uuid

ALPHABET = string.ascii_letters + string.digits
NAMESPACE = uuid.UUID("6a1f2f3c-6f0e-5b0e-9a54-0d5f4f1c7a51")


def mark(execution_id: str, step: str, attempt: int, length: int = 10) -> str:
    """Letters and digits, at the end of a job's name where AWS's has random ones."""
    number = int.from_bytes(hashlib.sha256(f"{execution_id}/{step}/{attempt}".encode()).digest())
    letters = ""
    for _ in range(length):
        number, digit = divmod(number, len(ALPHABET))
        letters += ALPHABET[digit]
    return letters


def token(execution_id: str, step: str, attempt: int | None = None) -> str:
    """A UUID; without an attempt, that of what a step does once however often it is tried."""
    return str(uuid.uuid5(NAMESPACE, f"{execution_id}/{step}/{attempt or ''}"))
