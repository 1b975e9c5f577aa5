"""Numbers that somebody else wrote."""


def is_whole(text: str, digits: int = 18) -> bool:
    """Whether a text is a number from 0 with so many digits at most. `str.isdigit` holds for ² too, which `int` does
    not read, and for more digits than it reads."""
    return text.isascii() and text.isdecimal() and len(text) <= digits
