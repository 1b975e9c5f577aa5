"""Where /opt/ml cannot be shown: a job whose source names a path below it would find nothing there."""

import ast
from pathlib import Path

from sagelocal.runtime import sandbox
from sagelocal.runtime.launch import ProcessSpec

READ_AT_MOST = 1 << 20  # bytes of a file that are looked at
WAY_OUT = (
    "which this machine cannot show to a job (it has no namespaces). Take the path from an argument or a variable, as "
    "SM_MODEL_DIR, SM_CHANNEL_... or SAGEMAKER_BASE_DIR, or run the server on Linux with namespaces (sagelocal doctor)."
)


class CannotRun(Exception):
    """The process would not find its files; the message says which line names them, and what to write in its place."""


def check(spec: ProcessSpec) -> None:
    """Raise CannotRun for a process, with its paths translated, whose own programs name a path under /opt/ml."""
    if spec.opt_ml is None:
        return
    words = [Path(spec.cwd, word) for word in spec.argv]
    wanted = [path for path in words if path.is_relative_to(spec.opt_ml) and path.is_file()]
    roots = [Path(spec.cwd), *(path.parent for path in wanted)]
    seen = set()
    while wanted:
        path = wanted.pop()
        if path in seen:
            continue
        seen.add(path)
        with path.open(errors="replace") as file:
            text = file.read(READ_AT_MOST)
        tree = _parsed(text) if path.suffix == ".py" else None
        if path.suffix in (".sh", ".bash"):
            line = _shell_literal(text)
        else:
            line = _python_literal(tree, spec.env) if tree else 0
        if line:
            shown = f"{sandbox.OPT_ML}/{path.relative_to(spec.opt_ml)}"
            raise CannotRun(f"{shown}, line {line}, names a path under {sandbox.OPT_ML}, {WAY_OUT}")
        wanted += _imported(tree, [*roots, path.parent]) if tree else []


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):  # Python will say so itself
        return None


def _python_literal(tree: ast.Module, env: dict[str, str]) -> int:
    """The line of the first path under /opt/ml, 0 for none. A default for a variable that is set is none."""
    nodes = list(ast.walk(tree))
    defaults = {
        id(node.args[1])
        for node in nodes
        if isinstance(node, ast.Call)
        and len(node.args) == 2
        and isinstance(node.args[0], ast.Constant)
        and node.args[0].value in env
    }
    lines = [
        node.lineno
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in defaults
        if f"{node.value}/".startswith(f"{sandbox.OPT_ML}/") and "\n" not in node.value  # a longer text talks about it
    ]
    return min(lines, default=0)


def _shell_literal(text: str) -> int:
    lines = enumerate(text.splitlines(), 1)
    return next((number for number, line in lines if sandbox.OPT_ML in line.partition("#")[0]), 0)


def _imported(tree: ast.Module, folders: list[Path]) -> list[Path]:
    """The files of the job's own modules that a module imports."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [node.module or "", *(f"{node.module or ''}.{alias.name}".lstrip(".") for alias in node.names)]
    places = [folder / name.replace(".", "/") for folder in folders for name in names if name]
    files = [file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")]
    return [file for file in files if file.is_file()]
