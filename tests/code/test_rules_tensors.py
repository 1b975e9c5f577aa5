"""SageMaker's other rules about tensors, on what the real hook saved of small networks."""

import numpy as np
import pytest
import torch
from breeds.base.container import InputError
from breeds.debugger import hook
from breeds.debugger.rules import RULES, NoUsableData, open_trial
from torch import nn

EVERYTHING = [
    {"CollectionName": "losses", "CollectionParameters": {"save_interval": "1"}},
    {"CollectionName": "weights", "CollectionParameters": {"save_interval": "1"}},
    {"CollectionName": "gradients", "CollectionParameters": {"save_interval": "1"}},
    {
        "CollectionName": "activations",
        "CollectionParameters": {"include_regex": ".*(relu|sigmoid|tanh)_input", "save_interval": "1"},
    },
]


class Network(nn.Module):
    """Linear, an activation called by its name, linear."""

    def __init__(self, activation: str):
        super().__init__()
        self.first, self.last, self.activation = nn.Linear(8, 32), nn.Linear(32, 3), activation
        setattr(self, activation, {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}[activation]())

    def forward(self, x):
        return self.last(getattr(self, self.activation)(self.first(x)))


@pytest.fixture
def trial_of(tmp_path, hook_configuration, monkeypatch):
    """Train a Network for some steps, after `prepare` had its way with it, and open what was saved."""

    def run(prepare=lambda network: None, activation="relu", learning_rate=0.1, collections=EVERYTHING, steps=4):
        configuration = hook_configuration(tmp_path, tmp_path / "tensors", collections)
        monkeypatch.setenv("SMDEBUG_CONFIG_FILE_PATH", str(configuration))
        torch.manual_seed(0)
        network, criterion, debugger = Network(activation), nn.CrossEntropyLoss(), hook.create()
        prepare(network)
        debugger.register(network, criterion)
        optimizer = torch.optim.SGD(network.parameters(), lr=learning_rate)
        debugger.train()
        for _ in range(steps):
            optimizer.zero_grad()
            criterion(network(torch.randn(64, 8)), torch.randint(3, (64,))).backward()
            optimizer.step()
        debugger.close()
        return open_trial(tmp_path / "tensors")

    return run


def found(name, trial, **parameters):
    return RULES[name](trial, **parameters).findings()


TENSOR_RULES = ("ExplodingTensor", "DeadRelu", "UnchangedTensor", "AllZero", "WeightUpdateRatio", "VanishingGradient")


def test_a_healthy_network_fires_none(trial_of):
    trial = trial_of()
    assert {name: found(name, trial) for name in TENSOR_RULES} == {name: [] for name in TENSOR_RULES}


@pytest.mark.parametrize("name", TENSOR_RULES)
def test_without_its_tensors_a_rule_has_no_verdict(trial_of, name):
    collections = [
        {"CollectionName": "losses", "CollectionParameters": {"save_interval": "1"}},
    ]
    trial = trial_of(collections=collections)
    with pytest.raises(NoUsableData):
        found(name, trial, **({"tensor_regex": "nothing"} if name == "ExplodingTensor" else {}))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_explodes(trial_of, value):
    trial = trial_of(lambda network: network.first.weight.data[3, 3].fill_(value), steps=1)
    findings = found("ExplodingTensor", trial)
    assert "Network_first.weight" in {finding.tensor for finding in findings}
    assert findings[0].step == 0
    assert bool(found("ExplodingTensor", trial, collection_names="weights", only_nan=True)) == np.isnan(value)


def test_a_value_that_is_not_finite_shows_in_reductions_too(trial_of):
    reduced = [
        {"CollectionName": "weights", "CollectionParameters": {"save_interval": "1", "reductions": "mean,l2_norm"}}
    ]
    trial = trial_of(lambda network: network.first.weight.data[3, 3].fill_(np.nan), collections=reduced)
    assert found("ExplodingTensor", trial, collection_names="weights")


def test_dead_relus_are_counted_by_unit(trial_of):
    def kill(units):
        return lambda network: network.first.bias.data[:units].fill_(-1e3)

    findings = found("DeadRelu", trial_of(kill(20)))
    assert findings[0].value == pytest.approx(62.5)
    assert findings[0].threshold == 50
    assert "62 % of the ReLUs behind relu_input_0 are dead at step 0" in findings[0].text


def test_a_few_dead_relus_are_none_of_its_business(trial_of):
    trial = trial_of(lambda network: network.first.bias.data[:10].fill_(-1e3))
    assert found("DeadRelu", trial) == []
    assert found("DeadRelu", trial, threshold_layer=30)


def test_of_reductions_only_a_layer_that_is_all_dead_fires(trial_of):
    reduced = [
        {
            "CollectionName": "relu_input",
            "CollectionParameters": {"include_regex": ".*relu_input", "save_interval": "1", "reductions": "max"},
        }
    ]
    trial = trial_of(lambda network: network.first.bias.data.fill_(-1e3), collections=reduced)
    assert found("DeadRelu", trial)[0].value == 100


@pytest.mark.parametrize(("activation", "scale"), [("tanh", 1e5), ("sigmoid", 1e5)])
def test_saturated_activations_fire(trial_of, activation, scale):
    def enlarge(network):
        network.first.weight.data *= scale

    findings = found("SaturatedActivation", trial_of(enlarge, activation))
    assert findings[0].tensor == f"{activation}_input_0"
    assert findings[0].value > 50


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_activations_between_their_thresholds_do_not(trial_of, activation):
    assert found("SaturatedActivation", trial_of(activation=activation)) == []


