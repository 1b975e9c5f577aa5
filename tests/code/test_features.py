"""Feature files: written block by block, mapped, and read row by row from however many hosts wrote them."""

import json

import numpy as np
import pytest
import torch
from breeds.base.container import InputError
from breeds.model import features
from breeds.model.classifier import Head
from breeds.training import batches

X = np.random.default_rng(0).normal(size=(3, 11, 6)).astype(np.float16)
LABELS = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1]


def write(directory, sizes: list[int], block: int = 3):
    """The rows of X as hosts of these sizes write them, a few at a time."""
    directory.mkdir()
    first = 0
    for number, size in enumerate(sizes, 1):
        with features.Writer(directory, "train", f"algo-{number}", (3, size, 6)) as writer:
            for start in range(first, first + size, block):
                rows = range(start, min(start + block, first + size))
                writer.add([f"key-{row}" for row in rows], [LABELS[row] for row in rows], X[:, rows])
        first += size
    features.save_info(directory, {"counts": {"train": 11}})
    return features.load(directory, "train")


def batches_of(split: features.Features) -> batches.FeatureBatches:
    return batches.FeatureBatches(split, num_classes=3, device=torch.device("cpu"), seed=5)


def test_what_is_written_in_blocks_is_the_array_that_numpy_would_write(tmp_path):
    write(tmp_path / "blocks", [11])
    np.save(tmp_path / "whole.npy", X)
    assert (tmp_path / "blocks" / "train-algo-1-features.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


@pytest.mark.parametrize("sizes", [[11], [4, 7], [1, 0, 10]])
def test_rows_come_from_whichever_host_wrote_them(sizes, tmp_path):
    split = write(tmp_path / "f", sizes)
    assert all(isinstance(part, np.memmap) for part in split.parts)
    views, rows = np.array([2, 0, 1, 1, 0]), np.array([10, 0, 4, 3, 10])
    assert np.array_equal(split.take(views, rows), X[views, rows])
    assert split.keys == [f"key-{row}" for row in range(11)] and split.labels.tolist() == LABELS


def test_training_sees_the_same_rows_however_many_hosts_wrote_them(tmp_path):
    one, three = batches_of(write(tmp_path / "one", [11])), batches_of(write(tmp_path / "three", [2, 3, 6]))
    for epoch in (1, 2):
        rows = one.order(epoch)
        assert torch.equal(one.take(rows, epoch), three.take(rows, epoch))
    assert torch.equal(one.take(torch.arange(11), None), torch.from_numpy(X[0]).float())
    assert not torch.equal(one.take(torch.arange(11), 1), one.take(torch.arange(11), 2))


def test_the_standardisation_is_that_of_the_plain_views(tmp_path):
    head = Head(6, 4, 3)
    head.standardise_by(batches.plain_inputs(batches_of(write(tmp_path / "f", [4, 7]))))
    assert np.allclose(head.mean, X[0].astype(np.float64).mean(0), atol=1e-6)
    assert np.allclose(head.std, X[0].astype(np.float64).std(0), atol=1e-6)


def test_a_dimension_that_never_changes_keeps_its_scale():
    head = Head(2, 4, 3)
    head.standardise_by([torch.tensor([[300.0, 1.0], [300.0, 2.0]]), torch.tensor([[300.0, 3.0]])])
    assert head.std.tolist() == pytest.approx([1.0, (2 / 3) ** 0.5])


def test_a_share_with_another_number_of_images_than_announced_is_refused(tmp_path):
    with (
        pytest.raises(ValueError, match="1 images were added, not 2"),
        features.Writer(tmp_path, "train", "algo-1", (3, 2, 6)) as writer,
    ):
        writer.add(["a"], [0], X[:, :1])
    with (
        pytest.raises(ValueError, match="2 keys, 2 labels and features"),
        features.Writer(tmp_path, "train", "algo-1", (3, 2, 6)) as writer,
    ):
        writer.add(["a", "b"], [0, 1], X[:, :1])


def test_features_of_the_old_format_are_refused_with_what_to_do(tmp_path):
    (tmp_path / "features.json").write_text(json.dumps({"format": 1, "image_size": 224, "resize": 256}))
    with pytest.raises(InputError, match="has format 1; this code reads format 2. Run the Embed step again"):
        features.load_info(tmp_path)
