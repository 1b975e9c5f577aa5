"""The rules about what came out: NotLearning, LabelLeak, ClassImbalance; on trainings with the default hook."""

import numpy as np
import pytest
import torch
from breeds.debugger import rules
from breeds.debugger.outcomes import fingerprints, some_values
from breeds.debugger.rules import RULES, NoUsableData
from breeds.debugger.rules.chance import at_least
from breeds.debugger.rules.saved import evaluations


@pytest.fixture
def trained(train, make_features, hook_configuration, tmp_path, monkeypatch):
    """Train on features that `change` (directory -> None) may spoil first; returns the trial."""

    def run(change=lambda directory: None, arguments=(), **features):
        monkeypatch.setenv("SMDEBUG_CONFIG_FILE_PATH", str(hook_configuration(tmp_path, tmp_path / "tensors")))
        features = {"num_train": 600, "num_valid": 200, "dim": 64, "separation": 0.6, "classes": 12, **features}
        data = make_features(tmp_path / "f", **features)
        change(data)
        train("--features", data, "--model-dir", tmp_path / "m", "--hidden-width", 64, *arguments)
        return rules.open_trial(tmp_path / "tensors")

    return run


def found(name, trial, **parameters):
    return RULES[name](trial, **parameters).findings()


def test_a_healthy_training_fires_none(trained):
    trial = trained()
    assert {name: found(name, trial) for name in ("NotLearning", "LabelLeak", "ClassImbalance")} == {
        "NotLearning": [],
        "LabelLeak": [],
        "ClassImbalance": [],
    }


def test_random_labels_at_the_default_dropout_fire_not_learning_with_its_numbers(trained):
    (finding,) = found("NotLearning", trained(separation=0))
    assert finding.value < finding.threshold
    assert "guessing gives" in finding.text and "of 200) is not above" in finding.text


def test_a_model_that_always_names_the_majority_fires(trained):
    def crowd(directory):
        for split in ("train", "valid"):
            path = directory / f"{split}-algo-1-labels.npy"
            labels = np.load(path)
            labels[np.random.default_rng(1).random(len(labels)) < 0.8] = 3
            np.save(path, labels)

    trial = trained(crowd, separation=0)
    assert evaluations(trial)[-1].accuracy > 0.75
    (finding,) = found("NotLearning", trial)
    assert finding.threshold > 0.8


def test_nine_percent_of_133_classes_is_not_learning():
    """The accuracy of the model that once passed as `no issues found`: 75 of 835, where guessing gives 1.2 %."""
    assert at_least(75, 835, 0.012) < 1e-20  # better than guessing without doubt,
    assert at_least(75, 835, 0.012 + 0.1 * 0.988) > 0.9  # and far from a tenth above it


@pytest.mark.parametrize("probability", [0.01, 0.3, 0.99])
@pytest.mark.parametrize(("successes", "trials"), [(0, 7), (3, 7), (7, 7), (40, 100)])
def test_tails_of_the_binomial_distribution_are_exact(successes, trials, probability):
    from math import comb

    exact = sum(
        comb(trials, k) * probability**k * (1 - probability) ** (trials - k) for k in range(successes, trials + 1)
    )
    assert at_least(successes, trials, probability) == pytest.approx(exact, rel=1e-9)


def test_the_tail_of_a_million_images_is_finite():
    assert at_least(500_500, 1_000_000, 0.5) == pytest.approx(0.1588, abs=1e-3)


def test_validation_images_in_the_training_set_fire_label_leak(trained):
    def copy(directory):
        train_x = np.load(directory / "train-algo-1-features.npy")
        valid_x = np.load(directory / "valid-algo-1-features.npy")
        train_x[:, :20] = valid_x[:, :20]
        np.save(directory / "train-algo-1-features.npy", train_x)

    (finding,) = found("LabelLeak", trained(copy))
    assert finding.tensor == "validation_inputs_seen"
    assert finding.value == pytest.approx(0.1)
    assert "10.0% of the validation inputs were trained on" in finding.text


def test_perfect_at_the_first_evaluation_fires_label_leak(trained):
    (finding,) = found("LabelLeak", trained(separation=8, arguments=("--batch-size", 16)))
    assert finding.step < 60
    assert "100.0% of 200 images in 12 classes at the first evaluation" in finding.text


def test_perfect_on_a_few_classes_is_plausible(trained):
    assert found("LabelLeak", trained(separation=8, classes=3, arguments=("--batch-size", 16))) == []


def test_fingerprints_do_not_depend_on_the_batch():
    rows = torch.randn(300, 3, 40, 40)
    together = fingerprints(some_values(rows))
    apart = torch.cat([fingerprints(some_values(part)) for part in rows.split(7)])
    assert torch.equal(together, apart)
    assert len(together.unique()) == 300
    assert torch.equal(some_values(rows.half().float()), some_values(rows.half()))


def test_one_class_with_fifty_times_the_images_fires(trained):
    def crowd(directory):
        labels = np.load(directory / "train-algo-1-labels.npy")
        labels[:] = np.where(np.arange(len(labels)) % 50 == 0, labels, 5)
        np.save(directory / "train-algo-1-labels.npy", labels)

    findings = found("ClassImbalance", trained(crowd))
    assert findings[0].value > 50
    assert "class 5 has" in findings[0].text


def test_a_rare_class_that_is_mispredicted_fires(trained):
    def thin_out(directory):
        labels = np.load(directory / "train-algo-1-labels.npy")
        counts = np.bincount(labels, minlength=12)
        own = np.flatnonzero(labels == 0)
        labels[own[: counts[0] - 10]] = 1
        np.save(directory / "train-algo-1-labels.npy", labels)

    findings = found("ClassImbalance", trained(thin_out, separation=0.3))
    assert {finding.tensor for finding in findings} == {"validation_predictions"}
    assert "images of class 0, which has 10 of 600 training labels" in findings[0].text


def test_too_few_labels_are_no_data(trained):
    with pytest.raises(NoUsableData, match="too few"):
        found("ClassImbalance", trained(num_train=60, num_valid=60))


def test_mixed_targets_count_for_the_label_with_the_larger_part(trained):
    trial = trained(arguments=("--mixup-alpha", 0.2))
    assert found("ClassImbalance", trial) == []
    assert found("NotLearning", trial) == []


@pytest.mark.parametrize("name", ["NotLearning", "LabelLeak", "ClassImbalance"])
def test_without_outcomes_there_is_no_verdict(save_losses, name):
    with pytest.raises(NoUsableData, match="outcomes"):
        found(name, save_losses([((2,), (2,))]))
