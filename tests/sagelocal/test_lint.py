"""The lint: each broken definition is caught by a message that names step and field; good ones are clean."""

import copy
import json
import random
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from sagelocal.definition import WARNING, errors, lint, read, render
from sagelocal.definition.rules import images

DEFINITIONS = Path(__file__).parents[1] / "definitions"
# sdk.json is what SDK 3.27 itself wrote, with a step of each kind; the others follow its documentation.
FOREIGN = ("abalone", "transform", "callback", "sdk")


def load(name: str) -> dict:
    return json.loads((DEFINITIONS / "base" / f"{name}.json").read_text())


def find_step(document: dict, name: str) -> dict:
    waiting = list(document["Steps"])
    while waiting:
        step = waiting.pop()
        if step["Name"] == name:
            return step
        waiting += step["Arguments"].get("IfSteps", []) + step["Arguments"].get("ElseSteps", [])
    raise KeyError(name)


def place(document: dict, step: str, path: str) -> tuple[Any, Any]:
    """The container and the last key of a dotted path inside a step (or, with step "", inside the document)."""
    here: Any = find_step(document, step) if step else document
    keys = [int(key) if key.isdigit() else key for key in path.split(".")]
    for key in keys[:-1]:
        here = here[key]
    return here, keys[-1]


def edited(name: str, edits: list[list]) -> str:
    """A definition after edits: ["put", step, path, value], ["add", step, path, item], ["drop", step, path]."""
    document = load(name)
    for what, step, path, *value in edits:
        container, key = place(document, step, path)
        if what == "put":
            container[key] = value[0]
        elif what == "add":
            container[key].append(value[0])
        else:
            del container[key]
    return json.dumps(document)


def get(text: str) -> dict[str, str]:
    return {"Get": text}


# Edits of the definitions beside it, each with what the lint has to say about them.
BROKEN = json.loads((DEFINITIONS / "broken.json").read_text())


