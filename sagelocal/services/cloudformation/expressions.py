"""The intrinsic functions: Ref, Fn::GetAtt, Sub, Join, Select, Split, If, FindInMap, Base64 and the conditions.

Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference.html
"""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sagelocal.core.json import Json
from sagelocal.services.cloudformation.template import TemplateError, as_text

Resource = Callable[[str, str | None], Any]  # (logical id, attribute or None for Ref) -> value

_NO_VALUE = object()


@dataclass
class Scope:
    """What expressions may refer to. `values`: parameters and pseudo parameters; `resource` looks resources up."""

    values: Json
    resource: Resource
    mappings: Json = field(default_factory=dict)
    condition_expressions: Json = field(default_factory=dict)
    _conditions: dict[str, bool] = field(default_factory=dict)

    def resolve(self, value: Any) -> Any:
        """`value` with every function replaced by its result. Raises TemplateError."""
        resolved = self._resolve(value)
        return None if resolved is _NO_VALUE else resolved

    def condition(self, name: str) -> bool:
        """The value of a named condition. Raises TemplateError for one that does not exist or refers to itself."""
        if name not in self._conditions:
            if name not in self.condition_expressions:
                raise TemplateError(f"Template format error: Unresolved condition {name}.")
            expression = self.condition_expressions[name]
            self.condition_expressions = {k: v for k, v in self.condition_expressions.items() if k != name}
            self._conditions[name] = self._truth(expression)
        return self._conditions[name]

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, list):
            items = [self._resolve(item) for item in value]
            return [item for item in items if item is not _NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref":
                return self._ref(argument)
            if name in FUNCTIONS:
                return FUNCTIONS[name](self, argument)
            if isinstance(name, str) and name.startswith("Fn::"):
                raise TemplateError(f"Template error: the embedded CloudFormation does not know {name}.")
        members = {name: self._resolve(member) for name, member in value.items()}
        return {name: member for name, member in members.items() if member is not _NO_VALUE}

    def _truth(self, expression: Any) -> bool:
        if isinstance(expression, dict) and len(expression) == 1:
            ((name, argument),) = expression.items()
            if name == "Condition":
                return self.condition(argument)
            if name == "Fn::Equals" and isinstance(argument, list) and len(argument) == 2:
                left, right = (as_text(self.resolve(side)) for side in argument)
                return left == right
            if name == "Fn::Not" and isinstance(argument, list) and len(argument) == 1:
                return not self._truth(argument[0])
            if name == "Fn::And" and isinstance(argument, list):
                return all([self._truth(part) for part in argument])
            if name == "Fn::Or" and isinstance(argument, list):
                return any([self._truth(part) for part in argument])
        raise TemplateError(f"Template format error: {expression} is no condition.")

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NO_VALUE
        return self.values[name] if name in self.values else self.resource(name, None)

    def _get_att(self, argument: Any) -> Any:
        logical, attribute = _arguments("Fn::GetAtt", argument, 2)
        return self.resource(logical, self.resolve(attribute))

    def _sub(self, argument: Any) -> str:
        text, own = (argument, {}) if isinstance(argument, str) else _arguments("Fn::Sub", argument, 2)
        own = {name: self.resolve(value) for name, value in own.items()}

        def replaced(match: re.Match[str]) -> str:
            name = match[1].strip()
            if name.startswith("!"):
                return f"${{{name[1:]}}}"
            if name in own:
                return as_text(own[name])
            logical, _, attribute = name.partition(".")
            if attribute and name not in self.values:
                return as_text(self.resource(logical, attribute))
            return as_text(self._ref(name))

        closed = text.rfind("}") + 1  # behind it each "${" would look for its end in vain, as far as the text goes
        return str(re.sub(r"\$\{([^}]*)\}", replaced, text[:closed]) + text[closed:])

    def _join(self, argument: Any) -> str:
        delimiter, values = _arguments("Fn::Join", argument, 2)
        items = self.resolve(values)
        if not isinstance(items, list):
            raise TemplateError("Template error: every Fn::Join object requires a list of strings to be joined.")
        return str(delimiter).join(as_text(item) for item in items)

    def _select(self, argument: Any) -> Any:
        index, values = _arguments("Fn::Select", argument, 2)
        number, items = int(self.resolve(index)), self.resolve(values)
        if not isinstance(items, list) or not 0 <= number < len(items):
            raise TemplateError(f"Template error: Fn::Select cannot select nonexistent value at index {number}.")
        return items[number]

    def _split(self, argument: Any) -> list[str]:
        delimiter, text = _arguments("Fn::Split", argument, 2)
        return as_text(self.resolve(text)).split(delimiter)

    def _if(self, argument: Any) -> Any:
        name, then, otherwise = _arguments("Fn::If", argument, 3)
        return self._resolve(then if self.condition(name) else otherwise)

    def _find_in_map(self, argument: Any) -> Any:
        mapping, first, second = (self.resolve(part) for part in _arguments("Fn::FindInMap", argument, 3))
        try:
            return self.mappings[mapping][first][second]
        except KeyError:
            raise TemplateError(f"Template error: Unable to get mapping for {mapping}::{first}::{second}") from None

    def _base64(self, argument: Any) -> str:
        return base64.b64encode(as_text(self.resolve(argument)).encode()).decode()


FUNCTIONS: dict[str, Callable[[Scope, Any], Any]] = {
    "Fn::GetAtt": Scope._get_att,
    "Fn::Sub": Scope._sub,
    "Fn::Join": Scope._join,
    "Fn::Select": Scope._select,
    "Fn::Split": Scope._split,
    "Fn::If": Scope._if,
    "Fn::FindInMap": Scope._find_in_map,
    "Fn::Base64": Scope._base64,
}


def _arguments(function: str, argument: Any, count: int) -> list[Any]:
    if not isinstance(argument, list) or len(argument) != count:
        raise TemplateError(f"Template error: {function} takes a list of {count} arguments, not {argument!r}.")
    return argument
