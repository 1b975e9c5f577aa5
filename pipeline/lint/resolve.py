"""What an expression gives, as far as that can be known before the pipeline runs: its type, and sometimes its value."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape

from pipeline.lint import expressions, service
from pipeline.lint.document import Definition, Step, as_object, objects
from pipeline.lint.findings import article, shown, suggestion
from pipeline.lint.steptypes import EXECUTION_VARIABLES, PRIMITIVES, STEP_TYPES

ANY = "any"
_NORMAL = {"long": "integer", "double": "float"}


@dataclass(frozen=True)
class Value:
    """`type` is a botocore type name or "any"; `known` are values it can have: a parameter's default and choices."""

    type: str
    known: tuple[Any, ...] = ()
    origin: str = ""


class Unresolvable(Exception):
    """A reference to something that is not there, or an expression that is not one."""

    def __init__(self, message: str, fix: str):
        super().__init__(message)
        self.message, self.fix = message, fix


def value_of(definition: Definition, value: Any) -> Value:
    """The type and the known values of a JSON value, which may be an expression. Raises Unresolvable."""
    function = expressions.kind(value)
    if function == "Get":
        return reference(definition, value["Get"])
    if function == "Std:Join":
        return _join(definition, value[function])
    if function == "Std:JsonGet":
        _check_json_get(value[function])
        return Value(ANY)
    return Value(json_type(value), (value,))


def json_type(value: Any) -> str:
    """The botocore type name of a JSON literal."""
    names = {bool: "boolean", int: "integer", float: "float", str: "string", list: "list", dict: "structure"}
    return names.get(type(value), "null")


def fits(given: str, wanted: str) -> bool:
    """Whether a value of type `given` may fill a field of type `wanted`; AWS converts whole numbers to floats only."""
    given, wanted = _NORMAL.get(given, given), _NORMAL.get(wanted, wanted)
    if ANY in (given, wanted) or wanted in ("timestamp", "blob"):
        return True
    return given == wanted or (given, wanted) in {("integer", "float"), ("structure", "map"), ("map", "structure")}


def reference(definition: Definition, text: str) -> Value:
    """What `{"Get": text}` gives. Raises Unresolvable."""
    root, _, rest = text.partition(".")
    if root == "Parameters":
        return _parameter(definition, rest)
    if root == "Execution":
        if rest not in EXECUTION_VARIABLES:
            way_out = suggestion(rest, EXECUTION_VARIABLES, f"There are: {', '.join(EXECUTION_VARIABLES)}.")
            raise Unresolvable(f"Execution.{rest} is no execution variable.", way_out)
        return Value("string", origin=text)
    if text.startswith(("ForEach.CurrentItem", "IterationOutput.")):
        return Value(ANY)
    name, path = expressions.step_path(text)
    if not name:
        raise Unresolvable(f"{shown(text)} is no reference.", "Begin it with Parameters., Steps. or Execution.")
    step = definition.step(name)
    if step is None:
        known = [step.name for step in definition.steps]
        raise Unresolvable(f"{text} names a step that does not exist.", suggestion(name, known, "Correct the name."))
    return _property(step, path, text)


def _parameter(definition: Definition, name: str) -> Value:
    entry = definition.parameter(name)
    if entry is None:
        known = [entry["Name"] for entry in definition.parameters]
        way_out = suggestion(name, known, "Add it to Parameters.")
        raise Unresolvable(f"Parameters.{name} does not exist.", way_out)
    choices = entry.get("EnumValues")
    known = [entry["DefaultValue"]] if entry.get("DefaultValue") is not None else []
    known += [value for value in (choices if isinstance(choices, list) else []) if value not in known]
    return Value(PRIMITIVES.get(str(entry.get("Type")), ANY), tuple(known), f"Parameters.{name}")


def _join(definition: Definition, body: Any) -> Value:
    on, parts = as_object(body).get("On", ""), as_object(body).get("Values")
    if not isinstance(on, str) or not isinstance(parts, list):
        raise Unresolvable("Std:Join needs On, a text, and Values, a list.", 'Write {"On": "/", "Values": […]}.')
    texts = []
    for part in parts:
        value = value_of(definition, part)
        if value.type in ("structure", "list", "map", "null"):
            raise Unresolvable(
                f"Std:Join cannot join {shown(part)}: it is {article(value.type)}.", "Join texts and numbers."
            )
        texts.append(str(value.known[0]) if value.known and isinstance(value.known[0], str | int) else None)
    whole = None if None in texts else on.join(text for text in texts if text is not None)
    return Value("string", () if whole is None else (whole,), "Std:Join")


def _check_json_get(body: Any) -> None:
    body = as_object(body)
    if ("PropertyFile" in body) == ("S3Uri" in body):
        raise Unresolvable("Std:JsonGet needs either PropertyFile or S3Uri.", "Give one of the two.")
    if not expressions.is_json_path(body.get("Path")):
        raise Unresolvable(
            f"Std:JsonGet cannot read the Path {shown(body.get('Path'))}.", "Write it like metrics.accuracy[0].value."
        )


