"""Cases of tests/definitions/*.json: small edits of the definitions in base/, and what is to be said of each.

what         the case's name in its file
definition   the file in base/ that is edited
text         in place of a definition and its edits: what is sent, letter by letter
edits        ["put", step, path, value], ["add", step, path, item], ["drop", step, path]; step "" is the document
findings     of lint: "error Train Arguments.RoleArn arguments_fit_the_request"
local        findings that only the server on this machine adds
says         texts that stand in a finding
answer       of CreatePipeline: created or refused
outcome      of an execution: status, steps, reason, reasons (of steps), or the text with which its start is refused
plan         what the jobs of a step end with (fake_jobs.py)
"""

import json
from pathlib import Path
from typing import Any

from sagelocal.definition import Finding

FOLDER = Path(__file__).parents[1] / "definitions"


def all_cases() -> list[tuple[str, dict[str, Any]]]:
    """(name, case), in the order of the files."""
    files = sorted(FOLDER.glob("*.json"))
    return [(f"{path.stem}: {case['what']}", case) for path in files for case in json.loads(path.read_text())]


def text_of(case: dict[str, Any]) -> str:
    if "text" in case:
        return str(case["text"])
    document = base(case["definition"])
    for what, step, path, *value in case["edits"]:
        container, key = place(document, step, path)
        if what == "put":
            container[key] = value[0]
        elif what == "add":
            container[key].append(value[0])
        else:
            del container[key]
    return json.dumps(document)


def base(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / "base" / f"{name}.json").read_text())


def place(document: dict[str, Any], step: str, path: str) -> tuple[Any, Any]:
    """The container and the last key of a dotted path inside a step (or, with step "", inside the document)."""
    here: Any = find_step(document, step) if step else document
    keys = [int(key) if key.isdigit() else key for key in path.split(".")]
    for key in keys[:-1]:
        here = here[key]
    return here, keys[-1]


def find_step(document: dict[str, Any], name: str) -> dict[str, Any]:
    waiting = list(document["Steps"])
    while waiting:
        step = waiting.pop()
        if step["Name"] == name:
            return step
        waiting += step["Arguments"].get("IfSteps", []) + step["Arguments"].get("ElseSteps", [])
    raise KeyError(name)


def short(finding: Finding) -> str:
    """A finding as a case writes it."""
    return " ".join((finding.severity, finding.step or "-", finding.field, finding.rule))
