"""How a key is spelt as a path, and back.

A key is any text, a path is not, so a few keys are spelt differently on disk. "%" is the only special character:

    %25         a "%" of the key               a%b      -> a%25b
    %2E         a segment that is . or ..      a/../b   -> a/%2E%2E/b
    %00         NUL
    %           an empty segment               a/       -> a/%
    name%       an object beside a directory   a and a/b are both there -> a% and a/b
    name%+      a segment that goes on below   300 times "a" -> (240 times "a")%+/(60 times "a")
"""

import re

from sagelocal.core.errors import AwsError

MAX_KEY_BYTES = 1024
MAX_NAME_BYTES = 240  # file systems allow 255
GOES_ON = "%+"
BESIDE = "%"

ORDINARY = re.compile(r"(?=.{,256}\Z)[^/.%\0][^/%\0]{,59}(/[^/.%\0][^/%\0]{,59})*", re.DOTALL)  # spelt as they are


class KeyTooLong(AwsError):
    def __init__(self, key: str):
        super().__init__(
            "KeyTooLongError", f"Your key is too long (the most is {MAX_KEY_BYTES} bytes): {key[:80]}…", 400
        )


def path(key: str) -> str:
    """A key as a relative path: no name is empty, dots, or too long; nothing leads out of the bucket."""
    if ORDINARY.fullmatch(key):
        return key
    if len(key.encode(errors="surrogatepass")) > MAX_KEY_BYTES:
        raise KeyTooLong(key)
    return "/".join(name for segment in key.split("/") for name in _names(segment))


def directory(folder: str) -> str:
    """The relative path of a folder, which is named as its keys begin: "a/b/", or "" for the bucket's own."""
    return path(folder[:-1]) if folder else ""


def folders(text: str) -> list[str]:
    """The folders that a key lies in, outermost first; of a prefix those that lead to it: "a/b" -> "" and "a/"."""
    return ["", *(text[: at + 1] for at, character in enumerate(text) if character == "/")]


def segment(name: str) -> str | None:
    """What a name on disk, without the marks at its end, says of a key; None where no key is spelt so."""
    if name.isascii() and "%" not in name:
        return name if len(name) <= MAX_NAME_BYTES else None
    text = name.replace("%2E", ".").replace("%00", "\0").replace("%25", "%")
    try:
        return text if _escaped(text) == name and len(name.encode()) <= MAX_NAME_BYTES else None
    except UnicodeEncodeError:
        return None


def _names(segment: str) -> list[str]:
    whole = _escaped(segment)
    if len(whole) * 4 <= MAX_NAME_BYTES or _bytes(whole) <= MAX_NAME_BYTES:
        return [whole or "%"]
    parts = [""]
    for character in segment:
        if _bytes(_escaped(parts[-1] + character)) > MAX_NAME_BYTES:
            parts.append("")
        parts[-1] += character
    return [_escaped(part) + GOES_ON for part in parts[:-1]] + [_escaped(parts[-1])]


def _escaped(text: str) -> str:
    if text in (".", ".."):
        return text.replace(".", "%2E")
    return text.replace("%", "%25").replace("\0", "%00")


def _bytes(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))