def _property(step: Step, path: str, text: str) -> Value:
    """The value at `path` of a step's properties."""
    tokens = expressions.tokens(path)
    if tokens is None:
        raise Unresolvable(f"{shown(text)} cannot be read.", "Write .Member, ['key'] and [0] behind the step's name.")
    step_type = STEP_TYPES.get(step.type)
    if step_type is None or step_type.open:
        return Value(ANY)
    if not tokens or tokens[0][0] != "name":
        raise Unresolvable(f"{text} names a whole step.", f"Name one of its properties: {_properties(step)}.")
    first = str(tokens[0][1])
    if first == "OutputParameters" and step.type in ("Lambda", "Callback"):
        return _output_parameter(step, tokens, text)
    if first in step_type.properties:
        return Value(step_type.properties[first])
    for operation in step_type.answers:
        answer = service.answer_shape(operation)
        if first in answer.members:
            return _descend(step, answer, tokens, text)
    raise Unresolvable(
        f"{text}: a {step.type} step has no property {first}.",
        suggestion(first, _properties(step).split(", "), f"It has: {_properties(step)}."),
    )


def _properties(step: Step) -> str:
    step_type = STEP_TYPES[step.type]
    answers = [service.answer_shape(operation).members for operation in step_type.answers]
    outputs = [f"OutputParameters['{name}']" for name in output_parameters(step)]
    return ", ".join([*outputs, *step_type.properties, *itertools.chain(*answers)]) or "none"


def output_parameters(step: Step) -> dict[str, str]:
    """Name → type of what a Lambda or Callback step gives back."""
    entries = objects(step.own.get("OutputParameters"))
    return {str(entry.get("OutputName")): str(entry.get("OutputType")) for _, entry in entries}


def _output_parameter(step: Step, tokens: list[tuple[str, str | int]], text: str) -> Value:
    outputs = output_parameters(step)
    if len(tokens) != 2 or tokens[1][0] != "key":
        raise Unresolvable(f"{text} names no output.", f"Write Steps.{step.name}.OutputParameters['name'].")
    key = str(tokens[1][1])
    if key not in outputs:
        raise Unresolvable(
            f"{text}: {step.name} has no output {shown(key)}.",
            suggestion(key, outputs, "Add it to the step's OutputParameters."),
        )
    return Value(PRIMITIVES.get(outputs[key], ANY))


def _descend(step: Step, shape: Shape, tokens: list[tuple[str, str | int]], text: str) -> Value:
    """Follow `tokens` through the members of an output shape."""
    so_far = ""
    for group, token in tokens:
        if isinstance(shape, StructureShape) and group == "name":
            if token not in shape.members:
                raise Unresolvable(
                    f"{text}: {so_far or step.type} has no member {token}.",
                    suggestion(token, shape.members, f"It has: {', '.join(shape.members)}."),
                )
            shape = shape.members[token]
        elif isinstance(shape, ListShape) and group in ("index", "key"):
            _check_key(step, so_far, group, token, text)
            shape = shape.member
        elif isinstance(shape, MapShape) and group == "key":
            _check_key(step, so_far, group, token, text)
            shape = shape.value
        elif shape.name == "JobConfigDocument":
            return Value(ANY)  # a JSON text that the service reads itself
        else:
            wanted = {"list": "[0] or ['name']", "map": "['key']", "structure": ".Member"}.get(shape.type_name)
            way_out = f"Write {so_far}{wanted}." if wanted else f"End at {so_far}."
            raise Unresolvable(f"{text}: {so_far} is {article(shape.type_name)}.", way_out)
        so_far += {"name": f".{token}", "key": f"['{token}']", "index": f"[{token}]"}[group]
        so_far = so_far.removeprefix(".")
    return Value(_NORMAL.get(shape.type_name, shape.type_name))


def _check_key(step: Step, where: str, group: str, key: str | int, text: str) -> None:
    """A key of a list or map that the step's own Arguments fill must be one of those they give."""
    known = list(_keys(step, where))
    if group == "key" and known and key not in known:
        raise Unresolvable(
            f"{text}: {step.name} has no {shown(key)} in {where}.",
            suggestion(key, known, f"It has: {', '.join(known)}."),
        )


def _keys(step: Step, where: str) -> Iterator[str]:
    arguments = step.arguments
    if where == "ProcessingOutputConfig.Outputs":
        yield from _names(as_object(arguments.get("ProcessingOutputConfig")).get("Outputs"), "OutputName")
    elif where == "ProcessingInputs":
        yield from _names(arguments.get("ProcessingInputs"), "InputName")
    elif where == "InputDataConfig":
        yield from _names(arguments.get("InputDataConfig"), "ChannelName")
    elif where == "FinalMetricDataList":
        yield from _names(as_object(arguments.get("AlgorithmSpecification")).get("MetricDefinitions"), "Name")
    elif where in ("HyperParameters", "Environment"):
        yield from as_object(arguments.get(where))
    elif (
        where.endswith("TunedHyperParameters") and "TrainingJobDefinition" in arguments and "Autotune" not in arguments
    ):
        ranges = as_object(as_object(arguments.get("HyperParameterTuningJobConfig")).get("ParameterRanges"))
        for entries in ranges.values():
            yield from _names(entries, "Name")


def _names(entries: Any, key: str) -> Iterator[str]:
    return (entry[key] for _, entry in objects(entries) if isinstance(entry.get(key), str))
