"""A template's text as plain dictionaries: JSON, or YAML with the short tags (!Ref, !Sub …) written out."""

from typing import Any

import yaml

from sagelocal.core.errors import AwsError
from sagelocal.core.json import MAX_DEPTH, Json

SECTIONS = {
    *("AWSTemplateFormatVersion", "Description", "Metadata", "Parameters", "Rules", "Mappings", "Conditions"),
    *("Resources", "Outputs", "Transform"),
}
ATTRIBUTES = {
    *("Type", "Properties", "DependsOn", "Condition", "DeletionPolicy", "UpdateReplacePolicy", "Metadata"),
    *("CreationPolicy", "UpdatePolicy"),
}
MAX_INLINE_BYTES = 51_200  # source: CloudFormation quotas, template body in a request


class TemplateError(AwsError):
    """CloudFormation's answer to a template, a parameter or a stack name that does not fit."""

    def __init__(self, message: str):
        super().__init__("ValidationError", message, 400)


def load(text: str) -> Json:
    """The template as a dictionary in long form. Raises TemplateError."""
    if len(text.encode()) > MAX_INLINE_BYTES:
        raise TemplateError(f"Template may not exceed {MAX_INLINE_BYTES} bytes in size in a request.")
    try:
        _check_events(text)
        template = yaml.load(text, _Loader)
    except yaml.YAMLError as problem:
        raise TemplateError(f"Template format error: YAML not well-formed. {' '.join(str(problem).split())}") from None
    if not isinstance(template, dict):
        raise TemplateError("Template format error: unsupported structure.")
    _check(template)
    return template


def as_text(value: Any) -> str:
    """A value where text is wanted: true, not True."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_events(text: str) -> None:
    """Before anything is built: libyaml's loader calls itself for each level, and a deep text ends the process."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.AliasEvent):
            raise TemplateError("Template format error: YAML aliases are not allowed in CloudFormation templates")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise TemplateError(f"Template format error: it has more than {MAX_DEPTH} levels.")


def _check(template: Json) -> None:
    unknown = sorted(set(template) - SECTIONS)
    if unknown:
        raise TemplateError(f"Invalid template property or properties [{', '.join(map(str, unknown))}]")
    if "Transform" in template:
        raise TemplateError("The embedded CloudFormation runs no transforms. Leave out Transform.")
    resources = template.get("Resources")
    if not isinstance(resources, dict) or not resources:
        raise TemplateError("Template format error: At least one Resources member must be defined.")
    for name, resource in resources.items():
        if not isinstance(resource, dict) or not isinstance(resource.get("Type"), str):
            raise TemplateError(f"Template format error: Resource {name} needs a Type.")
        unknown = sorted(set(resource) - ATTRIBUTES)
        if unknown:
            raise TemplateError(f"Template format error: Resource {name} has unknown attributes {', '.join(unknown)}.")


# libyaml where PyYAML was built with it: ten times as fast.
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # its base is known at run time only
    pass


def _short_tag(loader: Any, suffix: str, node: yaml.Node) -> Json:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


def _as_text(loader: Any, node: yaml.Node) -> Any:
    return loader.construct_scalar(node)


_Loader.add_multi_constructor("!", _short_tag)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _as_text)  # a version date is text
