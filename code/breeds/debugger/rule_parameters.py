"""Parameters of the Debugger rules as a person writes them: `Overfit.ratio_threshold=0.3,Overfit.patience=3`."""

import json
import re
from collections.abc import Mapping
from typing import Any

from breeds.base.container import InputError
from breeds.debugger.rule_names import RULE_NAMES

NOTHING = ("", "none")
# A comma that does not begin another assignment belongs to a value: collection_names=weights,gradients.
BETWEEN = re.compile(r",(?=\s*(?:\w+\.\w+\s*=|\w+\s*=|\s*$))")

ByRule = dict[str, dict[str, Any]]


def parse(text: str) -> ByRule:
    """{"Overfit": {"ratio_threshold": "0.3"}} from `Overfit.ratio_threshold=0.3,…`, or from that dictionary as JSON.

    `none` and nothing at all are no parameters. Raises InputError for a rule that is not known and for what cannot be
    read; names and values are for `check`.
    """
    text = text.strip()
    if text in NOTHING:
        return {}
    by_rule = _from_json(text) if text.startswith("{") else _from_assignments(text)
    for rule in by_rule:
        if rule not in RULE_NAMES:
            raise InputError(f"Rule {rule!r} is not known.", f"Known are {', '.join(RULE_NAMES)}.")
    return by_rule


def check(by_rule: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises InputError, naming rule and parameter, for one that its rule does not have or a value out of place.

    Needs smdebug, as the rules do.
    """
    from breeds.debugger.rules import RULES
    from breeds.debugger.rules.base import checked_parameters

    for rule, values in by_rule.items():
        checked_parameters(RULES[rule], values)


def _from_json(text: str) -> ByRule:
    try:
        return {rule: dict(values) for rule, values in json.loads(text).items()}
    except (ValueError, TypeError) as error:
        raise InputError(
            f"The rule parameters are not a JSON object of objects ({error}).", 'As {"Overfit": {…}}.'
        ) from None


def _from_assignments(text: str) -> ByRule:
    by_rule: ByRule = {}
    for item in filter(None, (part.strip() for part in BETWEEN.split(text))):
        path, equals, value = item.partition("=")
        rule, dot, name = path.strip().partition(".")
        if not equals or not dot:
            raise InputError(f"Rule parameter {item!r} cannot be read.", "Write Rule.parameter=value.")
        by_rule.setdefault(rule, {})[name.strip()] = value.strip()
    return by_rule
