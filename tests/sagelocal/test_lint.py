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

from sagelocal.definition import WARNING, errors, lint, read, references, render
from sagelocal.definition.rules import images
from tests.sagelocal.definition_cases import FOLDER, base, find_step, text_of

# sdk.json is what SDK 3.27 itself wrote, with a step of each kind; the others follow its documentation.
FOREIGN = ("abalone", "transform", "callback", "sdk")


def edited(name: str, *edits: list[Any]) -> str:
    return text_of({"definition": name, "edits": edits})


def get(text: str) -> dict[str, str]:
    return {"Get": text}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "not valid JSON"),
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


def test_a_definition_of_more_than_a_mebibyte_is_too_long():
    (finding,) = lint(edited("abalone", ["put", "", "Metadata", {"x": "y" * 1024 * 1024}]))
    assert finding.rule == "size" and not lint(edited("abalone", ["put", "", "Metadata", {"x": "y" * 500_000}]))


def test_one_mistake_gives_one_error():
    rounds = ["put", "AbaloneTrain", "Arguments.HyperParameters.num_round", get("Parameters.Rounds")]
    assert len(errors(lint(edited("abalone", rounds)))) == 1


def test_the_printed_findings_are_counted_and_errors_come_first():
    spare = ["add", "", "Parameters", {"Name": "Spare", "Type": "Float", "DefaultValue": 1}]
    lines = render(lint(edited("abalone", spare, ["put", "AbaloneTrain", "Arguments.RoleArn", "x" * 20]))).splitlines()
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
    original = base(name)
    dice = random.Random(7)
    places = everywhere(original)[1:]
    for path in dice.sample(places, min(250, len(places))):
        document = copy.deepcopy(original)
        here = document
        for key in path[:-1]:
            here = here[key]
        here[path[-1]] = dice.choice(STRANGE)
        assert render(lint(json.dumps(document)))


def test_an_image_is_past_its_end_of_patch_from_the_day_after_the_date_in_the_table():
    definition = read(json.dumps(base("callback")))
    assert not list(images.images_get_patches(definition, date(2027, 7, 20)))
    (finding,) = images.images_get_patches(definition, date(2027, 7, 21))
    assert finding.severity == WARNING and "pytorch 2.13" in finding.message


def test_a_tag_belongs_to_a_version_only_at_a_boundary():
    assert images._begins("2.13-cpu-amzn2023-sagemaker-v1.2", "2.13-cpu-amzn2023-sagemaker")
    assert not images._begins("2.130-cpu", "2.13")


def test_steps_of_a_loop_may_use_its_item_and_its_results():
    document = base("callback")
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
    path = references.parse("Steps.A.a['b.c'][0].d").path
    assert [(token.kind, token.value) for token in path] == [("name", "a"), ("key", "b.c"), ("index", 0), ("name", "d")]


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        *(("a", ("a",)), ("a.b[0].c", ("a", "b", 0, "c")), ("$.a", ("a",)), ("a['b c']", ("a", "b c"))),
        *(('a["b"]', ("a", "b")), ("[0].a", (0, "a")), ("Output1", ("Output1",)), ("$", ())),
    ],
)
def test_json_paths_of_the_documentation_are_read(path, keys):
    assert references.parse_json_path(path) == keys


@pytest.mark.parametrize("path", ["", "a..b", "a.", "a[", "a[x]", "$..a", "a[*]"])
def test_broken_json_paths_are_not(path):
    with pytest.raises(references.BadReference):
        references.parse_json_path(path)


def test_the_sdk_is_not_imported():
    code = (
        "import sys; from sagelocal.definition import lint; lint(sys.stdin.read()); "
        "print('sagemaker' in sys.modules, 'boto3' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=(FOLDER / "base" / "abalone.json").read_bytes(),
        capture_output=True,
        cwd=Path(__file__).parents[2],
        check=True,
    )
    assert done.stdout.split() == [b"False", b"False"]
