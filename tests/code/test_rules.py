"""SageMaker's first four rules, on tensors that the real hook saved from real trainings."""

import numpy as np
import pytest
import torch
from breeds.base.container import InputError
from breeds.debugger import hook, rules
from breeds.debugger.rules import RULES, NoUsableData
from torch import nn

from contract import rules as known
from contract.rules import DEFAULT_RULES


def statuses(directory, **parameters) -> dict[str, int]:
    trial = rules.open_trial(directory)
    return {name: len(RULES[name](trial, **parameters.get(name, {})).findings()) for name in DEFAULT_RULES}


def test_the_names_known_without_smdebug_are_those_of_the_rules():
    assert tuple(RULES) == known.RULES


def test_a_healthy_training_fires_no_rule(train, make_features, hook_configuration, tmp_path, monkeypatch):
    monkeypatch.setenv("SMDEBUG_CONFIG_FILE_PATH", str(hook_configuration(tmp_path, tmp_path / "tensors")))
    data = make_features(tmp_path / "f", num_train=600, num_valid=200, dim=64, separation=0.6, views=4)
    train("--features", data, "--model-dir", tmp_path / "m", "--hidden-width", 128)
    assert statuses(tmp_path / "tensors") == dict.fromkeys(DEFAULT_RULES, 0)


def test_random_labels_fire_overfit(train, make_features, hook_configuration, tmp_path, monkeypatch):
    monkeypatch.setenv("SMDEBUG_CONFIG_FILE_PATH", str(hook_configuration(tmp_path, tmp_path / "tensors")))
    data = make_features(tmp_path / "f", num_train=300, num_valid=200, dim=64, separation=0, views=1)
    train("--features", data, "--model-dir", tmp_path / "m", "--dropout", 0, "--batch-size", 32, "--patience", 8)
    assert statuses(tmp_path / "tensors")["Overfit"] > 0


def test_tiny_initial_weights_fire_poor_weight_initialization(save_head_training):
    def shrink(head):
        for parameter in head.parameters():
            parameter.data *= 1e-5

    findings = RULES["PoorWeightInitialization"](save_head_training(shrink)).findings()
    assert findings[0].tensor.startswith("gradient/Head_")
    assert findings[0].value < findings[0].threshold == 0.001


def test_dead_units_fire_vanishing_gradient_and_name_the_layer_behind_them(save_head_training):
    findings = RULES["VanishingGradient"](save_head_training(lambda head: head.hidden.bias.data.fill_(-1e4))).findings()
    assert {finding.tensor for finding in findings} >= {"gradient/Head_hidden.weight", "gradient/Head_hidden.bias"}
    assert findings[0].step == 0
    assert findings[0].value == 0


def test_layers_of_very_different_activations_fire_poor_weight_initialization(
    tmp_path, hook_configuration, monkeypatch
):
    class TwoLayers(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.relu1 = nn.Linear(8, 32), nn.ReLU()
            self.second, self.relu2, self.last = nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2)

        def forward(self, x):
            return self.last(self.relu2(self.second(self.relu1(self.first(x)))))

    collections = [
        {"CollectionName": "losses", "CollectionParameters": {"save_interval": "1"}},
        {"CollectionName": "gradients", "CollectionParameters": {"save_interval": "1"}},
        {
            "CollectionName": "relu_input",
            "CollectionParameters": {"include_regex": ".*relu\\d_input", "save_interval": "1"},
        },
    ]
    configuration = hook_configuration(tmp_path, tmp_path / "tensors", collections)
    monkeypatch.setenv("SMDEBUG_CONFIG_FILE_PATH", str(configuration))
    torch.manual_seed(0)
    model, criterion, debugger = TwoLayers(), nn.CrossEntropyLoss(), hook.create()
    model.second.weight.data *= 100
    debugger.register(model, criterion)
    debugger.train()
    for _ in range(3):
        criterion(model(torch.randn(16, 8)), torch.randint(2, (16,))).backward()
    debugger.close()
    findings = RULES["PoorWeightInitialization"](rules.open_trial(tmp_path / "tensors")).findings()
    assert findings[0].tensor == "relu2_input_0"
    assert findings[0].value > 10


def test_overfit_compares_each_evaluation_with_the_training_before_it(save_losses):
    trial = save_losses([((4, 2), (3.2,)), ((1, 1), (1.09,)), ((1, 0.6), (0.9,))])
    findings = RULES["Overfit"](trial).findings()
    assert [(f.step, pytest.approx(f.value)) for f in findings] == [(8, pytest.approx(0.125))]


def test_overfit_waits_for_its_patience_and_start_step(save_losses):
    trial = save_losses([((1,), (2,)), ((1,), (1,)), ((1,), (2,)), ((1,), (2,))])
    assert [f.step for f in RULES["Overfit"](trial).findings()] == [1, 5, 7]
    assert [f.step for f in RULES["Overfit"](trial, patience=2).findings()] == [7]
    assert [f.step for f in RULES["Overfit"](trial, start_step=6).findings()] == [7]
    assert RULES["Overfit"](trial, ratio_threshold=1.0).findings() == []


def test_overtraining_counts_epochs_without_improvement_not_batches(save_losses):
    jumping = [((3, 1, 3, 1, 3, 1), (2,))] + [((1 - e / 10, 2 - e / 10, 1, 2, 1, 2), (2 - e / 10,)) for e in range(4)]
    assert RULES["Overtraining"](save_losses(jumping)).findings() == []


