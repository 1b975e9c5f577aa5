"""The rooms of code/breeds: who may import whom, and no circle."""

from pathlib import Path

from tests.import_graph import assert_no_circle, between, imports_within

BREEDS = Path(__file__).resolve().parents[2] / "code" / "breeds"
# The other rooms that a room may import, from the lowest to the highest.
ROOMS = {
    "": set(),
    "base": set(),
    "data": {"base"},
    "model": {"base", "data"},
    "debugger": {"base"},
    "training": {"base", "data", "model", "debugger"},
    "serving": {"base", "data", "model"},
    "evaluation": {"base", "data", "model", "serving"},
}


def room(module: str) -> str:
    return ".".join(module.split(".")[1:2])


def test_a_room_imports_only_the_rooms_below_it():
    assert between(room, imports_within(BREEDS)) == ROOMS


def test_no_rooms_import_each_other_in_a_circle():
    assert_no_circle(between(room, imports_within(BREEDS)))


def test_no_files_import_each_other_in_a_circle():
    assert_no_circle(imports_within(BREEDS))
