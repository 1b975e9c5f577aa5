"""A pipeline definition, read as far as it can be: rules and executions work on this and never parse the text again.

Schema: https://github.com/aws-sagemaker-mlops/sagemaker-model-building-pipeline-definition-JSON-schema
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sagelocal.core.json import TooDeep
from sagelocal.core.json import read as read_json
from sagelocal.definition.caching import CacheConfig
from sagelocal.definition.findings import Finding, shown
from sagelocal.definition.parameters import Parameter
from sagelocal.definition.retries import RetryPolicy

TOO_DEEP = Finding(
    step="",
    field="definition",
    message="Lists and objects are nested too deeply to be read.",
    fix="Keep them below some hundred levels.",
    rule="read",
)

# Where a step holds other steps.
NESTED = {"Condition": ("IfSteps", "ElseSteps"), "ForEach": ("ForEachBody",)}


@dataclass(frozen=True)
class PropertyFile:
    """A JSON file that a processing step leaves in one of its outputs, for Std:JsonGet to read."""

    name: str
    output_name: str
    file_path: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One step. `own` is its JSON without the steps nested in it; `inside` are (holding step, name of the list).

    The typed members below hold for a definition without errors; rules look at `own`.
    """

    name: str
    type: str
    own: dict[str, Any]
    inside: tuple[tuple[str, str], ...] = ()

    @property
    def arguments(self) -> dict[str, Any]:
        return as_object(self.own.get("Arguments"))

    @property
    def depends_on(self) -> tuple[str, ...]:
        """The names of the steps in DependsOn."""
        return tuple(map(depended_on, as_list(self.own.get("DependsOn"))))

    @property
    def branch(self) -> tuple[str, str] | None:
        """(condition, the outcome with which this step runs) of the innermost Condition around it."""
        for holder, members in reversed(self.inside):
            if members in NESTED["Condition"]:
                return holder, str(members == "IfSteps")
        return None

    @cached_property
    def cache(self) -> CacheConfig | None:
        return CacheConfig.read(as_object(self.own.get("CacheConfig"))) if self.own.get("CacheConfig") else None

    @cached_property
    def retry(self) -> tuple[RetryPolicy, ...]:
        return tuple(RetryPolicy.read(policy) for _, policy in objects(self.own.get("RetryPolicies")))

    @cached_property
    def property_files(self) -> dict[str, PropertyFile]:
        files = (entry for _, entry in objects(self.own.get("PropertyFiles")))
        return {
            str(file.get("PropertyFileName")): PropertyFile(
                str(file.get("PropertyFileName")), str(file.get("OutputName")), str(file.get("FilePath"))
            )
            for file in files
        }

    @property
    def output_parameters(self) -> dict[str, str]:
        """Name → type of what a Lambda or Callback step gives back."""
        entries = objects(self.own.get("OutputParameters"))
        return {str(entry.get("OutputName")): str(entry.get("OutputType")) for _, entry in entries}


@dataclass(frozen=True, eq=False)
class Definition:
    """A whole document. Steps stand in document order, nested ones behind the step that holds them.

    `unreadable` are the findings about parts that are no parameter and no step, which are left out of the rest.
    """

    root: dict[str, Any]
    size: int
    parameters: list[dict[str, Any]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    unreadable: list[Finding] = field(default_factory=list)

    @cached_property
    def by_name(self) -> dict[str, Step]:
        return {step.name: step for step in reversed(self.steps)}

    @cached_property
    def parameter_types(self) -> dict[str, Parameter]:
        """The parameters as StartPipelineExecution binds them; for a definition without errors."""
        return {entry["Name"]: Parameter.read(entry) for entry in self.parameters}

    @property
    def experiment(self) -> dict[str, Any] | None:
        return as_object(self.root.get("PipelineExperimentConfig")) or None

    def parameter(self, name: str) -> dict[str, Any] | None:
        return next((entry for entry in self.parameters if entry["Name"] == name), None)


class NotADefinition(Exception):
    """The text is no JSON object with Steps; holds the one finding there is to report."""

    def __init__(self, finding: Finding):
        super().__init__(str(finding))
        self.finding = finding


def read(text: str) -> Definition:
    """The definition in `text`. Raises NotADefinition where no rule could work on it."""
    try:
        root = read_json(text, parse_constant=_refuse_constant)
    except TooDeep:
        raise NotADefinition(TOO_DEEP) from None
    except ValueError as problem:
        raise _not_a_definition(f"This is not valid JSON: {problem}.", "Give a definition's text.") from None
    if not isinstance(root, dict):
        raise _not_a_definition(f"This is a JSON {type(root).__name__}.", "A definition is an object with Steps.")
    if not isinstance(root.get("Steps"), list) or not root["Steps"]:
        raise _not_a_definition("The definition has no Steps.", "Add a list of at least one step.", "Steps")
    definition = Definition(root, len(text))
    _read_parameters(definition)
    _read_steps(definition, root["Steps"], "Steps", ())
    return definition


def as_object(value: Any) -> dict[str, Any]:
    """`value` if it is an object, else an empty one: a rule of its own says that it should be one."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def objects(value: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """(index, object) for each object in a list; anything else in it is passed over."""
    return ((index, item) for index, item in enumerate(as_list(value)) if isinstance(item, dict))


def depended_on(entry: Any) -> str:
    """The step that an entry of DependsOn names: a name alone, or {Step, Trigger}."""
    target = entry.get("Step") if isinstance(entry, dict) else entry
    return target if isinstance(target, str) else str(target)


def _read_parameters(definition: Definition) -> None:
    entries = definition.root.get("Parameters")
    entries = [] if entries is None else entries
    if not isinstance(entries, list):
        _unreadable(definition, "Parameters", f"is {shown(entries)}.", "Make it a list of parameters.")
    for index, entry in enumerate(as_list(entries)):
        if isinstance(entry, dict) and isinstance(entry.get("Name"), str):
            definition.parameters.append(entry)
        else:
            _unreadable(
                definition, f"Parameters[{index}]", f"{shown(entry)} is no parameter.", "Give it a Name and a Type."
            )


def _read_steps(definition: Definition, entries: list[Any], path: str, inside: tuple[tuple[str, str], ...]) -> None:
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("Name"), str) or not entry["Name"]:
            _unreadable(definition, f"{path}[{index}]", f"{shown(entry)} is no step.", "Give it a Name and a Type.")
            continue
        name, kind = entry["Name"], entry.get("Type")
        lists = NESTED.get(kind, ()) if isinstance(kind, str) else ()
        arguments = entry.get("Arguments")
        own = dict(entry)
        if lists and isinstance(arguments, dict):
            own["Arguments"] = {key: value for key, value in arguments.items() if key not in lists}
        definition.steps.append(Step(name=name, type=str(kind), own=own, inside=inside))
        for key in lists:
            nested = as_object(arguments).get(key)
            nested = [] if nested is None else nested
            if not isinstance(nested, list):
                finding = Finding(
                    step=name, field=f"Arguments.{key}", message=f"{shown(nested)} is no list.", fix="List the steps."
                )
                definition.unreadable.append(finding)
            _read_steps(definition, as_list(nested), f"{name}.Arguments.{key}", (*inside, (name, key)))


def _unreadable(definition: Definition, where: str, message: str, fix: str) -> None:
    definition.unreadable.append(Finding(step="", field=where, message=message, fix=fix))


def _not_a_definition(message: str, fix: str, where: str = "definition") -> NotADefinition:
    return NotADefinition(Finding(step="", field=where, message=message, fix=fix, rule="read"))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")
