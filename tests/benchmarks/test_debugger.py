"""The proof of the Debugger rules: trainings that they must tell apart, and the page that shows it."""

import re

import pytest

from benchmarks import debugger, trainings
from benchmarks.scale import filled
from benchmarks.trainings import HEALTHY, SABOTAGED
from contract.rules import PARAMETERS

COLLECTIONS = trainings.default_collections()


def named(name: str) -> trainings.Training:
    (found,) = [training for training in (*SABOTAGED, *HEALTHY) if training.name == name]
    return found


def test_there_are_enough_trainings_of_both_kinds_and_no_two_have_one_name():
    assert len(SABOTAGED) >= 12 and len(HEALTHY) >= 10
    names = [training.name for training in (*SABOTAGED, *HEALTHY)]
    assert len(set(names)) == len(names)
    assert all(training.caught_by for training in SABOTAGED) and not any(each.caught_by for each in HEALTHY)


@pytest.mark.parametrize("name", ["random labels", "NaN in one batch", "a fifth of validation in training"])
def test_a_sabotaged_training_is_caught_by_its_rule_and_blocked(name):
    judged = debugger.judge(named(name), COLLECTIONS)
    assert judged.right and judged.training.caught_by in judged.blocking


@pytest.mark.parametrize("name", ["400 images of 8 classes, 1 epoch", "60 images of 6 classes, 3 epochs"])
def test_a_short_healthy_training_is_not_blocked_and_no_rule_lacks_data(name):
    judged = debugger.judge(named(name), COLLECTIONS)
    assert judged.right and not judged.blocking and judged.accuracy > 0.8


def test_the_cost_is_that_of_pairs_with_and_without_the_hook():
    found = debugger.cost(COLLECTIONS, 2, {"train": 128, "valid": 32})
    assert len(found.ratios) == len(found.cpu_ratios) == 2
    assert found.megabytes > 1 and found.seconds > 0


def test_the_table_marks_the_rule_that_should_and_puts_warnings_in_brackets():
    judged = debugger.Judged(named("200 epochs on 60 images"), "drawn", 0.9667, ["Overfit", "NotLearning"], [])
    row = debugger.table([judged]).splitlines()[-1]
    assert row.startswith("| 200 epochs on 60 images | 0.967 | (X) |") and row.count("+") == 1


def test_the_page_explains_every_rule_with_its_parameters_and_has_a_row_for_every_training():
    page = debugger.PAGE.read_text()
    for name, parameters in PARAMETERS.items():
        row = next((line for line in page.splitlines() if line.startswith(f"| {name} |")), None)
        assert row or f"**{name}**" in page
        missing = [each for each in parameters if row and f"`{each}`" not in row]
        assert not missing, f"{name}: {missing}"
    assert set(re.findall("<!-- table: (.+) -->", page)) == {"sabotaged", "healthy", "cost"}
    assert [each.name for each in (*SABOTAGED, *HEALTHY) if f"| {each.name} |" not in page] == []


def test_the_page_has_a_place_for_the_cost_as_it_was_printed():
    costs = debugger.cost_table([("written", "13.9 MB", "at most 20 MB")])
    page = filled(debugger.PAGE.read_text(), {"cost": costs})
    assert "| what | measured | wanted |\n|---|---|---|\n| written | 13.9 MB | at most 20 MB |" in page