@pytest.mark.parametrize("name", FOREIGN)
def test_a_definition_that_others_wrote_is_clean(name):
    findings = lint((DEFINITIONS / "base" / f"{name}.json").read_text())
    assert not findings, render(findings)


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case["what"])
def test_a_broken_definition_is_caught_with_step_field_and_fix(case):
    findings = lint(edited(case["definition"], case["edits"]))
    hits = [
        finding
        for finding in findings
        if (finding.step, finding.field, finding.severity) == (case["step"], case["field"], case["severity"])
        and case["message"] in finding.message
        and case["fix"] in finding.fix
    ]
    assert hits, render(findings)
    assert all(str(hit).startswith(f"Step {hit.step}: " if hit.step else hit.field) and hit.rule for hit in hits)
    assert case["severity"] == "error" or not errors(findings), render(findings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "not JSON"),
        ("[]", "JSON list"),
        ("{}", "no Steps"),
        ('{"Steps": []}', "no Steps"),
        ('{"Steps": [{"Name": NaN}]}', "NaN"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_text_that_is_no_definition_gives_one_finding(text, message):
    (finding,) = lint(text)
    assert message in finding.message and finding.fix


@pytest.mark.parametrize("depth", [100, 300, 500, 700, 900, 980, 2000])
def test_no_depth_of_nesting_makes_the_lint_itself_fail(depth):
    step = {"Name": "A", "Type": "Lambda", "FunctionArn": "f", "Arguments": {"x": "DEEP"}}
    text = json.dumps({"Version": "2020-12-01", "Steps": [step]}).replace('"DEEP"', "[" * depth + "]" * depth)
    findings = lint(text)
    assert [finding.rule for finding in findings] in ([], ["read"])


def test_a_definition_of_100_kib_is_too_long():
    (finding,) = lint(edited("abalone", [["put", "", "Metadata", {"x": "y" * 102_400}]]))
    assert finding.rule == "size" and "S3" in finding.fix


def test_one_mistake_gives_one_error():
    rounds = ["put", "AbaloneTrain", "Arguments.HyperParameters.num_round", get("Parameters.Rounds")]
    assert len(errors(lint(edited("abalone", [rounds])))) == 1


def test_the_printed_findings_are_counted_and_errors_come_first():
    spare = ["add", "", "Parameters", {"Name": "Spare", "Type": "Float", "DefaultValue": 1}]
    lines = render(
        lint(edited("abalone", [spare, ["put", "AbaloneTrain", "Arguments.RoleArn", "x" * 20]]))
    ).splitlines()
    assert lines[0].startswith("error    Step AbaloneTrain: Arguments.RoleArn: ")
    assert lines[1].startswith("warning  Parameters.Spare.Name: ")
    assert lines[2] == "1 error, 1 warning."


STRANGE: list[Any] = [
    *(None, True, -1, 1.5, "", "x", [], [[]], [1, None], {}, {"Name": ["x"]}),
    *(get("Steps..x"), get("Steps.x["), {"Get": 1}, {"Std:Join": None}, {"Std:JsonGet": []}),
]


def everywhere(value: Any, path: tuple = ()) -> list[tuple]:
    """The path of every value inside `value`."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(inner for key, item in items for inner in everywhere(item, (*path, key)))]


@pytest.mark.parametrize("name", FOREIGN)
def test_no_value_in_any_place_makes_the_lint_itself_fail(name):
    original = load(name)
    dice = random.Random(7)
    places = everywhere(original)[1:]
    for path in dice.sample(places, min(250, len(places))):
        document = copy.deepcopy(original)
        here = document
        for key in path[:-1]:
            here = here[key]
        here[path[-1]] = dice.choice(STRANGE)
        assert render(lint(json.dumps(document)))


def test_every_metric_definition_is_tried_on_the_recorded_log():
    document = load("callback")
    train = find_step(document, "TrainTrips")["Arguments"]["AlgorithmSpecification"]
    train["MetricDefinitions"] = [{"Name": "rmse", "Regex": "validation:accuracy=([0-9.]+)"}]
    log = (DEFINITIONS / "base" / "train.log").read_text()
    assert not lint(json.dumps(document), {"TrainTrips": log})
    train["MetricDefinitions"][0]["Regex"] = "validation:acc=([0-9.]+)"
    (finding,) = lint(json.dumps(document), {"TrainTrips": log})
    assert finding.step == "TrainTrips" and "matches no line" in finding.message
    train["MetricDefinitions"][0]["Regex"] = "train:(loss)"
    (finding,) = lint(json.dumps(document), {"TrainTrips": log})
    assert "no number" in finding.message


def test_an_image_is_past_its_end_of_patch_from_the_day_after_the_date_in_the_table():
    definition = read(json.dumps(load("callback")))
    assert not list(images.images_get_patches(definition, date(2027, 7, 20)))
    (finding,) = images.images_get_patches(definition, date(2027, 7, 21))
    assert finding.severity == WARNING and "pytorch 2.13" in finding.message


def test_a_tag_belongs_to_a_version_only_at_a_boundary():
    assert images._begins("2.13-cpu-amzn2023-sagemaker-v1.2", "2.13-cpu-amzn2023-sagemaker")
    assert not images._begins("2.130-cpu", "2.13")


def test_a_model_may_be_registered_behind_a_condition_as_well_as_inside_one():
    document = load("abalone")
    register = document["Steps"][-1]["Arguments"]["IfSteps"].pop(0)
    document["Steps"].append(register)
    assert [f.rule for f in errors(lint(json.dumps(document)))] == ["register_is_gated"]
    register["DependsOn"] = ["AbaloneMSECond"]
    assert not errors(lint(json.dumps(document)))


def test_steps_of_a_loop_may_use_its_item_and_its_results():
    document = load("callback")
    document["Steps"].append(
        {
            "Name": "Loop",
            "Type": "ForEach",
            "Arguments": {
                "IterableItems": ["a", "b"],
                "MaxConcurrency": 2,
                "Selector": {"Pick": "MaxBy", "Field": get("IterationOutput.Each.OutputParameters['score']")},
                "ForEachBody": [
                    {
                        "Name": "Each",
                        "Type": "Lambda",
                        "Arguments": {"item": get("ForEach.CurrentItem"), "field": get("ForEach.CurrentItem.a['b']")},
                        "FunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:each",
                        "OutputParameters": [{"OutputName": "score", "OutputType": "Float"}],
                    }
                ],
            },
        }
    )
    find_step(document, "AskForRows")["Arguments"]["count"] = get("Steps.Loop.SucceededStepCount")
    assert not lint(json.dumps(document)), render(lint(json.dumps(document)))


def test_property_paths_are_read_into_their_parts():
    assert tokens(".a['b.c'][0].d") == [("name", "a"), ("key", "b.c"), ("index", 0), ("name", "d")]
    assert tokens(".a[") is None and tokens("..a") is None


@pytest.mark.parametrize("path", ["a", "a.b[0].c", "$.a", "a['b c']", 'a["b"]', "[0].a", "Output1"])
def test_json_paths_of_the_documentation_are_read(path):
    assert is_json_path(path)


@pytest.mark.parametrize("path", ["", "a..b", "a.", "a[", "a[x]", None, 3])
def test_broken_json_paths_are_not(path):
    assert not is_json_path(path)


def test_the_sdk_is_not_imported():
    code = (
        "import sys; from sagelocal.definition import lint; lint(sys.stdin.read()); "
        "print('sagemaker' in sys.modules, 'boto3' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=(DEFINITIONS / "base" / "abalone.json").read_bytes(),
        capture_output=True,
        cwd=Path(__file__).parents[2],
        check=True,
    )
    assert done.stdout.split() == [b"False", b"False"]
