"""Parameters of the Debugger rules as a job is given them: in the form of contract/rules.py, or as JSON."""

import json

from breeds.base.container import InputError
from contract import rules


def parse(text: str) -> rules.ByRule:
    """Of `Overfit.ratio_threshold=0.3,…` or {"Overfit": {"ratio_threshold": 0.3}}; none of `none` or an empty text.

    Raises InputError for what cannot be read, and for a rule, a parameter or a value that cannot be.
    """
    text = text.strip() or rules.NOTHING
    if not text.startswith("{"):
        return rules.parse(text, InputError)
    try:
        by_rule = {rule: dict(values) for rule, values in json.loads(text).items()}
    except (ValueError, TypeError) as error:
        raise InputError(
            f"The rule parameters are not a JSON object of objects ({error}).", 'As {"Overfit": {…}}.'
        ) from None
    return rules.checked(by_rule, InputError)
