"""What a template asks for, next to what a stack has: the resources in order, and what must happen to each."""

from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from sagelocal.core.context import Context
from sagelocal.core.json import Json
from sagelocal.services.cloudformation import parameters
from sagelocal.services.cloudformation.documents import ResourceRecord, Stack
from sagelocal.services.cloudformation.expressions import Scope
from sagelocal.services.cloudformation.resource import HANDLERS
from sagelocal.services.cloudformation.template import TemplateError, load


@dataclass(frozen=True)
class Change:
    """`action`: Add, Modify, Remove or Keep; `properties`: names of those that differ; `replacement`: made anew."""

    action: str
    logical_id: str
    type: str
    properties: tuple[str, ...] = ()
    replacement: bool = False
    physical_id: str = ""


@dataclass(frozen=True)
class Wanted:
    """A template with its parameters' values, its conditions decided, its resources in the order of dependencies."""

    text: str
    template: Json
    texts: dict[str, str]
    order: tuple[str, ...]

    def scope(self, context: Context, stack: Stack, resource: Any) -> Scope:
        declared = self.template.get("Parameters", {})
        return Scope(
            values={**parameters.resolved(declared, self.texts), **pseudo(context, stack)},
            resource=resource,
            mappings=self.template.get("Mappings", {}),
            condition_expressions=self.template.get("Conditions", {}),
        )


def pseudo(context: Context, stack: Stack) -> Json:
    """Pseudo parameters."""
    return {
        "AWS::AccountId": context.account,
        "AWS::Region": context.region,
        "AWS::Partition": "aws",
        "AWS::URLSuffix": "amazonaws.com",
        "AWS::StackName": stack["StackName"],
        "AWS::StackId": stack["StackId"],
        "AWS::NotificationARNs": [],
    }


def want(context: Context, stack: Stack, text: str, texts: dict[str, str]) -> Wanted:
    """Check a template as a whole and order its resources. `texts`: parameter values. Raises TemplateError."""
    template = load(text)
    unknown = sorted({resource["Type"] for resource in template["Resources"].values()} - set(HANDLERS))
    if unknown:
        raise TemplateError(f"Template format error: Unrecognized resource types: [{', '.join(unknown)}]")
    referred: set[str] = set()

    def note(logical: str, attribute: str | None) -> str:
        if logical not in included:
            raise _unresolved(logical)
        referred.add(logical)
        return f"{{{logical}.{attribute or 'Ref'}}}"

    scope = Wanted(text, template, texts, ()).scope(context, stack, note)
    resources = template["Resources"]
    included = [n for n, body in resources.items() if "Condition" not in body or scope.condition(body["Condition"])]
    graph: dict[str, set[str]] = {}
    for name in included:
        referred.clear()
        scope.resolve(resources[name].get("Properties", {}))
        graph[name] = {*referred, *(n for n in _depends_on(name, resources) if n in included)}
    for name, output in template.get("Outputs", {}).items():
        if "Condition" not in output or scope.condition(output["Condition"]):
            if "Value" not in output:
                raise TemplateError(f"Template format error: Output {name} needs a Value.")
            scope.resolve(output["Value"])
    try:
        return Wanted(text, template, texts, tuple(TopologicalSorter(graph).static_order()))
    except CycleError as problem:
        names = ", ".join(dict.fromkeys(problem.args[1]))
        raise TemplateError(f"Circular dependency between resources: [{names}]") from None


def changes(context: Context, stack: Stack, wanted: Wanted, present: dict[str, ResourceRecord]) -> list[Change]:
    """All changes in the order in which they are made, removals last. `present`: the stack's resource records."""
    fresh: set[str] = set()

    def look_up(logical: str, attribute: str | None) -> Any:
        if logical in fresh:
            return f"{{{logical}.{attribute or 'Ref'}}}"
        return attribute_of(logical, present[logical], attribute)

    scope = wanted.scope(context, stack, look_up)
    found = []
    for name in wanted.order:
        body = wanted.template["Resources"][name]
        record = present.get(name)
        if record is None or record["Type"] != body["Type"]:
            fresh.add(name)
            found.append(Change("Add", name, body["Type"]))
            continue
        before, after = record["Properties"], scope.resolve(body.get("Properties", {}))
        differing = tuple(sorted(m for m in {*before, *after} if before.get(m) != after.get(m)))
        replacement = bool(HANDLERS[body["Type"]].fixed & set(differing))
        if replacement:
            fresh.add(name)
        action = "Modify" if differing else "Keep"
        found.append(Change(action, name, body["Type"], differing, replacement, record["PhysicalId"]))
    for name, record in reversed(present.items()):
        if name not in wanted.order or record["Type"] != wanted.template["Resources"][name]["Type"]:
            found.append(Change("Remove", name, record["Type"], physical_id=record["PhysicalId"]))
    return found


def attribute_of(logical: str, record: ResourceRecord, attribute: str | None) -> Any:
    """What Ref (None) or Fn::GetAtt gives of a resource that exists. Raises TemplateError."""
    if attribute is None:
        return record["PhysicalId"]
    if attribute not in record["Attributes"]:
        raise TemplateError(
            f"Template error: resource {logical} does not support attribute type {attribute} in Fn::GetAtt"
        )
    return record["Attributes"][attribute]


def _depends_on(name: str, resources: Json) -> list[str]:
    given = resources[name].get("DependsOn", [])
    names = [given] if isinstance(given, str) else given
    missing = [n for n in names if n not in resources]
    if missing:
        raise _unresolved(", ".join(missing))
    return names


def _unresolved(names: str) -> TemplateError:
    what = f"Unresolved resource dependencies [{names}] in the Resources block of the template"
    return TemplateError(f"Template format error: {what}")
