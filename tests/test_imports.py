"""The import table of docs/architecture.md: who may import whom."""

import ast
import re
import sys
from pathlib import Path

import pytest

from tests.import_graph import assert_no_circle, imports_within

ROOT = Path(__file__).parent.parent
ROOMS = {"contract", "pipeline", "steps", "code", "lambda", "sagelocal"}

# What each room may import beside the standard library and itself; `pipeline` may name single modules of another room.
TABLE: dict[str, set[str]] = {
    "contract": set(),
    "steps": {"contract", "sagemaker", "pipeline.parameters", "pipeline.settings"},
    "pipeline": {
        "contract", "steps", "boto3", "botocore", "sagemaker", "typer", "rich", "requests", "PIL", "numpy", "locust",
        "gevent", "matplotlib", "sagelocal.core.lifecycle", "sagelocal.definition",
        "sagelocal.core.terminal", "sagelocal.services.scheduler.expressions",
    },
    "code": {
        "torch", "torchvision", "numpy", "PIL", "smdebug", "fastapi", "starlette", "anyio", "uvicorn",
        "openvino", "nncf", "simplejpeg", "matplotlib", "cycler", "ray", "serve", "breeds", "contract",
    },
    "lambda": {"boto3", "botocore", "aws_lambda_powertools", "contract"},
    "sagelocal": {"botocore", "boto3", "moto", "werkzeug", "optuna", "psutil", "re2", "yaml"} | {
        # botocore's stubs, which only a type checker reads
        f"types_boto3_{service}.type_defs"
        for service in ("application_autoscaling", "cloudwatch", "events", "iam", "lambda", "sagemaker", "scheduler")
    },
}  # fmt: skip

# What single modules may import beyond their room.
ALONE = {"code/breeds/debugger/managed_rules.py": {"boto3"}}

# `code` scripts and a function's modules import their siblings by bare name.
SIBLINGS = {
    room: {path.stem for path in (ROOT / room).rglob("*.py")} | {p.name for p in (ROOT / room).rglob("*") if p.is_dir()}
    for room in ("code", "lambda")
}


def imported(path: Path) -> set[str]:
    """Full names of all modules that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def allowed(name: str, room: str) -> bool:
    top = name.partition(".")[0]
    if room in SIBLINGS and top in SIBLINGS[room]:
        return True
    if top == room and room not in SIBLINGS:
        return True
    if top in sys.stdlib_module_names and top not in ROOMS:
        return True
    return any(name == entry or name.startswith(f"{entry}.") for entry in TABLE[room])


@pytest.mark.parametrize("room", sorted(TABLE))
def test_a_room_imports_only_what_the_table_allows(room: str):
    files = sorted((ROOT / room).rglob("*.py"))
    assert files, f"{room}/ has no Python files"
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in sorted(imported(path) - ALONE.get(path.relative_to(ROOT).as_posix(), set()))
        if not allowed(name, room)
    ]
    assert not wrong


@pytest.mark.parametrize("room", sorted(TABLE))
def test_a_data_file_names_only_programs_of_its_own_room(room: str):
    """An import that hides in data: a path that begins with ./ or ../ leads to a file in the room."""
    for path in [found for kind in ("toml", "json", "yaml") for found in (ROOT / room).rglob(f"*.{kind}")]:
        text = re.sub(r"(?m)^\s*#.*$", "", path.read_text())
        for named in re.findall(r"""["'](\.\.?/[^"' ]+)["']""", text):
            program = (path.parent / named).resolve()
            assert program.is_file() and program.is_relative_to(ROOT / room), f"{path} names {named}"


@pytest.mark.parametrize("package", ["contract", "pipeline", "steps"])
def test_no_files_of_a_room_import_each_other_in_a_circle(package: str):
    assert_no_circle(imports_within(ROOT / package))


@pytest.mark.parametrize("function", ["deploy", "predict", "retrain"])
def test_no_modules_of_a_function_import_each_other_in_a_circle(function: str):
    files = {path.stem: path for path in (ROOT / "lambda" / function).glob("*.py")}
    assert_no_circle(
        {
            name: {part for found in imported(path) for part in found.split(".")[:1]} & set(files) - {name}
            for name, path in files.items()
        }
    )


def test_nothing_at_the_top_of_code_makes_it_a_package():
    assert not (ROOT / "code" / "__init__.py").exists()


def test_steps_do_not_reach_into_the_commands():
    reached = {
        name for path in (ROOT / "steps").glob("*.py") for name in imported(path) if name.startswith("pipeline.")
    }
    assert {name.split(".")[1] for name in reached} <= {"parameters", "settings"}
