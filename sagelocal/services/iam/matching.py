"""Patterns of policies: `*` is any text, `?` any one character. They are matched in linear time, without backtracking.

`${*}`, `${?}` and `${$}` are the characters themselves.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

ARN_PARTS = 6
ESCAPE = re.compile(r"\$\{([*?$])\}")
TOKEN = re.compile(r"\$\{[*?$]\}|.", re.DOTALL)
REACHING, STAYING = "reaching", "staying"  # kinds of `*`: one that matches any text, one that does not match a colon


@dataclass(frozen=True)
class Piece:
    """What stands between two `*`: as many characters as it has, so it either is at a place or is not."""

    expression: re.Pattern[str]
    length: int


class Pattern:
    """A pattern, split where a `*` may match anything; each part is pieces with a `*` between them that stays within
    a part of an ARN."""

    def __init__(self, tokens: list[str], ignore_case: bool = False):
        flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
        self._parts: list[list[Piece]] = [[]]
        written: list[str] = []
        for token in [*tokens, REACHING]:
            if token not in (REACHING, STAYING):
                written.append(token)
                continue
            self._parts[-1].append(Piece(re.compile("".join(written), flags), len(written)))
            written = []
            if token is REACHING:
                self._parts.append([])
        self._parts.pop()

    def matches(self, text: str) -> bool:
        """Whether the whole text matches: the first part at its begin, the last at its end, each of the others at the
        first place behind the one before, since that leaves the most to the rest."""
        last = len(self._parts) - 1
        end: int | None = 0
        for index, part in enumerate(self._parts):
            if end is None:
                return False
            find = _end if index == 0 else _first_end
            end = find(part, text, end, index == last)
        return end is not None


def _first_end(part: list[Piece], text: str, begin: int, to_the_end: bool) -> int | None:
    """Where the first match of a part from `begin` on ends; of the last part, the one that ends with the text."""
    if to_the_end and len(part) == 1:
        begin = max(begin, len(text) - part[0].length)
    while found := part[0].expression.search(text, begin):
        end = _end(part, text, found.start(), to_the_end)
        if end is not None:
            return end
        begin = found.start() + 1
    return None


def _end(part: list[Piece], text: str, begin: int, to_the_end: bool) -> int | None:
    """Where a part ends that begins at `begin`: what is between its pieces has no colon."""
    if not part[0].expression.match(text, begin):
        return None
    end = begin + part[0].length
    for index, piece in enumerate(part[1:], 2):
        colon = text.find(":", end)
        reach = len(text) if colon < 0 else colon
        start = max(end, min(reach, len(text) - piece.length)) if to_the_end and index == len(part) else end
        found = piece.expression.search(text, start, reach + piece.length)
        if not found:
            return None
        end = found.end()
    return None if to_the_end and end < len(text) else end


@lru_cache(4096)
def glob(pattern: str, ignore_case: bool = False) -> Pattern:
    """A pattern for any text."""
    kinds = {"*": REACHING, "?": "."}
    return Pattern(
        [kinds.get(token) or re.escape(ESCAPE.sub(r"\1", token)) for token in TOKEN.findall(pattern)], ignore_case
    )


@lru_cache(4096)
def arn(pattern: str, reaching: bool) -> Pattern:
    """A pattern for an ARN. In its first five parts a `*` does not match a colon, except, with `reaching`, one at the
    end of a part."""
    return Pattern(list(_arn_tokens(pattern, reaching)))


def _arn_tokens(pattern: str, reaching: bool) -> Iterator[str]:
    tokens = TOKEN.findall(pattern)
    part = 1
    for index, token in enumerate(tokens):
        part += token == ":"
        if token == "*":
            ends_part = tokens[index + 1 : index + 2] in ([], [":"])
            yield REACHING if part >= ARN_PARTS or (reaching and ends_part) else STAYING
        elif token == "?":
            yield "." if part >= ARN_PARTS else "[^:]"
        else:
            yield re.escape(ESCAPE.sub(r"\1", token))


def action_matches(pattern: str, action: str) -> bool:
    """Actions do not mind the case: s3:getobject is s3:GetObject."""
    return glob(pattern, True).matches(action)


def resource_matches(pattern: str, resource: str) -> bool:
    """Whether a resource is one of a Resource element's pattern: a `*` at the end of a part reaches over colons."""
    return pattern == "*" or arn(pattern, True).matches(resource)


def arn_matches(pattern: str, given: str) -> bool:
    """ArnLike and ArnEquals: each of the six parts is compared on its own.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
    """
    enough = pattern.count(":") >= ARN_PARTS - 1 and given.count(":") >= ARN_PARTS - 1
    return pattern == "*" or (enough and arn(pattern, False).matches(given))


def escaped(text: str) -> str:
    """A pattern that only `text` matches."""
    return re.sub(r"[*?$]", r"${\g<0>}", text)


def unescaped(text: str) -> str:
    """A text in which ${*}, ${?} and ${$} stand for the characters, without patterns."""
    return ESCAPE.sub(r"\1", text)
