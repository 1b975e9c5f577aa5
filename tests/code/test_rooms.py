"""The rooms of code/breeds: who may import whom, and no circle."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

BREEDS = Path(__file__).resolve().parents[2] / "code" / "breeds"
# The other rooms that a room may import, from the lowest to the highest.
ROOMS = {
    "base": set(),
    "data": {"base"},
    "model": {"base", "data"},
    "debugger": {"base"},
    "training": {"base", "data", "model", "debugger"},
    "serving": {"base", "data", "model"},
    "evaluation": {"base", "data", "model", "serving"},
}


def imports_within(package: Path) -> dict[str, set[str]]:
    """Each module of a package by its dotted name, and the modules of the package that it imports, also in functions.

    The `__init__` of a package that an import passes through on its way to a module does not count.
    """
    files = {_dotted(path, package): path for path in package.rglob("*.py")}
    found: dict[str, set[str]] = {name: set() for name in files}
    for name, path in files.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names} & set(files)
            elif isinstance(node, ast.ImportFrom) and node.module in files:
                members = {f"{node.module}.{alias.name}" for alias in node.names}
                found[name] |= {member if member in files else node.module for member in members}
    return found


def _dotted(path: Path, package: Path) -> str:
    return ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")


def between_rooms(imports: dict[str, set[str]]) -> dict[str, set[str]]:
    """The rooms (second part of a module's name) and the other rooms that they import."""

    def room(name: str) -> str:
        return name.split(".")[1]

    found: dict[str, set[str]] = {room(name): set() for name in imports if "." in name}
    for name, targets in imports.items():
        for target in targets:
            if "." in name and "." in target and room(name) != room(target):
                found[room(name)].add(room(target))
    return found


def assert_no_circle(graph: dict[str, set[str]]) -> None:
    """Raises graphlib.CycleError, which names the circle."""
    TopologicalSorter(graph).prepare()


def test_a_room_imports_only_the_rooms_below_it():
    assert between_rooms(imports_within(BREEDS)) == ROOMS


def test_no_rooms_import_each_other_in_a_circle():
    assert_no_circle(between_rooms(imports_within(BREEDS)))


def test_no_files_import_each_other_in_a_circle():
    assert_no_circle(imports_within(BREEDS))
