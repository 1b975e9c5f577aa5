"""Which module imports which, for tests of the house: read from the files, nothing is imported."""

import ast
from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

Graph = dict[str, set[str]]


def imports_within(package: Path) -> Graph:
    """Each module of a package by its dotted name, and the modules of the package that it imports, also in functions.

    What only a type checker reads does not count, nor does the `__init__` of a package that an import passes through on
    its way to a module.
    """
    files = {_dotted(path, package): path for path in package.rglob("*.py")}
    found: Graph = {name: set() for name in files}
    for name, path in files.items():
        for node in _imports(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names} & set(files)
            elif node.module in files:
                members = {f"{node.module}.{alias.name}" for alias in node.names}
                found[name] |= {member if member in files else str(node.module) for member in members}
    return found


def between(rooms: Callable[[str], str], imports: Graph) -> Graph:
    """The rooms of modules, and the other rooms that they import."""
    found: Graph = {rooms(name): set() for name in imports}
    for name, targets in imports.items():
        found[rooms(name)] |= {rooms(target) for target in targets} - {rooms(name)}
    return found


def assert_no_circle(graph: Graph) -> None:
    """Raises graphlib.CycleError, which names the circle."""
    TopologicalSorter(graph).prepare()


def _imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield from _imports(node)


def _dotted(path: Path, package: Path) -> str:
    return ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")