def test_weights_that_the_optimizer_does_not_move_fire(trial_of):
    findings = found("UnchangedTensor", trial_of(learning_rate=0.0))
    assert {finding.tensor for finding in findings} == {"Network_first.weight", "Network_last.weight"}
    assert findings[0].step == 2


def test_weights_must_stand_still_for_num_steps(trial_of):
    with pytest.raises(NoUsableData, match="at 5 steps"):
        found("UnchangedTensor", trial_of(learning_rate=0.0), num_steps=5)


def test_weights_that_do_not_move_show_in_reductions_too(
    tmp_path, train, make_features, hook_configuration, monkeypatch
):
    monkeypatch.setenv("SMDEBUG_CONFIG_FILE_PATH", str(hook_configuration(tmp_path, tmp_path / "tensors")))
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: None)
    train("--features", make_features(tmp_path / "f", num_train=300), "--model-dir", tmp_path / "m", "--epochs", 4)
    trial = open_trial(tmp_path / "tensors")
    assert found("UnchangedTensor", trial)
    assert found("LossNotDecreasing", trial)


def test_a_tensor_of_zeros_fires(trial_of):
    trial = trial_of(lambda network: network.last.weight.data.zero_(), learning_rate=0)
    tensors = {finding.tensor for finding in found("AllZero", trial)}
    assert {"Network_last.weight", "gradient/Network_first.weight"} <= tensors
    assert "Network_first.weight" not in tensors


def test_a_share_of_zeros_fires_where_asked(trial_of):
    trial = trial_of(lambda network: network.first.weight.data[:16].zero_(), learning_rate=0)
    assert not found("AllZero", trial, collection_names="weights")
    assert found("AllZero", trial, collection_names="weights", threshold=50)[0].value == pytest.approx(50)


def test_updates_far_larger_than_the_weights_fire(trial_of):
    findings = found("WeightUpdateRatio", trial_of(learning_rate=3e4))
    assert findings[0].value > findings[0].threshold == 10


def test_updates_next_to_nothing_fire(trial_of):
    findings = found("WeightUpdateRatio", trial_of(learning_rate=1e-12))
    assert findings[0].value < findings[0].threshold == 1e-8


def test_variances_are_judged_by_the_thresholds_given(trial_of):
    trial = trial_of()
    with pytest.raises(NoUsableData, match="no threshold was given"):
        found("TensorVariance", trial)
    assert found("TensorVariance", trial, max_threshold=10, min_threshold=1e-5) == []
    assert found("TensorVariance", trial, min_threshold=1)[0].threshold == 1
    assert found("TensorVariance", trial, max_threshold=1e-6, tensor_regex=".*bias", collection_names="")


@pytest.mark.parametrize(
    ("rule", "parameters", "message"),
    [
        ("ExplodingTensor", {"only_nan": "perhaps"}, "must be True or False"),
        ("UnchangedTensor", {"num_steps": "-1"}, "must be a whole number >= 0"),
        ("SaturatedActivation", {"threshold_tanh_min": "low"}, "must be a number"),
        ("TensorVariance", {"max_threshold": "inf"}, "must be a number >= 0"),
        ("AllZero", {"percentage": 5}, "no parameter 'percentage'"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(trial_of, rule, parameters, message):
    with pytest.raises(InputError, match=message):
        RULES[rule](trial_of(steps=1), **parameters)


def test_losses_of_single_batches_may_rise(save_losses):
    noisy = [((3, 2, 3, 2, 3, 2, 3, 2, 3, 2), (2,)), ((2, 1, 2, 1, 2, 1, 2, 1, 2, 1), (1,))]
    assert found("LossNotDecreasing", save_losses(noisy)) == []


def test_a_loss_that_stands_still_from_the_start_fires(save_losses):
    (finding,) = found("LossNotDecreasing", save_losses([((2.0,) * 10, (2,)), ((1.999,) * 10, (2,))]))
    assert finding.step == 20
    assert "has not fallen from 2 at the start" in finding.text


def test_a_loss_that_rises_again_fires(save_losses):
    epochs = [((2.0,) * 10, (2,)), ((1.0,) * 10, (2,)), ((1.2,) * 10, (2,))]
    (finding,) = found("LossNotDecreasing", save_losses(epochs))
    assert "has risen from 1" in finding.text
    assert finding.threshold == pytest.approx(1.1)


def test_a_plateau_after_the_descent_is_no_finding(save_losses):
    assert found("LossNotDecreasing", save_losses([((2.0,) * 10, (2,)), *[((1.0,) * 10, (2,))] * 4])) == []


def test_a_short_training_is_judged_by_its_halves(save_losses):
    assert found("LossNotDecreasing", save_losses([((2.0, 1.9), (2,)), ((1.5, 1.4), (2,))])) == []


def test_a_short_training_that_stands_still_fires(save_losses):
    assert found("LossNotDecreasing", save_losses([((2.0, 2.0), (2,)), ((2.0, 2.0), (2,))]))


def test_too_few_losses_are_no_data(save_losses):
    with pytest.raises(NoUsableData):
        found("LossNotDecreasing", save_losses([((2.0,), (2,))]))


NOISY = (0.5, 1.5) * 6  # mean 1.0, standard error 0.14


@pytest.mark.parametrize(("rise", "fires"), [(0.3, False), (0.9, True)])
def test_a_rise_counts_if_it_is_larger_than_the_noise_of_its_losses(save_losses, rise, fires):
    up = tuple(loss + rise for loss in NOISY)
    assert bool(found("LossNotDecreasing", save_losses([((3.0,) * 12, (2,)), (NOISY, (2,)), (up, (2,))]))) == fires
