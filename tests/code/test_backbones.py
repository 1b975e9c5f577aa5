"""breeds.model.backbones: the three networks, their stages, and what a wrong weights file is told."""

import functools
import json
import pickle
from pathlib import Path

import pytest
import torch
from breeds.base.container import InputError
from breeds.model import backbones
from breeds.model.backbones import BACKBONES, build_backbone
from torch import nn
from torchvision import models

SHARED_WEIGHTS = Path(__file__).parents[2].parent / "shared" / "weights"


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 4 - 2


@functools.cache
def random_network(name: str) -> nn.Module:
    return build_backbone(name, None)[0]


def channel(folder: Path, content: object) -> Path:
    folder.mkdir()
    torch.save(content, folder / "weights.pth")
    return folder


def complaint(name: str, weights: Path) -> str:
    with pytest.raises(InputError) as caught:
        build_backbone(name, weights)
    return str(caught.value)


@pytest.mark.parametrize("name", list(BACKBONES))
def test_random_weights_give_features_that_differ_by_image_and_fit_float16(name, pictures):
    network, feature_dim = build_backbone(name, None, seed=3)
    with torch.inference_mode():
        features = network(pictures).half()
    assert features.shape == (4, feature_dim)
    assert features.isfinite().all() and features.abs().max() < 2000
    assert (features.float().std(dim=0) > 1e-3).float().mean() > 0.5


def test_random_weights_depend_on_the_seed_alone(pictures):
    torch.manual_seed(5)
    first, _ = build_backbone("resnet18", None, seed=1)
    torch.manual_seed(6)
    before = torch.get_rng_state()
    again, _ = build_backbone("resnet18", None, seed=1)
    assert torch.equal(torch.get_rng_state(), before), "the caller's random state is left alone"
    other, _ = build_backbone("resnet18", None, seed=2)
    assert torch.equal(first(pictures), again(pictures)) and not torch.allclose(first(pictures), other(pictures))


@pytest.mark.parametrize("name", list(BACKBONES))
def test_torchvisions_state_dict_gives_torchvisions_features(name, tmp_path, pictures):
    torch.manual_seed(0)
    original = BACKBONES[name].build(weights=None, num_classes=5).eval()
    network, _ = build_backbone(name, channel(tmp_path / "w", original.state_dict()))
    assert not network.training
    with torch.inference_mode():
        logits = getattr(original, BACKBONES[name].classifier)(network(pictures))
        torch.testing.assert_close(logits, original(pictures))


@pytest.mark.parametrize("name", list(BACKBONES))
def test_folded_batch_norms_change_no_output(name, pictures):
    network = random_network(name)
    folded = backbones.for_inference(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    with torch.inference_mode():
        torch.testing.assert_close(folded(pictures), network(pictures), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", list(BACKBONES))
@pytest.mark.parametrize("trainable", [0, 1, 5])
def test_the_two_halves_together_are_the_whole_network(name, trainable, pictures):
    network = random_network(name)
    frozen, open_stages = backbones.split_stages(network, name, trainable)
    with torch.inference_mode():
        torch.testing.assert_close(open_stages(frozen(pictures)), network(pictures))


@pytest.mark.parametrize("trainable", [-1, 6])
def test_a_number_of_stages_that_does_not_exist_is_refused(trainable):
    with pytest.raises(InputError, match="from 0 .head only. to 5"):
        backbones.split_stages(backbones.architecture("resnet18")[0], "resnet18", trainable)


def test_no_activation_works_in_place():
    for name in BACKBONES:
        network, _ = backbones.architecture(name)
        assert not any(getattr(module, "inplace", False) for module in network.modules())


def test_an_unknown_backbone_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="'vgg16' is not known. Choose one of resnet50, resnet18, mobilenet_v2"):
        build_backbone("vgg16", None)


def test_weights_of_another_backbone_are_refused_and_that_one_is_named(tmp_path):
    text = complaint("resnet50", channel(tmp_path / "w", models.resnet18().state_dict()))
    assert "weights.pth does not hold resnet50 weights" in text
    assert "layer1.0.conv1.weight is [64, 64, 3, 3] in the file and [64, 64, 1, 1] in resnet50" in text
    assert "set Backbone=resnet18" in text


def test_weights_of_no_known_backbone_are_refused_with_the_first_key(tmp_path):
    state = models.resnet18().state_dict()
    state["conv1.weight"] = state["conv1.weight"][:32]
    text = complaint("resnet18", channel(tmp_path / "w", state))
    assert "conv1.weight is [32, 3, 7, 7] in the file and [64, 3, 7, 7] in resnet18" in text and "fits none of" in text


class Trap:
    def __reduce__(self):
        return print, ("this pickle ran code",)


def test_a_pickle_with_code_is_refused_and_its_code_does_not_run(tmp_path, capsys):
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "weights.pth").write_bytes(pickle.dumps(Trap()))
    assert "weights.pth is not a plain state dict" in complaint("resnet18", tmp_path / "w")
    assert "ran code" not in capsys.readouterr().out


def test_a_whole_pickled_model_is_refused_with_what_to_save_instead(tmp_path):
    text = complaint("resnet18", channel(tmp_path / "w", models.resnet18()))
    assert "holds Python objects" in text and "model.state_dict()" in text


def test_a_checkpoint_around_a_state_dict_is_refused(tmp_path):
    text = complaint("resnet18", channel(tmp_path / "w", {"epoch": 3, "state": {}}))
    assert "is not a state dict: it holds keys such as epoch, state" in text


@pytest.mark.parametrize("data", [b"", b"<html>404</html>", b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_torch_file_is_refused(data, tmp_path):
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "weights.pth").write_bytes(data)
    assert complaint("resnet18", tmp_path / "w").startswith("weights.pth ")


def test_weights_that_are_not_finite_are_refused(tmp_path):
    state = models.resnet18().state_dict()
    state["bn1.weight"][0] = float("nan")
    assert "NaN or infinite values in bn1.weight" in complaint("resnet18", channel(tmp_path / "w", state))


@pytest.mark.parametrize("files", [{}, {"a.pth": b"", "b.pth": b""}, {"a.pth": b"", "random.json": b"{}"}])
def test_the_weights_channel_holds_exactly_one_file(files, tmp_path):
    (tmp_path / "w").mkdir()
    for name, data in files.items():
        (tmp_path / "w" / name).write_bytes(data)
    assert f"found: {', '.join(files) or 'none'}" in complaint("resnet18", tmp_path / "w")


def test_random_json_names_the_seed(tmp_path):
    (tmp_path / "random.json").write_text(json.dumps({"kind": "random", "seed": 9}))
    assert backbones.weights_fingerprint(tmp_path) == "random:9"
    given, expected = build_backbone("resnet18", tmp_path)[0], build_backbone("resnet18", None, seed=9)[0]
    assert torch.equal(given.layer4[0].conv1.weight, expected.layer4[0].conv1.weight)


@pytest.mark.parametrize("text", ["{}", "not json", '{"kind": "magic", "seed": 0}', "[]"])
def test_a_random_json_that_says_nothing_is_refused(text, tmp_path):
    (tmp_path / "random.json").write_text(text)
    assert 'Write {"kind": "random", "seed": 0}' in complaint("resnet18", tmp_path)


@pytest.mark.skipif(not SHARED_WEIGHTS.is_dir(), reason="the shared MobileNetV2 weights are not on this machine")
def test_real_weights_are_told_apart():
    assert build_backbone("mobilenet_v2", SHARED_WEIGHTS)[1] == 1280
    assert "set Backbone=mobilenet_v2" in complaint("resnet50", SHARED_WEIGHTS)
