"""What a rule's target gets of an event: all of it, a part, a constant, or a template filled from it.

Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from sagelocal.core.json import Json

_VARIABLE = re.compile(r"<([A-Za-z0-9_.-]+)>")
_STEP = re.compile(r"\.([A-Za-z0-9_-]+)|\[(\d+)\]|\['([^']+)'\]")


def payload(target: Mapping[str, Any], event: Json, rule_arn: str) -> str:
    """The text that is sent to a target for an event."""
    given: str | None = target.get("Input")
    if given is not None:
        return given
    if "InputPath" in target:
        return json.dumps(at(event, target["InputPath"]))
    if "InputTransformer" in target:
        return _transformed(target["InputTransformer"], event, rule_arn)
    return json.dumps(event)


def at(event: Any, path: str) -> Any:
    """The value at a path such as `$.detail.names[0]`; None where the event has no such thing."""
    value, position = event, 1
    while position < len(path):
        step = _STEP.match(path, position)
        if not step:
            return None
        name, index, quoted = step.groups()
        try:
            value = value[int(index)] if index else value[name or quoted]
        except (KeyError, IndexError, TypeError):
            return None
        position = step.end()
    return value


def is_path(text: str) -> bool:
    """Whether a text is a path that `at` understands."""
    return re.fullmatch(rf"\$(?:{_STEP.pattern})*", text) is not None


def _transformed(transformer: Json, event: Json, rule_arn: str) -> str:
    values = {name: at(event, path) for name, path in transformer.get("InputPathsMap", {}).items()} | {
        "aws.events.rule-arn": rule_arn,
        "aws.events.rule-name": rule_arn.rpartition("/")[2],
        "aws.events.event": {key: value for key, value in event.items() if key != "detail"},
        "aws.events.event.json": event,
        "aws.events.event.ingestion-time": event["time"],
    }
    template: str = transformer["InputTemplate"]
    pieces, position, quoted = [], 0, False
    for variable in _VARIABLE.finditer(template):
        between = template[position : variable.start()]
        quoted ^= len(re.findall(r'(?<!\\)"', between)) % 2 == 1
        position = variable.end()
        if variable[1] in values:
            pieces += [between, _shown(values[variable[1]], quoted)]
        else:
            pieces += [between, variable[0]]
    return "".join(pieces) + template[position:]


def _shown(value: Any, quoted: bool) -> str:
    """A value in a template: bare JSON, or text where the template has it between quotes."""
    if not quoted:
        return json.dumps(value)
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
    return json.dumps(text)[1:-1]