def test_overtraining_fires_when_the_training_loss_stands_still_for_five_epochs(save_losses):
    trial = save_losses([((1.0,), (1.0,))] + [((0.5,), (1.0,))] + [((0.495,), (1.0 - e / 10,)) for e in range(5)])
    findings = RULES["Overtraining"](trial).findings()
    assert [f.step for f in findings] == [12]
    assert findings[0].value == pytest.approx(0.495)
    assert RULES["Overtraining"](trial, delta=0.001).findings() == []


def loss_findings(trial) -> list:
    return [f for f in RULES["PoorWeightInitialization"](trial).findings() if "loss" in f.text]


def test_a_loss_that_does_not_fall_at_first_fires_poor_weight_initialization(save_losses):
    (finding,) = loss_findings(save_losses([((2, 2, 2.1, 2, 2, 2, 2, 2.2, 2, 2), (2,))]))
    assert "not below the first 5 steps'" in finding.text
    assert (finding.step, finding.value) == (9, pytest.approx(2.04))


def test_a_loss_that_falls_fast_and_bounces_is_no_poor_initialization(save_losses):
    assert not loss_findings(save_losses([((4, 1, 1.5, 1.6, 1.4, 1.5, 1.3, 1.2, 1.3, 1.2), (1,))]))


def test_a_huge_initialisation_fires_although_its_loss_falls_fast(save_head_training):
    def enlarge(head):
        for parameter in head.parameters():
            parameter.data *= 30

    findings = loss_findings(save_head_training(enlarge, learning_rate=1e-2, evaluate=True))
    assert any("that of guessing" in finding.text for finding in findings)


def test_a_training_that_goes_on_from_learned_weights_is_not_judged_as_initial(save_head_training):
    def learn(head):
        head.output.weight.data *= 0
        head.output.bias.data *= 0
        head.hidden.weight.data = torch.eye(64, 32) * 4
        head.output.weight.data[0, :2] = torch.tensor([-9.0, -9.0])
        head.output.weight.data[1, :2] = torch.tensor([9.0, -9.0])
        head.output.weight.data[2, :2] = torch.tensor([-9.0, 9.0])
        head.output.weight.data[3, :2] = torch.tensor([9.0, 9.0])

    trial = save_head_training(learn, learning_rate=1e-9, evaluate=True)
    assert RULES["PoorWeightInitialization"](trial).findings() == []


def test_of_reductions_only_gradients_that_must_be_narrow_fire(save_head_training):
    collections = [
        {"CollectionName": "losses", "CollectionParameters": {"save_interval": "1"}},
        {"CollectionName": "gradients", "CollectionParameters": {"save_interval": "1", "reductions": "min,max"}},
    ]

    def shrink(head):
        for parameter in head.parameters():
            parameter.data *= 1e-5

    narrow = save_head_training(shrink, collections=collections)
    assert any("gradient/Head_hidden" in f.tensor for f in RULES["PoorWeightInitialization"](narrow).findings())
    with pytest.raises(NoUsableData):
        RULES["DeadRelu"](narrow).findings()


def test_a_rule_is_an_smdebug_rule_that_is_true_at_its_findings(save_losses):
    from smdebug.exceptions import RuleEvaluationConditionMet

    rule = RULES["Overfit"](save_losses([((1,), (1,)), ((1,), (2,))]))
    rule.invoke(1)
    with pytest.raises(RuleEvaluationConditionMet):
        rule.invoke(3)


def test_a_trial_without_what_a_rule_needs_is_no_data_rather_than_no_issue(
    tmp_path, hook_configuration, train, make_features, monkeypatch
):
    collections = [
        {"CollectionName": "losses", "CollectionParameters": {"train.save_interval": "1", "eval.start_step": "999"}}
    ]
    configuration = hook_configuration(tmp_path, tmp_path / "tensors", collections)
    monkeypatch.setenv("SMDEBUG_CONFIG_FILE_PATH", str(configuration))
    train("--features", make_features(tmp_path / "f"), "--model-dir", tmp_path / "m", "--epochs", 1)
    trial = rules.open_trial(tmp_path / "tensors")
    for name, message in {
        "Overfit": "no evaluation follows",
        "VanishingGradient": "no gradients were saved",
        "PoorWeightInitialization": "no gradients were saved",
    }.items():
        with pytest.raises(NoUsableData, match=message):
            RULES[name](trial).findings()


def test_not_a_number_fires_rather_than_passes(save_losses):
    trial = save_losses([((1, np.nan), (1,)), ((1,), (np.nan,))])
    assert RULES["Overfit"](trial).findings()


def test_an_unknown_parameter_of_a_rule_is_refused(save_losses):
    trial = save_losses([((1,), (1,))])
    with pytest.raises(InputError, match="Overfit has no parameter 'ratio'.*ratio_threshold"):
        RULES["Overfit"](trial, ratio=1)
    with pytest.raises(InputError, match="Overfit.patience cannot be 'x'. It must be a whole number"):
        RULES["Overfit"](trial, patience="x")


@pytest.mark.parametrize("content", ["", "collections"])
def test_a_directory_without_tensors_is_no_data(tmp_path, content):
    (tmp_path / "t" / content).mkdir(parents=True)
    with pytest.raises(NoUsableData):
        rules.open_trial(tmp_path / "t")
