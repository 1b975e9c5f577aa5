"""embed.py: prepared shards in, float16 feature arrays out, the same on any number of hosts."""

import io
import json
import shutil
import sys
from pathlib import Path

import embed
import numpy as np
import prepare
import pytest
import torch
from breeds.base.container import InputError
from breeds.data import manifest, shards
from breeds.data.images import MEAN, STD, center_view
from breeds.data.views import make_views
from breeds.model import embedding, features, graph_embedder
from breeds.model.backbones import build_backbone
from breeds.serving import inference
from PIL import Image

OPTIONS = ("--backbone", "resnet18", "--image-size", "32", "--views", "3", "--seed", "7")


def jpeg(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((80, 60)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("raw")
    counts = {"train": 6, "valid": 2, "test": 2}
    names = [f"{split}/{c}/{i}.jpg" for split, n in counts.items() for c in ("cat", "dog") for i in range(n)]
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(jpeg(seed))
    return root


@pytest.fixture(scope="module")
def prepared(raw, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("prepared")
    prepare.main(["--input", str(raw), "--output", str(output)])
    return output


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    (folder / "random.json").write_text('{"kind": "random", "seed": 0}')
    return folder


@pytest.fixture(scope="module")
def embedded(prepared, weights, tmp_path_factory) -> Path:
    return run(prepared, weights, tmp_path_factory.mktemp("features"))


def run(prepared: Path, weights: Path, output: Path, *options: str) -> Path:
    embed.main(["--prepared", str(prepared), "--weights", str(weights), "--output", str(output), *OPTIONS, *options])
    return output


def as_host(monkeypatch, tmp_path: Path, current: str, names: list[str]) -> None:
    base = tmp_path / f"opt-ml-{current}"
    (base / "config").mkdir(parents=True, exist_ok=True)
    (base / "config" / "resourceconfig.json").write_text(json.dumps({"current_host": current, "hosts": names}))
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(base))


def share_of(prepared: Path, to: Path, index: int, count: int) -> Path:
    """What SageMaker brings one of several hosts: the whole manifest, of each split every n-th shard (ShardedByS3Key).

    A split of which it has no shard has no folder either.
    """
    shutil.copytree(prepared / "manifest", to / "manifest")
    for split in manifest.SPLITS:
        for path in shards.shard_paths(prepared, split)[index::count]:
            (to / path.relative_to(prepared)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, to / path.relative_to(prepared))
    return to


def by_key(directory: Path, split: str) -> dict[str, tuple[int, np.ndarray]]:
    found = features.load(directory, split)
    joined = np.concatenate(found.parts, axis=1)
    return {key: (int(found.labels[i]), joined[:, i]) for i, key in enumerate(found.keys)}


def test_features_are_float16_with_labels_and_keys_of_the_manifest(prepared, embedded):
    whole = manifest.load(prepared)
    for split, views in (("train", 3), ("valid", 1), ("test", 1)):
        found = features.load(embedded, split)
        assert found.parts[0].dtype == np.float16 and found.labels.dtype == np.int64
        assert [part.shape for part in found.parts] == [(views, len(whole.images[split]), 512)]
        assert dict(zip(found.keys, found.labels.tolist(), strict=True)) == whole.labels(split)
        assert np.isfinite(found.parts[0]).all()


def test_the_crops_of_one_image_differ_but_the_images_differ_more(embedded):
    views = features.load(embedded, "train").parts[0].astype(np.float32)
    between_views = np.abs(views[1] - views[2]).mean()
    between_images = np.abs(views[1][:, None] - views[1][None]).mean()
    assert 0 < between_views < between_images


def test_features_json_says_how_the_features_were_made(embedded):
    info = features.load_info(embedded)
    assert (info["format"], info["backbone"], info["feature_dim"], info["views"]) == (2, "resnet18", 512, 3)
    assert (info["image_size"], info["view_size"], info["weights_sha256"]) == (32, 37, "random:0")
    assert info["counts"] == {"train": 12, "valid": 4, "test": 4}
    assert info["classes"] == ["cat", "dog"] and info["precision"] in ("bf16", "fp32")


def test_the_first_view_is_the_whole_central_square_through_the_plain_backbone(prepared, embedded):
    key, _, data = next(shards.read_jpegs(prepared, "test"))
    pixels = torch.tensor(center_view(shards.decode(data), 37)).permute(2, 0, 1)[None] / 255
    normalised = (pixels - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    with torch.inference_mode():
        expected = build_backbone("resnet18", None, seed=0)[0](normalised)[0]
    stored = torch.from_numpy(by_key(embedded, "test")[key][1][0]).float()
    assert torch.cosine_similarity(stored, expected, dim=0) > 0.999


def test_a_second_run_gives_the_same_bytes(prepared, weights, embedded, tmp_path):
    again = run(prepared, weights, tmp_path / "again")
    for path in sorted(embedded.iterdir()):
        assert (again / path.name).read_bytes() == path.read_bytes()


def test_three_hosts_together_give_what_one_host_gives(raw, weights, embedded, tmp_path, monkeypatch):
    names = ["algo-1", "algo-2", "algo-3"]
    for host in names:
        as_host(monkeypatch, tmp_path, host, names)
        prepare.main(["--input", str(raw), "--output", str(tmp_path / "prepared")])
    for index, host in enumerate(names):
        as_host(monkeypatch, tmp_path, host, names)
        share = share_of(tmp_path / "prepared", tmp_path / f"share-{host}", index, len(names))
        run(share, weights, tmp_path / "features")
    assert features.load_info(tmp_path / "features") == features.load_info(embedded)
    for split in manifest.SPLITS:
        alone, together = by_key(embedded, split), by_key(tmp_path / "features", split)
        assert alone.keys() == together.keys()
        for key, (label, values) in alone.items():
            assert together[key][0] == label
            np.testing.assert_allclose(
                together[key][1].astype(np.float32), values.astype(np.float32), atol=0.1, rtol=0.05
            )


def test_a_host_without_shards_writes_an_empty_part(prepared, weights, tmp_path, monkeypatch, capsys):
    for index, host in enumerate(["algo-1", "algo-2"]):
        as_host(monkeypatch, tmp_path, host, ["algo-1", "algo-2"])
        run(share_of(prepared, tmp_path / host, index, 2), weights, tmp_path / "features")
    assert "train on algo-2: shards 0, images 0 of 12\n" in capsys.readouterr().out
    assert np.load(tmp_path / "features" / "train-algo-2-features.npy").shape == (3, 0, 512)
    assert sum(part.shape[1] for part in features.load(tmp_path / "features", "train").parts) == 12


def test_a_missing_host_part_is_noticed_when_features_are_loaded(prepared, weights, tmp_path, monkeypatch):
    as_host(monkeypatch, tmp_path, "algo-2", ["algo-1", "algo-2"])
    run(share_of(prepared, tmp_path / "share", 1, 2), weights, tmp_path / "features")
    with pytest.raises(InputError, match="holds 0 train features; features.json counts 12.* part is missing"):
        features.load(tmp_path / "features", "train")


def test_hosts_that_were_all_given_all_shards_are_noticed_with_the_way_out(prepared, weights, tmp_path, monkeypatch):
    for host in ("algo-1", "algo-2"):
        as_host(monkeypatch, tmp_path, host, ["algo-1", "algo-2"])
        run(prepared, weights, tmp_path / "features")
    with pytest.raises(InputError, match="holds 24 train features; features.json counts 12.*ShardedByS3Key"):
        features.load(tmp_path / "features", "train")


def test_every_host_looks_at_the_same_sample_and_a_host_of_prepare_without_images_leaves_an_empty_one(
    prepared, tmp_path
):
    copy = Path(shutil.copytree(prepared, tmp_path / "copy"))
    with shards.ShardWriter(tmp_path / "other", "train", "algo-0"):
        pass
    (shard,) = shards.shard_paths(tmp_path / "other", "train")
    assert shards.count(shard) == 0 and not list(shards.read_shard(shard))
    shards.write_sample(tmp_path / "other", "algo-0")
    shutil.copy(tmp_path / "other" / "manifest" / "sample-algo-0.tar", copy / "manifest")
    shutil.rmtree(copy / "shards")
    stored = {data for _, _, data in shards.read_jpegs(prepared, "train")}
    assert shards.read_sample(copy) == shards.read_sample(prepared)
    assert len(stored) == 12 and set(shards.read_sample(copy)) == stored


def test_a_sample_is_the_first_16_train_images_of_the_first_host(tmp_path):
    for host in ("algo-10", "algo-2"):
        with shards.ShardWriter(tmp_path, "train", host) as writer:
            for number in range(20):
                writer.add(f"train-{number:012x}", f"{host} {number}".encode())
        shards.write_sample(tmp_path, host)
    assert shards.read_sample(tmp_path) == [f"algo-2 {number}".encode() for number in range(16)]


def test_views_depend_on_seed_key_and_number_alone(prepared):
    key, _, data = next(shards.read_jpegs(prepared, "train"))
    four, two = make_views(data, key, 4, 32, 7), make_views(data, key, 2, 32, 7)
    assert all(np.array_equal(a, b) for a, b in zip(four, two, strict=False))
    assert not np.array_equal(four[1], make_views(data, key, 2, 32, 8)[1])
    assert not np.array_equal(four[1], make_views(data, "other", 2, 32, 7)[1])
    assert not np.array_equal(four[1], four[2])


def test_work_comes_back_in_order_and_an_error_is_not_swallowed():
    assert [result for _, result in embedding.map_in_threads(lambda n: n * n, range(50))] == [n * n for n in range(50)]
    with pytest.raises(ZeroDivisionError):
        list(embedding.map_in_threads(lambda n: 1 // (n - 5), range(50)))


def test_bf16_is_not_used_where_it_disagrees(monkeypatch, capsys):
    """A network whose result hangs on digits that bf16 does not have."""

    class Fragile(torch.nn.Module):
        def forward(self, pixels):
            flat = pixels.flatten(1)[:, :64]
            return torch.sin(flat * 3000)

    monkeypatch.setattr(embedding, "_has_bf16", lambda device: True)
    sample = np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3), np.uint8)
    assert embedding.choose_embedder(Fragile(), sample).precision == "fp32"
    assert "precision: fp32" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "value"), [("--image-size", "8"), ("--views", "0"), ("--batch-size", "0"), ("--backbone", "vgg")]
)
def test_a_value_out_of_bounds_is_refused_and_nothing_is_written(option, value, prepared, weights, tmp_path):
    with pytest.raises(InputError):
        run(prepared, weights, tmp_path / "features", option, value)
    assert not list(tmp_path.glob("features/*"))


def test_a_directory_that_was_not_prepared_is_refused(weights, tmp_path):
    with pytest.raises(InputError, match="manifest.json is missing"):
        run(tmp_path, weights, tmp_path / "features")


def test_a_damaged_shard_is_refused(prepared, weights, tmp_path):
    copy = Path(shutil.copytree(prepared, tmp_path / "copy"))
    shard = copy / "shards" / "test" / "algo-1-00000.tar"
    shard.write_bytes(shard.read_bytes()[:700])
    with pytest.raises(InputError, match="is damaged"):
        run(copy, weights, tmp_path / "features")
    assert not list(tmp_path.glob("features/*"))


def test_a_manifest_without_its_shards_is_refused(prepared, weights, tmp_path):
    shutil.copytree(prepared / "manifest", tmp_path / "manifest")
    with pytest.raises(InputError, match="holds 0 train images; its manifest lists 12"):
        run(tmp_path, weights, tmp_path / "features")
    shutil.copytree(prepared / "shards", tmp_path / "shards")
    (tmp_path / "manifest" / "sample-algo-1.tar").unlink()
    with pytest.raises(InputError, match="no sample of train images"):
        run(tmp_path, weights, tmp_path / "features")
    assert not list(tmp_path.glob("features/*"))


def test_what_an_earlier_version_prepared_is_refused(prepared, weights, tmp_path):
    (tmp_path / "manifest.json").write_text('{"format": 1}')
    with pytest.raises(InputError, match="manifest.json has format 1; this code reads format 2. Run the Prepare step"):
        run(tmp_path, weights, tmp_path / "features")


@pytest.fixture
def sample() -> np.ndarray:
    return inference.smooth_noise(48, 6)


def test_the_graph_gives_the_features_of_the_network_at_any_size_and_number(weights, sample, capsys):
    network, _ = build_backbone("resnet18", weights)
    embedder = embedding.Embedder(network, torch.float32, torch.device("cpu"))
    graph = graph_embedder.or_faster(embedder, network, sample)
    assert isinstance(graph, graph_embedder.GraphEmbedder) and graph.precision == "fp32"
    assert "embedding with OpenVINO (agrees with PyTorch" in capsys.readouterr().out
    for pixels in (sample[:1], inference.smooth_noise(64, 3)):
        assert graph(pixels).dtype == np.float16
        np.testing.assert_allclose(graph(pixels).astype(float), embedder(pixels).astype(float), rtol=0.02, atol=0.02)


def test_threads_share_the_graph(weights, sample):
    graph = graph_embedder.GraphEmbedder(build_backbone("resnet18", weights)[0], "fp32")
    alone = [graph(image[None])[0] for image in sample]
    together = [found[0] for _, found in embedding.map_in_threads(lambda image: graph(image[None]), list(sample) * 4)]
    assert np.allclose(np.stack(together), np.stack(alone * 4), atol=1e-2)


def test_without_openvino_or_where_it_disagrees_pytorch_embeds(weights, sample, monkeypatch, capsys):
    network, _ = build_backbone("resnet18", weights)
    embedder = embedding.Embedder(network, torch.float32, torch.device("cpu"))
    monkeypatch.setattr(graph_embedder.GraphEmbedder, "__call__", lambda self, pixels: -embedder(pixels))
    assert graph_embedder.or_faster(embedder, network, sample) is embedder
    assert "embedding with PyTorch: OpenVINO's features agree to cosine -1" in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert graph_embedder.or_faster(embedder, network, sample) is embedder
    assert "embedding with PyTorch: " in capsys.readouterr().out


def test_many_images_are_embedded_by_the_graph_with_the_same_result(prepared, weights, embedded, tmp_path, monkeypatch):
    monkeypatch.setattr(graph_embedder, "MIN_VIEWS", 1)
    run(prepared, weights, tmp_path / "features")
    for split in manifest.SPLITS:
        by_torch, by_graph = by_key(embedded, split), by_key(tmp_path / "features", split)
        for key, (label, values) in by_torch.items():
            assert by_graph[key][0] == label
            pair = (torch.from_numpy(array.astype(np.float32)) for array in (values, by_graph[key][1]))
            assert float(torch.cosine_similarity(*pair, dim=1).min()) > 0.99
