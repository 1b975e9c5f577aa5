"""Fine-tuning the backbone's last stages: what changes, what it is fed with, and what happens when memory is short."""

import json
import shutil

import pytest
import torch
from breeds.base.container import InputError
from breeds.base.distributed import World
from breeds.model import backbones, features, unknown
from breeds.model.classifier import Classifier, Head
from breeds.training import finetuning, fitting, streaming
from breeds.training.optimization import Average, predict

from tests.code.training_output import metrics_in, same_weights, weights

pytestmark = pytest.mark.usefixtures("one_thread")

ALONE = World(rank=0, size=1, device=torch.device("cpu"))
GOLDEN_TRAIN = [0.8662, 0.5543]
GOLDEN_VALIDATION = [0.5669, 0.6077]


@pytest.fixture
def fine_tune(train, small_model, tmp_path):
    """Fine-tune the small model; returns what was printed and the model directory."""

    def run(name: str, *arguments: object, features=small_model.features):
        out = train(
            *("--features", features, "--prepared", small_model.prepared, "--weights", small_model.weights),
            *("--model-dir", tmp_path / name, "--trainable-stages", 1, "--fine-tune-epochs", 1, "--batch-size", 8),
            *("--epochs", 1, "--dropout", 0, "--optimize", "off", *arguments),
        )
        return out, tmp_path / name

    return run


@pytest.fixture
def float32_features(small_model, tmp_path):
    """The small model's features, said to be made in float32: then so are the stages trained."""
    directory = tmp_path / "float32"
    shutil.copytree(small_model.features, directory)
    info = features.load_info(directory)
    features.save_info(directory, {**info, "precision": "fp32"})
    return directory


def changed_in_backbone(small_model, model) -> set[str]:
    network, _ = backbones.build_backbone("resnet18", small_model.weights)
    after = weights(model)
    before = {f"backbone.{name}": tensor for name, tensor in network.state_dict().items()}
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_fine_tuning_changes_the_last_stage_alone_and_no_batch_norm_statistics(fine_tune, small_model):
    _, model = fine_tune("m", "--learning-rate", 1e-8, "--fine-tune-epochs", 2)
    changed = changed_in_backbone(small_model, model)
    assert changed
    assert all(name.startswith("backbone.layer4.") for name in changed)
    assert not any("running" in name for name in changed)
    assert json.loads((model / "model.json").read_text())["metrics"]["epoch"] > 1


def test_all_five_stages_change_the_whole_backbone(fine_tune, small_model):
    _, model = fine_tune("m", "--trainable-stages", 5, "--learning-rate", 1e-8)
    changed = changed_in_backbone(small_model, model)
    assert {"backbone.conv1.weight", "backbone.layer2.0.conv1.weight", "backbone.layer4.1.conv2.weight"} <= changed


def test_the_losses_of_fine_tuning_on_sixteen_images_stay_what_they_are(
    fine_tune, float32_features, small_model, monkeypatch
):
    batches = streaming.ImageBatches.order
    monkeypatch.setattr(streaming.ImageBatches, "order", lambda *given: batches(*given)[:16])
    out, _ = fine_tune("m", "--fine-tune-epochs", 2, features=float32_features)
    assert metrics_in(out, "train:loss")[1:3] == pytest.approx(GOLDEN_TRAIN, abs=0.02)
    assert metrics_in(out, "validation:loss")[1:3] == pytest.approx(GOLDEN_VALIDATION, abs=0.02)


