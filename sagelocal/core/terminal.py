"""What may be shown on a terminal of text that somebody else wrote: log lines, reasons, names.

A control character can clear the screen, write into the clipboard or answer as if the user had typed; one that turns
the direction of writing lets a text read as another one. They are shown as what they are: \\x1b, \\u202e.
"""

import json
from typing import Any

_KEPT = {ord("\t"), ord("\n")}
_CONTROLS = {*range(0x20), *range(0x7F, 0xA0)} - _KEPT
_DIRECTIONS = {0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
_HALVES = range(0xD800, 0xE000)  # of a character in UTF-16: no terminal's encoding has them
_SHOWN = {code: f"\\x{code:02x}" for code in _CONTROLS}
_SHOWN |= {code: f"\\u{code:04x}" for code in (*_DIRECTIONS, *_HALVES)}


def printable(text: str) -> str:
    """`text` without anything that a terminal would act on, but for tabs and ends of lines."""
    return text if text.isascii() and text.isprintable() else text.translate(_SHOWN)


def json_line(value: Any) -> str:
    """A value as one line of JSON, which has an escape of its own for each of these characters."""
    return json.dumps(value).replace("\x7f", "\\u007f")
