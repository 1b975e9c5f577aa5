"""Where /opt/ml cannot be shown: a job whose source names a path below it would find nothing there."""

import ast
import os
from collections.abc import Iterable
from pathlib import Path

from sagelocal.runtime import sandbox
from sagelocal.runtime.launch import ProcessSpec

READ_AT_MOST = 1 << 20  # bytes of a file that are looked at
FILES_AT_MOST = 2000
SHELL = (".sh", ".bash")


class CannotRun(Exception):
    """The process would not find its files; the message says which line names them, and what to write in its place."""


def check(spec: ProcessSpec) -> None:
    """Raise CannotRun for a process, with its paths translated, whose own programs name a path under /opt/ml."""
    for path in _sources(spec):
        with path.open(errors="replace") as file:
            text = file.read(READ_AT_MOST)
        line = _python_literal(text, spec.env) if path.suffix == ".py" else _shell_literal(text)
        if line:
            shown = path.relative_to(spec.opt_ml) if spec.opt_ml else path
            raise CannotRun(
                f"{sandbox.OPT_ML}/{shown}, line {line}, names a path under {sandbox.OPT_ML}, which this machine "
                "cannot show to a job (it has no namespaces). Take the path from an argument or from a variable, as "
                "SM_MODEL_DIR, SM_CHANNEL_... or SAGEMAKER_BASE_DIR, or run the server on Linux with namespaces "
                "(sagelocal doctor)."
            )


def _sources(spec: ProcessSpec) -> Iterable[Path]:
    """The programs of the tree that the command names, and those in their folders."""
    folders = {Path(spec.cwd), *(Path(word).parent for word in spec.argv if os.path.isfile(word))}
    inside = [folder for folder in folders if spec.opt_ml and folder.is_relative_to(spec.opt_ml / "")]
    seen = 0
    for folder in inside:
        for path in folder.rglob("*"):
            if path.suffix in (".py", *SHELL) and path.is_file():
                seen += 1
                if seen > FILES_AT_MOST:
                    return
                yield path


def _python_literal(text: str, env: dict[str, str]) -> int:
    """The line of the first path under /opt/ml, 0 for none. A default for a variable that is set is none."""
    if sandbox.OPT_ML not in text:
        return 0
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return 0
    defaults = {
        id(node.args[1])
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and len(node.args) == 2 and _is_variable(node.args[0], env)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in defaults:
            if node.value == sandbox.OPT_ML or node.value.startswith(f"{sandbox.OPT_ML}/"):
                if "\n" not in node.value:  # a text of several lines only talks about it
                    return node.lineno
    return 0


def _is_variable(node: ast.expr, env: dict[str, str]) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in env


def _shell_literal(text: str) -> int:
    for number, line in enumerate(text.splitlines(), 1):
        if sandbox.OPT_ML in line.split("#")[0]:
            return number
    return 0
