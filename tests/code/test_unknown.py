"""The unknown score: what no class claims is told from what one does, and the price is the one agreed on."""

import json

import numpy as np
import pytest
from breeds.model import unknown
from breeds.serving import inference, service

INFO = {
    "classes": ["beagle", "pug", "boxer"],
    "preprocessing": {"image_size": 8, "resize": 8},
    "backbone": "resnet18",
    "trained_at": "2026-11-23T00:00:00+00:00",
    "metrics": {"validation:accuracy": 0.9},
}


def logits(count: int, height: float, seed: int) -> np.ndarray:
    """One class of three stands out by `height`."""
    random = np.random.default_rng(seed)
    found = random.normal(size=(count, 3)).astype(np.float32)
    found[np.arange(count), random.integers(0, 3, count)] += height
    return found


def test_energy_is_the_negative_logsumexp_and_does_not_overflow():
    assert unknown.energy(np.array([[0.0, 0.0]])) == pytest.approx([-np.log(2)])
    assert unknown.energy(np.array([[1000.0, 0.0], [-1000.0, -1001.0]])) == pytest.approx(
        [-1000, 1000 - 0.3133], abs=1e-3
    )


@pytest.mark.parametrize("images", [19, 100, 439])
def test_a_new_photo_like_those_of_validation_is_called_unknown_with_at_most_one_chance_in_twenty(images):
    draws = np.arange(400)
    shares = []
    for seed in draws:
        chosen = {"unknown": unknown.choose_threshold(logits(images, 3, seed))}
        shares.append((unknown.scores(logits(500, 3, 1000 + seed), chosen) > 0).mean())
    assert np.mean(shares) <= 0.05 + 2 * np.std(shares) / np.sqrt(len(draws))
    assert np.mean(shares) >= 0.045 - 2 * np.std(shares) / np.sqrt(len(draws))


def test_of_a_handful_of_validation_photos_none_is_called_unknown():
    few = logits(5, 8, seed=0)
    assert not (unknown.scores(few, {"unknown": unknown.choose_threshold(few)}) > 0).any()


def test_one_in_twenty_validation_photos_is_called_unknown():
    validation = logits(2000, 8, seed=0)
    chosen = unknown.choose_threshold(validation)
    assert (unknown.scores(validation, {"unknown": chosen}) > 0).mean() == pytest.approx(0.05, abs=0.001)
    assert chosen["images"] == 2000


def test_what_no_class_claims_is_unknown():
    chosen = {"unknown": unknown.choose_threshold(logits(2000, 8, seed=0))}
    assert (unknown.scores(logits(500, 0, seed=1), chosen) > 0).mean() > 0.95
    assert (unknown.scores(logits(500, 8, seed=2), chosen) > 0).mean() < 0.1


def test_a_model_without_a_threshold_has_no_scores():
    assert unknown.scores(logits(3, 1, 0), {"unknown": None}) is None
    assert unknown.scores(logits(3, 1, 0), {}) is None


@pytest.mark.parametrize(
    ("known", "strange", "expected"),
    [([0, 1, 2], [3, 4], 1.0), ([3, 4], [0, 1], 0.0), ([0, 2], [1], 0.5), ([1, 1], [1], 0.5)],
)
def test_auroc_is_the_share_of_pairs_in_the_right_order(known, strange, expected):
    assert unknown.auroc(np.array(known), np.array(strange)) == expected


class Fixed:
    """A network that gives these logits for the first, second, … view of a call."""

    form, workers = "fixed", 1

    def __init__(self, rows: list[list[float]]):
        self.rows = np.array(rows, np.float32)

    def __call__(self, views: np.ndarray) -> np.ndarray:
        return self.rows[: len(views)]


def answer(photo: bytes, content_type: str, info: dict, rows: list[list[float]]) -> dict:
    status, content = service.Service(inference.Predictor(Fixed(rows), info)).answer(photo, content_type)
    assert status == 200, content
    return content


def test_an_answer_says_whether_the_photo_is_known(small_model):
    photo = small_model.picture.read_bytes()
    info = INFO | {"unknown": {"score": "energy", "threshold": -5.0, "share": 0.05, "images": 9}}
    sure = answer(photo, "image/jpeg", info, [[9, 0, 0]])
    assert (sure["known"], sure["unknown_score"]) == (True, pytest.approx(-4, abs=0.01))
    lost = answer(photo, "image/jpeg", info, [[1, 0, 0]])
    assert lost["known"] is False
    assert lost["unknown_score"] > 0
    assert lost["predictions"][0]["breed"] == "beagle"


def test_a_model_of_before_is_answered_for_without_a_verdict(small_model):
    given = answer(small_model.picture.read_bytes(), "image/jpeg", INFO, [[9, 0, 0]])
    assert set(given) == {"predictions", "model"}


def test_training_writes_the_threshold_and_evaluation_what_it_does(small_model, script, tmp_path):
    info = inference.load_info(small_model.model)
    assert info["unknown"]["images"] == 18
    done = script(
        "evaluate", "--model", small_model.model, "--prepared", small_model.prepared, "--output", tmp_path / "out"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())["pawline"]["unknown"]
    assert found["threshold"] == info["unknown"]["threshold"]
    assert all(0 <= found[name] <= 1 for name in ("test", "test_right", "noise", "auroc_noise"))
