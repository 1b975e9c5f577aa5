"""What an expression gives, as far as that can be known before the pipeline runs: its type, and sometimes its value."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape

from sagelocal.definition import references, shapes
from sagelocal.definition.document import Definition, Step, as_object, objects
from sagelocal.definition.findings import article, shown, suggestion
from sagelocal.definition.parameters import PRIMITIVES
from sagelocal.definition.references import BadReference, Token
from sagelocal.definition.steptypes import STEP_TYPES

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
    function = references.kind(value)
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
    if text.startswith(("ForEach.CurrentItem", "IterationOutput.")):
        return Value(ANY)
    try:
        found = references.parse(text)
    except BadReference as problem:
        fix = "Write Parameters.<name>, Execution.<variable> or Steps.<step>.Member['key'][0]."
        raise Unresolvable(str(problem), fix) from None
    if found.root == "Steps":
        return _property(step_named(definition, found.name, text), found.path, text)
    if found.path:
        raise Unresolvable(f"{text} is a single value.", f"End at {found.root}.{found.name}.")
    if found.root == "Parameters":
        return _parameter(definition, found.name)
    if found.root == "Execution" and found.name not in references.EXECUTION_VARIABLES:
        known = references.EXECUTION_VARIABLES
        way_out = suggestion(found.name, known, f"There are: {', '.join(known)}.")
        raise Unresolvable(f"{text} is no execution variable.", way_out)
    if found.root == "PipelineExperimentConfig" and found.name not in (definition.experiment or {}):
        raise Unresolvable(f"The definition has no {text}.", "Add it to PipelineExperimentConfig.")
    return Value("string", origin=text)


def step_named(definition: Definition, name: str, text: str) -> Step:
    """The step that the reference `text` names. Raises Unresolvable."""
    step = definition.by_name.get(name)
    if step is None:
        way_out = suggestion(name, definition.by_name, "Correct the name.")
        raise Unresolvable(f"{text} names a step that does not exist.", way_out)
    return step


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
    if "PropertyFile" in body and references.kind(body["PropertyFile"]) != "Get":
        way_out = 'Write {"Get": "Steps.<step>.PropertyFiles.<name>"}.'
        raise Unresolvable(f"Std:JsonGet: {shown(body['PropertyFile'])} is no property file.", way_out)
    path = body.get("Path")
    try:
        references.parse_json_path(path if isinstance(path, str) else "")
    except BadReference as problem:
        raise Unresolvable(f"Std:JsonGet: {problem}", "Write its Path like metrics.accuracy[0].value.") from None


def _property(step: Step, path: tuple[Token, ...], text: str) -> Value:
    """The value at `path` of a step's properties."""
    step_type = STEP_TYPES.get(step.type)
    if step_type is None or step_type.open:
        return Value(ANY)
    if not path or path[0].kind != "name":
        raise Unresolvable(f"{text} names a whole step.", f"Name one of its properties: {_properties(step)}.")
    first = str(path[0].value)
    if first == "OutputParameters" and step.type in ("Lambda", "Callback"):
        return _output_parameter(step, path, text)
    if first in step_type.properties:
        if len(path) > 1 and step_type.properties[first] != ANY:
            raise Unresolvable(f"{text}: {first} is a single value.", f"End at Steps.{step.name}.{first}.")
        return Value(step_type.properties[first])
    for operation in step_type.answers:
        answer = shapes.answer_shape(operation)
        if first in answer.members:
            return _descend(step, answer, path, text)
    raise Unresolvable(
        f"{text}: a {step.type} step has no property {first}.",
        suggestion(first, _properties(step).split(", "), f"It has: {_properties(step)}."),
    )


def _properties(step: Step) -> str:
    step_type = STEP_TYPES[step.type]
    answers = [shapes.answer_shape(operation).members for operation in step_type.answers]
    outputs = [f"OutputParameters['{name}']" for name in step.output_parameters]
    return ", ".join([*outputs, *step_type.properties, *itertools.chain(*answers)]) or "none"


def _output_parameter(step: Step, path: tuple[Token, ...], text: str) -> Value:
    outputs = step.output_parameters
    if len(path) != 2 or path[1].kind == "index":
        raise Unresolvable(f"{text} names no output.", f"Write Steps.{step.name}.OutputParameters['name'].")
    key = str(path[1].value)
    if key not in outputs:
        raise Unresolvable(
            f"{text}: {step.name} has no output {shown(key)}.",
            suggestion(key, outputs, "Add it to the step's OutputParameters."),
        )
    return Value(PRIMITIVES.get(outputs[key], ANY))


def _descend(step: Step, shape: Shape, path: tuple[Token, ...], text: str) -> Value:
    """Follow `path` through the members of an output shape."""
    so_far = ""
    for part in path:
        group, token = part.kind, part.value
        if isinstance(shape, StructureShape) and group in ("name", "key"):
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
