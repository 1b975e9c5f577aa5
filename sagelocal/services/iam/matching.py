"""Patterns of policies: `*` is any text, `?` any one character.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
"""

import re
from functools import lru_cache

ARN_PARTS = 6


@lru_cache(4096)
def glob(pattern: str, ignore_case: bool = False) -> re.Pattern[str]:
    """A pattern as a regular expression for the whole text. ${*}, ${?} and ${$} are the characters themselves."""
    literal = {"${*}": r"\*", "${?}": r"\?", "${$}": r"\$", "*": ".*", "?": "."}
    parts = re.split(r"(\$\{[*?$]\}|[*?])", pattern)
    text = "".join(literal.get(part, re.escape(part)) for part in parts)
    return re.compile(text, re.DOTALL | (re.IGNORECASE if ignore_case else 0))


def action_matches(pattern: str, action: str) -> bool:
    """Actions do not mind the case: s3:getobject is s3:GetObject."""
    return glob(pattern, True).fullmatch(action) is not None


def arn_matches(pattern: str, arn: str) -> bool:
    """Part by part between the colons: a `*` in one of the first five does not reach into the next."""
    if pattern == "*":
        return True
    wanted, given = pattern.split(":", ARN_PARTS - 1), arn.split(":", ARN_PARTS - 1)
    if len(wanted) != ARN_PARTS or len(given) != ARN_PARTS:
        return False
    return all(glob(part).fullmatch(text) for part, text in zip(wanted, given, strict=True))
