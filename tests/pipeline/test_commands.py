"""The table of commands, and the hints that messages print: named as the program was called."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import commands

ROOT = Path(__file__).parents[2]


def run(folder: Path, *command: str, path: str = "/usr/bin:/bin") -> subprocess.CompletedProcess[str]:
    environment = {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """`bin/pawline` in an empty folder: the console script, as an installer writes it."""
    written = tmp_path / "bin" / "pawline"
    written.parent.mkdir()
    written.write_text(f"#!{sys.executable}\nfrom pipeline.cli import main\nmain()\n")
    written.chmod(0o755)
    return written


def test_help_lists_every_command_in_the_order_of_use(tmp_path, script):
    listed = run(tmp_path, "bin/pawline", "--help").stdout
    places = [listed.index(f" {name} ") for name in commands.TABLE]
    assert places == sorted(places)


def test_help_imports_no_command_and_none_of_the_libraries_behind_them(tmp_path):
    program = (
        "import sys; from pipeline.commands import program; program(['--help'], standalone_mode=False); "
        "print(*sys.modules, file=sys.stderr)"
    )
    loaded = set(run(tmp_path, sys.executable, "-c", program).stderr.split())
    assert "pipeline.commands" in loaded
    assert not {name for name in loaded if name.startswith(("boto", "sagemaker", "pipeline.commands."))}


@pytest.mark.parametrize("name", commands.TABLE)
def test_a_command_s_help_begins_with_its_line_in_the_table(name: str):
    assert commands.command(name).help.startswith(commands.TABLE[name].help)


def test_every_module_is_a_command_of_the_table():
    modules = {path.stem for path in (ROOT / "pipeline" / "commands").glob("*.py")} - {"__init__", "shared"}
    assert modules == {name.replace("-", "_") for name in commands.TABLE}


def test_a_command_that_does_not_exist_is_answered_with_the_one_that_was_meant(tmp_path, script):
    done = run(tmp_path, "bin/pawline", "retri")
    assert (done.returncode, "Did you mean 'retry'" in done.stderr) == (2, True)


def hint(done: subprocess.CompletedProcess[str]) -> str:
    """The command that a `predict` without a photo proposes."""
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stderr.splitlines()[-1].partition(" or ")[0]


def test_a_hint_names_the_program_by_the_path_by_which_it_was_called(tmp_path, script):
    assert hint(run(tmp_path, "bin/pawline", "predict")) == "bin/pawline predict --file dog.jpg"


def test_a_hint_names_the_program_alone_where_the_shell_finds_it(tmp_path, script):
    path = f"{script.parent}{os.pathsep}/usr/bin"
    assert hint(run(tmp_path, "pawline", "predict", path=path)) == "pawline predict --file dog.jpg"
    assert hint(run(tmp_path, str(script), "predict", path=path)) == "pawline predict --file dog.jpg"


def test_a_hint_names_the_path_where_the_shell_would_find_another_program(tmp_path, script):
    other = tmp_path / "other" / "pawline"
    other.parent.mkdir()
    shutil.copy(script, other)
    done = run(tmp_path, "bin/pawline", "predict", path=f"{other.parent}{os.pathsep}/usr/bin")
    assert hint(done) == "bin/pawline predict --file dog.jpg"


def test_a_hint_names_the_interpreter_that_runs_the_package(tmp_path):
    folder = Path(sys.executable).parent
    done = run(tmp_path, sys.executable, "-m", "pipeline", "predict")
    assert hint(done) == f"{sys.executable} -m pipeline predict --file dog.jpg"
    done = run(tmp_path, sys.executable, "-m", "pipeline", "predict", path=f"{folder}{os.pathsep}/usr/bin")
    name = Path(sys.executable).name
    assert hint(done) == f"{name} -m pipeline predict --file dog.jpg"


def test_a_hint_is_about_the_account_that_the_command_acts_on(tmp_path, script):
    assert hint(run(tmp_path, "bin/pawline", "predict", "--aws")) == "bin/pawline predict --file dog.jpg --aws"
