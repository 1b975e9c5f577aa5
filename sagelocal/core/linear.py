"""Python's regular expressions, written for RE2, which takes time in proportion to the text and never backtracks.

What is translated is the tree that Python itself reads an expression into, so escapes, classes, flags and comments mean
what they mean to Python. Source of RE2's side: https://github.com/google/re2/wiki/Syntax
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from re import _constants as code  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

LARGEST_REPEAT = 1000  # RE2 refuses a{1001}
DIGIT, WORD, SPACE = (
    r"\p{Nd}",
    r"\p{L}\p{N}_",
    r"\t-\r\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}",
)
CATEGORIES = {code.CATEGORY_DIGIT: DIGIT, code.CATEGORY_WORD: WORD, code.CATEGORY_SPACE: SPACE}
ASCII_CATEGORIES = {
    code.CATEGORY_DIGIT: "0-9",
    code.CATEGORY_WORD: "0-9A-Za-z_",
    code.CATEGORY_SPACE: r"\t-\r\x20",
}
OPPOSITES = {
    code.CATEGORY_NOT_DIGIT: code.CATEGORY_DIGIT,
    code.CATEGORY_NOT_WORD: code.CATEGORY_WORD,
    code.CATEGORY_NOT_SPACE: code.CATEGORY_SPACE,
}
SPACES = [character for character in map(chr, range(0x3001)) if character.isspace()]


class Untranslatable(ValueError):
    """RE2 has no such thing (lookaround, backreferences, …), or would find something else than Python."""


@dataclass
class Translation:
    """An expression for RE2, and for which texts it finds what Python finds."""

    text: str = ""
    ascii_only: bool = False  # \b and case folding are those of ASCII in RE2
    one_line_only: bool = False  # $ is the very end in RE2, and before a last newline too in Python


def translated(expression: str) -> Translation:
    """`expression`, which Python compiles, for RE2. Raises Untranslatable."""
    tree = _parser.parse(expression)
    made = Translation()
    made.text = _sequence(tree, tree.state.flags, made)
    return made


def _sequence(items: Any, flags: int, made: Translation) -> str:
    return "".join(_item(operator, argument, flags, made) for operator, argument in items)


def _item(operator: Any, argument: Any, flags: int, made: Translation) -> str:
    if operator is code.LITERAL:
        return _folded(_character(argument), [argument], flags, made)
    if operator is code.NOT_LITERAL:
        return _folded(f"[^{_character(argument)}]", [argument], flags, made)
    if operator is code.ANY:
        return "(?s:.)" if flags & re.DOTALL else r"[^\n]"
    if operator is code.IN:
        return _class(argument, flags, made)
    if operator is code.BRANCH:
        return f"(?:{'|'.join(_sequence(branch, flags, made) for branch in argument[1])})"
    if operator is code.SUBPATTERN:
        group, added, removed, inner = argument
        return f"({'?:' if group is None else ''}{_sequence(inner, (flags | added) & ~removed, made)})"
    if operator in (code.MAX_REPEAT, code.MIN_REPEAT):
        return _repeat(argument, operator is code.MIN_REPEAT, flags, made)
    if operator is code.AT:
        return _position(argument, flags, made)
    raise Untranslatable(f"{operator} has no counterpart")


def _repeat(argument: Any, lazy: bool, flags: int, made: Translation) -> str:
    least, most, inner = argument
    unlimited = most is code.MAXREPEAT
    if least > LARGEST_REPEAT or (not unlimited and most > LARGEST_REPEAT):
        raise Untranslatable("a repetition of more than 1000")
    if most != 1 and inner.getwidth()[0] == 0:
        raise Untranslatable("a repetition of what may be empty: when it ends is each engine's own decision")
    bounds = {(0, None): "*", (1, None): "+", (0, 1): "?"}.get((least, None if unlimited else most))
    bounds = bounds or (f"{{{least},}}" if unlimited else f"{{{least},{most}}}")
    return f"(?:{_sequence(inner, flags, made)}){bounds}{'?' if lazy else ''}"


def _position(where: Any, flags: int, made: Translation) -> str:
    if where in (code.AT_BEGINNING, code.AT_BEGINNING_STRING):
        return "(?m:^)" if where is code.AT_BEGINNING and flags & re.MULTILINE else r"\A"
    if where is code.AT_END and flags & re.MULTILINE:
        return "(?m:$)"
    if where in (code.AT_END, code.AT_END_STRING):
        made.one_line_only |= where is code.AT_END
        return r"\z"
    if where is not code.AT_BOUNDARY:
        raise Untranslatable("\\B, which Python does not find in an empty text")
    made.ascii_only |= not flags & re.ASCII
    return r"\b"


def _class(items: Sequence[Any], flags: int, made: Translation) -> str:
    negated = items[0][0] is code.NEGATE
    categories = ASCII_CATEGORIES if flags & re.ASCII else CATEGORIES
    inside, outside, ends = "", [], []
    for operator, argument in items[1:] if negated else items:
        if operator is code.LITERAL:
            inside += _character(argument)
            ends.append(argument)
        elif operator is code.RANGE:
            inside += f"{_character(argument[0])}-{_character(argument[1])}"
            ends += argument
        elif argument in OPPOSITES:
            outside.append(OPPOSITES[argument])
        else:
            inside += categories[argument]
    if not outside:
        return _folded(f"[{'^' if negated else ''}{inside}]", ends, flags, made)
    if not negated:
        choices = [f"[^{categories[category]}]" for category in outside] + ([f"[{inside}]"] if inside else [])
        return _folded(f"(?:{'|'.join(choices)})", ends, flags, made)
    return _folded(_rest(items[1:], outside, inside, flags), ends, flags, made)


def _rest(items: Sequence[Any], outside: list[Any], inside: str, flags: int) -> str:
    r"""A class such as [^\S\n]: a category without the rest. RE2 does not subtract, but white space can be counted."""
    if not inside and len(outside) == 1:
        return f"[{(ASCII_CATEGORIES if flags & re.ASCII else CATEGORIES)[outside[0]]}]"
    if outside != [code.CATEGORY_NOT_SPACE] and outside != [code.CATEGORY_SPACE]:
        raise Untranslatable("a category without some of its characters")
    known = re.compile(f"[{''.join(SPACES)}]")
    spaces = [space for space in SPACES if known.match(space) and not _within(items, ord(space), flags)]
    if not spaces:
        raise Untranslatable("a class without characters")
    return f"[{''.join(_character(ord(space)) for space in spaces)}]"


def _within(items: Sequence[Any], character: int, flags: int) -> bool:
    """Whether a class has a white space character."""
    for operator, argument in items:
        if operator is code.LITERAL and argument == character:
            return True
        if operator is code.RANGE and argument[0] <= character <= argument[1]:
            return True
        if operator is code.CATEGORY and _in_category(argument, chr(character), flags):
            return True
    return False


def _in_category(category: Any, character: str, flags: int) -> bool:
    is_space = character.isspace() and (not flags & re.ASCII or character in " \t\n\r\f\v")
    if category in (code.CATEGORY_SPACE, code.CATEGORY_NOT_SPACE):
        return is_space == (category is code.CATEGORY_SPACE)
    return category in OPPOSITES  # white space is neither a digit nor of a word


def _folded(text: str, characters: Sequence[int], flags: int, made: Translation) -> str:
    """With the case ignored where it is. RE2 folds ASCII as Python does; of the rest each has its own exceptions."""
    if not flags & re.IGNORECASE:
        return text
    if any(character > 127 for character in characters):
        raise Untranslatable("the case of characters beyond ASCII")
    made.ascii_only = True
    return f"(?i:{text})"


def _character(number: int) -> str:
    if 0xD800 <= number <= 0xDFFF:
        raise Untranslatable("half of a pair of UTF-16")
    character = chr(number)
    return character if character.isalnum() and number < 128 else f"\\x{{{number:x}}}"
