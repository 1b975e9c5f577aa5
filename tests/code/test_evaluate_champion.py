"""evaluate.py against a champion: the same photos, a paired test, and what cannot be compared."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from breeds.evaluation import champion


def archive(model: Path, folder: Path) -> Path:
    """The folder with model.tar.gz, as a processing job gets it."""
    folder.mkdir()
    with tarfile.open(folder / "model.tar.gz", "w:gz") as tar:
        tar.add(model, arcname=".")
    return folder


@pytest.fixture(scope="module")
def sabotaged(small_model, tmp_path_factory) -> Path:
    """The small model with other weights in its last layer: it guesses."""
    folder = tmp_path_factory.mktemp("sabotaged") / "model"
    shutil.copytree(small_model.model, folder)
    state = torch.load(folder / "model.pth", weights_only=True)
    weight = state["head.output.weight"]
    state["head.output.weight"] = weight[torch.tensor([1, 2, 0])].contiguous()
    torch.save(state, folder / "model.pth")
    return folder


@pytest.fixture
def compared(script, small_model, tmp_path):
    """compared(candidate, champion) -> pawline.champion of the report."""

    def run(candidate: Path, opponent: Path) -> dict:
        output = tmp_path / "evaluation"
        arguments = ("--model", candidate, "--prepared", small_model.prepared, "--output", output)
        done = script("evaluate", *arguments, "--champion", opponent)
        assert done.returncode == 0, done.stderr
        verdict = json.loads((output / "evaluation.json").read_text())["pawline"]["champion"]
        assert f"champion: {verdict['summary']}" in done.stdout
        return verdict

    return run


def test_a_worse_candidate_is_told_from_the_champion_with_both_numbers(compared, small_model, sabotaged, tmp_path):
    verdict = compared(sabotaged, archive(small_model.model, tmp_path / "champion"))
    assert (verdict["compared"], verdict["worse"]) == (True, 1)
    assert verdict["candidate_top1"] < verdict["champion_top1"]
    assert verdict["p_value"] < 0.05
    assert verdict["difference_interval"][1] < 0
    assert (
        f"candidate {verdict['candidate_top1']:.4f} against champion {verdict['champion_top1']:.4f}"
        in (verdict["summary"])
    )


def test_a_better_candidate_is_not_worse(compared, small_model, sabotaged, tmp_path):
    verdict = compared(small_model.model, archive(sabotaged, tmp_path / "champion"))
    assert (verdict["compared"], verdict["worse"]) == (True, 0)
    assert verdict["difference"] > 0


def test_a_champion_with_its_classes_in_another_order_is_compared_by_their_names(compared, small_model, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(small_model.model, other)
    info = json.loads((other / "model.json").read_text())
    order = torch.tensor([2, 0, 1])
    info["classes"] = [info["classes"][i] for i in order.tolist()]
    (other / "model.json").write_text(json.dumps(info))
    state = torch.load(other / "model.pth", weights_only=True)
    for name in ("head.output.weight", "head.output.bias"):
        state[name] = state[name][order].contiguous()
    torch.save(state, other / "model.pth")
    verdict = compared(small_model.model, other)
    assert (verdict["compared"], verdict["difference"], verdict["p_value"]) == (True, 0.0, 1.0)


def test_the_candidate_is_not_compared_with_itself(compared, small_model, tmp_path):
    verdict = compared(small_model.model, archive(small_model.model, tmp_path / "champion"))
    assert verdict == {
        "compared": False, "worse": 0, "summary": "there is no other approved model to compare with",
    }  # fmt: skip


def test_a_champion_of_other_classes_is_named_as_that(compared, small_model, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(small_model.model, other)
    info = json.loads((other / "model.json").read_text())
    info["classes"][0] = "yellow star"
    (other / "model.json").write_text(json.dumps(info))
    verdict = compared(small_model.model, other)
    assert (verdict["compared"], verdict["worse"]) == (False, 0)
    assert "other classes" in verdict["summary"]


def test_a_damaged_champion_stops_nobody_and_is_named(compared, small_model, tmp_path):
    (tmp_path / "champion").mkdir()
    (tmp_path / "champion" / "model.tar.gz").write_bytes(b"no archive")
    verdict = compared(small_model.model, tmp_path / "champion")
    assert (verdict["compared"], verdict["worse"]) == (False, 0)
    assert "cannot be unpacked" in verdict["summary"]


def test_code_in_the_champions_archive_is_not_run(compared, small_model, sabotaged, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(sabotaged, other)
    for path in (other / "code").rglob("*.py"):
        path.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    assert compared(small_model.model, archive(other, tmp_path / "champion"))["compared"]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("least", "trials", "expected"), [(0, 0, 1.0), (5, 5, 1 / 32), (4, 5, 6 / 32), (8, 10, 56 / 1024)]
)
def test_the_exact_test_is_a_binomial_tail(least, trials, expected):
    assert champion.binomial_tail(least, trials) == pytest.approx(expected)


def verdict_of(gained: int, lost: int, both: int = 400, neither: int = 20) -> dict:
    mine = np.array([True] * gained + [False] * lost + [True] * both + [False] * neither)
    theirs = np.array([False] * gained + [True] * lost + [True] * both + [False] * neither)
    return champion.compare(mine, theirs, seed=0)


def test_a_small_loss_is_luck_and_a_clear_one_is_not():
    assert verdict_of(gained=8, lost=12)["worse"] == 0
    assert verdict_of(gained=5, lost=20)["worse"] == 1
    assert verdict_of(gained=20, lost=5)["worse"] == 0


def test_the_interval_of_the_difference_is_about_as_wide_as_theory_has_it():
    found = verdict_of(gained=30, lost=30)
    low, high = found["difference_interval"]
    expected = 2 * 1.96 * np.sqrt(60) / found["num_images"]
    assert high - low == pytest.approx(expected, rel=0.15)


def test_many_photos_cost_no_precision():
    assert champion.binomial_tail(10_050, 20_000) == pytest.approx(0.2420, abs=2e-3)
