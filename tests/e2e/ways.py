"""The ways in which tests try a printed command: run in a shell, or checked word by word against what it would call."""

import os
import pty
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import botocore.session
import yaml
from botocore import xform_name

from pipeline import commands, infra, parameters

ROOT = Path(__file__).parents[2]
TAKES_PARAMETERS = ("run", "start", "schedule", "doctor")
ASSIGNMENT = re.compile(r"[A-Za-z_-]+=.*")


@dataclass
class Checkout:
    """A folder like a checkout after `make setup`, with photos, and a shell in it with .venv activated."""

    folder: Path
    values: dict[str, str] = field(default_factory=dict)  # what stands for the pages' placeholders

    @classmethod
    def make(cls, folder: Path) -> "Checkout":
        for name in ("Makefile", "benchmarks", "code", "docs", "infra", "pipeline", "steps", "sagelocal", "lambda"):
            (folder / name).symlink_to(ROOT / name)
        (folder / ".venv").symlink_to(sys.prefix)
        return cls(folder)

    def environment(self, *, activated: bool = True) -> dict[str, str]:
        path = [str(self.folder / ".venv/bin")] if activated else []
        return {"PATH": ":".join([*path, "/usr/bin", "/bin"]), "HOME": str(self.folder), "PYTHONPATH": str(ROOT)}

    def run(
        self, command: str, environment: dict[str, str] | None = None, *, activated: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a line of shell, as printed but for its placeholders. A question is answered with yes."""
        for placeholder, value in self.values.items():
            command = command.replace(placeholder, value)
        answers, terminal = pty.openpty()
        os.write(answers, b"y\n")
        try:
            return subprocess.run(
                ["bash", "-c", command],
                env=self.environment(activated=activated) | (environment or {}),
                cwd=self.folder,
                stdin=terminal,
                capture_output=True,
                text=True,
            )
        finally:
            os.close(answers)
            os.close(terminal)


def words_of(command: str) -> tuple[str, list[str]]:
    """A command of `pawline`, and its words."""
    program, name, *words = shlex.split(command)
    assert Path(program).name == "pawline", command
    assert name in commands.TABLE, f"{name} is no command of pawline"
    return name, words


def parsed(command: str) -> None:
    """The real command takes these words: its options, parameters within their bounds, the template's parameters."""
    name, words = words_of(command)
    commands.command(name).make_context(name, list(words))
    given = parameters.parse_assignments([word for word in words if ASSIGNMENT.fullmatch(word)])
    if name in TAKES_PARAMETERS:
        parameters.check(given)
    if name == "deploy-infra":
        assert set(given) <= _template_parameters()


def made(command: str) -> None:
    """`make` knows the target, and the line of ours that its recipe ends with is one that the real command takes."""
    settings, words = _settings(shlex.split(command))
    environment = os.environ | settings
    dry = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert dry.returncode == 0, dry.stderr
    last = dry.stdout.strip().splitlines()[-1]
    if last.startswith(".venv/bin/pawline "):
        told = subprocess.run(
            ["bash", "-c", last.replace(".venv/bin/pawline", "printf '%s\\n' pawline", 1)],
            env=environment | _settings(words[1:], anywhere=True)[0], capture_output=True, text=True, check=True,
        )  # fmt: skip
        parsed(shlex.join(told.stdout.splitlines()))


def python_options(command: str) -> None:
    """The program is there, and its help has every option that is given."""
    _, *words = shlex.split(command)
    program = words[:2] if words[0] == "-m" else words[:1]
    told = subprocess.run([sys.executable, *program, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert [word for word in words[len(program) :] if word.startswith("--") and word not in told.stdout] == []


def aws_operation(command: str) -> None:
    """AWS's service model has the operation, and the operation has each option as a member. The CLI calls s3 s3api."""
    service, operation, *words = shlex.split(command)[1:]
    model = botocore.session.get_session().get_service_model(service.removesuffix("api"))
    names = {xform_name(name, "-"): name for name in model.operation_names}
    members = {xform_name(member, "-") for member in model.operation_model(names[operation]).input_shape.members}
    assert {word.removeprefix("--") for word in words if word.startswith("--")} <= members


def shell_syntax(command: str) -> None:
    """A shell can read it."""
    subprocess.run(["bash", "-n", "-c", command], check=True)


def _settings(words: list[str], *, anywhere: bool = False) -> tuple[dict[str, str], list[str]]:
    """The NAME=value words at the beginning (or anywhere), and the words after them."""
    settings: dict[str, str] = {}
    rest = list(words)
    for word in words:
        if ASSIGNMENT.fullmatch(word):
            settings[word.partition("=")[0]] = word.partition("=")[2]
            rest.remove(word)
        elif not anywhere:
            break
    return settings, rest


def _template_parameters() -> set[str]:
    class Loader(yaml.SafeLoader):
        """Reads CloudFormation's short forms as nothing."""

    Loader.add_multi_constructor("!", lambda loader, suffix, node: None)
    return set(yaml.load(infra.TEMPLATE.read_text(), Loader)["Parameters"])