def test_temperature_and_threshold_are_those_of_the_fine_tuned_network_and_calibrate_it(
    fine_tune, float32_features, small_model
):
    _, model = fine_tune("m", "--learning-rate", 1e-8, "--fine-tune-epochs", 2, features=float32_features)
    info, trained = json.loads((model / "model.json").read_text()), weights(model)
    assert info["metrics"]["epoch"] > 1  # the head's only one
    logits, labels = validation_logits(small_model, trained)
    untuned = {name: value for name, value in trained.items() if name.startswith("head.")}
    assert not torch.allclose(validation_logits(small_model, untuned)[0], logits, atol=0.1)
    head = Head(512, 512, len(info["classes"]))
    head.calibrate(logits, labels)
    assert head.temperature.item() == pytest.approx(trained["head.temperature"].item(), rel=0.06)  # a step of its grid
    cross_entropy = torch.nn.functional.cross_entropy
    assert cross_entropy(logits / trained["head.temperature"], labels) < cross_entropy(logits, labels)
    chosen = unknown.choose_threshold((logits / trained["head.temperature"]).numpy())
    assert info["unknown"] == chosen | {"threshold": pytest.approx(chosen["threshold"], abs=0.02)}


def validation_logits(small_model, trained: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of the validation images, and their labels, by the pretrained network with these weights put in."""
    info = features.load_info(small_model.features)
    network, _ = backbones.build_backbone("resnet18", small_model.weights)
    model = Classifier(network, Head(512, 512, len(info["classes"])))
    model.load_state_dict(trained, strict=False)
    source = streaming.JpegShards(small_model.prepared, "valid", 2**30)
    return predict(model, streaming.ImageBatches(source, info, device=ALONE.device, seed=0, num_views=1))


def test_micro_batches_take_the_same_steps_as_whole_batches(fine_tune, float32_features):
    whole, _ = fine_tune("whole", features=float32_features)
    parts, _ = fine_tune("parts", "--micro-batch-size", 3, features=float32_features)
    for name in ("train:loss", "validation:loss"):
        assert metrics_in(parts, name) == pytest.approx(metrics_in(whole, name), abs=2e-3)


def test_out_of_memory_halves_the_micro_batch_for_all_that_follows_and_keeps_the_effective_batch(
    fine_tune, float32_features, monkeypatch
):
    whole, _ = fine_tune("whole", features=float32_features)
    forward = finetuning.FineTuned.forward

    def small_memory(self, activations):
        if self.training and len(activations) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return forward(self, activations)

    monkeypatch.setattr(finetuning.FineTuned, "forward", small_memory)
    out, _ = fine_tune("small", features=float32_features)
    said = [line for line in out.splitlines() if "out of memory" in line]
    assert said == [
        "out of memory with 8 images at once: going on with micro-batches of 2; each step still takes 8 images"
    ]
    for name in ("train:loss", "validation:loss"):
        assert metrics_in(out, name) == pytest.approx(metrics_in(whole, name), abs=2e-3)


def test_a_single_image_that_does_not_fit_ends_the_training_and_says_so(fine_tune, monkeypatch):
    def no_memory(self, *_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(fitting.Fit, "_backward", no_memory)
    with pytest.raises(InputError, match=r"1 images does not fit the device's memory.*Use a larger instance"):
        fine_tune("m")


def prepared(small_model, **changes):
    info = features.load_info(small_model.features)
    network, _ = backbones.build_backbone("resnet18", small_model.weights)
    asked = {"trainable": 1, "epochs": 3, "views": 2, "max_bytes": 2**30, "seed": 1, "world": ALONE} | changes
    return finetuning.prepare(small_model.prepared, network, info, **asked)


def test_what_the_frozen_stages_made_is_kept_only_where_it_fits_and_is_the_same_either_way(small_model):
    _, kept, valid = prepared(small_model)
    _, direct, _ = prepared(small_model, max_bytes=1)
    assert (kept.kept_bytes > 0, valid.kept_bytes > 0, direct.kept_bytes) == (True, True, 0)
    indices = torch.tensor([3, 30, 11])
    for epoch in (1, 2):
        one, other = (batches.take(indices, epoch).float() for batches in (kept, direct))
        torch.testing.assert_close(one, other, atol=0.05, rtol=0.05)
    assert torch.equal(kept.take(indices, 1), kept.take(indices, 3))
    assert not torch.equal(kept.take(indices, 1), kept.take(indices, 2))
    assert torch.equal(kept.order(1), direct.order(1))


def test_two_ranks_make_a_view_together_as_one_makes_it_alone(small_model, monkeypatch):
    monkeypatch.setattr(finetuning, "CHUNK", 4)
    monkeypatch.setattr(finetuning, "ROUND", 8)
    _, whole, _ = prepared(small_model)
    made = []
    monkeypatch.setattr(
        World, "exchange", lambda self, parts: made.append((self.rank, [part.clone() for part in parts]))
    )
    for rank in (0, 1):
        prepared(small_model, world=World(rank=rank, size=2, device=ALONE.device))[1].take(torch.tensor([0]), 1)
    rounds = list(zip(*([parts for of, parts in made if of == rank] for rank in (0, 1)), strict=True))
    together = torch.cat([torch.cat([first[0], second[1]]) for first, second in rounds])
    assert torch.equal(together.permute(0, 3, 1, 2), whole.take(torch.arange(36), 1))


def test_images_beyond_the_memory_bound_are_read_again_shard_by_shard(small_model, tmp_path, monkeypatch):
    from breeds.data import shards

    directory = tmp_path / "prepared"
    shutil.copytree(small_model.prepared, directory)
    content = [item for path in shards.shard_paths(directory, "train") for item in shards.read_shard(path)]
    shutil.rmtree(directory / "shards" / "train")
    monkeypatch.setattr(shards, "IMAGES_PER_SHARD", 4)
    with shards.ShardWriter(directory, "train", "algo-1") as writer, shards.ShardWriter(directory, "train", "algo-0"):
        for key, jpeg in content:
            writer.add(key, jpeg)
    monkeypatch.setattr(streaming, "GROUP", 1)
    info = features.load_info(small_model.features)
    epochs = []
    for max_bytes in (2**30, 0):
        source = streaming.JpegShards(directory, "train", max_bytes)
        read = []
        read_shard = shards.read_shard
        monkeypatch.setattr(shards, "read_shard", lambda path, to=read, real=read_shard: to.append(path) or real(path))
        batches = streaming.ImageBatches(source, info, device=ALONE.device, seed=1, num_views=9)
        epochs.append(torch.cat([batches.take(part, 1) for part in batches.order(1).split(8)]))
        monkeypatch.setattr(shards, "read_shard", read_shard)
    assert len(source._resident) <= 2
    assert len(read) == len(set(read)) >= 7  # each once, but for those still there from the beginning
    assert torch.equal(*epochs)
    assert sorted(batches.order(2).tolist()) == list(range(36))
    assert not torch.equal(batches.order(1), batches.order(2))


def test_the_moving_average_is_what_is_evaluated_and_kept(train, make_features, tmp_path):
    same = ("--features", make_features(tmp_path / "f"), "--epochs", 2, "--hidden-width", 8, "--dropout", 0)
    plain = train(*same, "--model-dir", tmp_path / "plain")
    averaged = train(*same, "--model-dir", tmp_path / "averaged", "--ema-decay", 0.9)
    assert metrics_in(plain, "train:loss") == metrics_in(averaged, "train:loss")
    assert metrics_in(plain, "validation:loss") != metrics_in(averaged, "validation:loss")
    assert not same_weights(tmp_path / "plain", tmp_path / "averaged")


def test_the_average_is_applied_only_inside_and_follows_its_formula():
    parameter = torch.nn.Parameter(torch.tensor([0.0]))
    average = Average([parameter], 0.5)
    for value in (10.0, 20.0):
        parameter.data.fill_(value)
        average.update()
    expected = 0.9 * 10 * (2 / 11) + 20 * (9 / 11)  # decays 1/10, then 2/11
    with average.applied():
        assert parameter.item() == pytest.approx(expected)
    assert parameter.item() == 20
