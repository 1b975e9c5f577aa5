"""The keys of an account's owner: one file per state directory, made at its first start. Who can read it is the owner.

Everything else that must not be guessed is derived from it.
"""

import hashlib
import hmac
import json
import os
import secrets
from base64 import b32encode, b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

NAME = "owner.json"
PRIVATE_FILE, PRIVATE_DIRECTORY, PRIVATE_UMASK = 0o600, 0o700, 0o077


class Unusable(Exception):
    """The file cannot be read, or holds no keys; the message says what to do."""


@dataclass(frozen=True)
class Keys:
    """An access key id and its secret, of the lengths that AWS's have."""

    access_key: str
    secret_key: str = field(repr=False)

    def derived(self, purpose: str) -> bytes:
        """32 bytes that only who knows the secret can compute."""
        return hmac.digest(self.secret_key.encode(), purpose.encode(), hashlib.sha256)


def of(state_dir: Path) -> Keys:
    """The keys of a state directory, made if there are none yet. Raises Unusable."""
    path = state_dir / NAME
    if not path.exists():
        _keep(path, new_keys())
    try:
        path.chmod(PRIVATE_FILE)
        held = json.loads(path.read_text())
        keys = Keys(held["AccessKeyId"], held["SecretAccessKey"])
        if not (isinstance(keys.access_key, str) and isinstance(keys.secret_key, str) and all(vars(keys).values())):
            raise ValueError("a key is missing")
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise Unusable(
            f"The account's keys in {path} cannot be used ({type(problem).__name__}). Delete the file: the next start "
            "makes new keys, and what was given the old ones must get the new ones."
        ) from None
    return keys


def private(path: str, flags: int) -> int:
    """An opener for `open`: nobody else may read the file from its first moment on."""
    return os.open(path, flags, PRIVATE_FILE)


def new_keys() -> Keys:
    return Keys("AKIA" + b32encode(secrets.token_bytes(10)).decode(), b64encode(secrets.token_bytes(30)).decode())


def _keep(path: Path, keys: Keys) -> None:
    """Whole or not at all, and once: of two that start at the same time the second finds the first one's."""
    temporary = path.with_name(f".{NAME}.{secrets.token_hex(8)}")
    try:
        with open(temporary, "x", opener=private) as file:
            json.dump({"AccessKeyId": keys.access_key, "SecretAccessKey": keys.secret_key}, file)
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()
