"""What a user can get wrong: one clear message, a way out, and nothing half-done behind."""

import io
import socket
import sqlite3
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from tests.e2e.commands import last_json, pawline

FAST = ["ImageSize=32", "AugmentedViews=1", "Backbone=resnet18", "MaxTuningJobs=1", "Epochs=1"]


def jpeg(colour: tuple[int, int, int], salt: int) -> bytes:
    buffer = io.BytesIO()
    image = Image.new("RGB", (64, 48), colour)
    image.putpixel((salt % 64, salt // 64), (255, 255, 255))
    image.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def two_classes() -> dict[str, bytes]:
    colours = {"001.Red": (200, 30, 30), "002.Blue": (30, 30, 200)}
    return {
        f"dogs/{split}/{folder}/{index}.jpg": jpeg(colour, 100 * number + 10 * s + index)
        for number, (folder, colour) in enumerate(colours.items())
        for s, split in enumerate(("train", "valid", "test"))
        for index in range(4)
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "/nowhere/dogs.zip"], "There is no data at /nowhere/dogs.zip"),
        (["Epoch=3"], "Did you mean Epochs?"),
        (["Epochs=0"], "Allowed: 1 to 1000"),
        (["Epochs"], "Write Name=value"),
        (["--backbone", "vgg16"], "resnet50 | resnet18 | mobilenet_v2"),
        (["--weights", "/nowhere/weights.pth"], "no weights file at /nowhere/weights.pth"),
    ],
)
def test_a_wrong_word_ends_with_code_2_and_says_what_to_do(state_dir, server, words, message):
    done = pawline(state_dir, "run", *words)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_an_unreadable_archive_is_refused_before_anything_starts(state_dir, server, tmp_path, client):
    broken = tmp_path / "dogs.zip"
    broken.write_bytes(b"PK\x03\x04 this was cut off")
    done = pawline(state_dir, "run", "--data", str(broken), "--weights", "random")
    assert done.returncode == 2
    assert "neither a zip nor a tar" in " ".join(done.stderr.split())
    assert client("sagemaker").list_pipelines()["PipelineSummaries"] == []


def failed_step(done) -> tuple[str, str]:
    """(name of the failed step, everything that was printed), of a run that must have failed."""
    assert done.returncode == 1, done.stderr
    report = last_json(done)
    assert report["status"] == "Failed"
    assert report["model_package_arn"] is None
    (name,) = [step["name"] for step in report["steps"] if step["status"] == "Failed"]
    assert "-m pipeline retry" in done.stderr
    return name, " ".join(done.stderr.split())


def test_a_data_set_of_one_class_stops_at_prepare(state_dir, server, tmp_path):
    data = make_zip(tmp_path / "one.zip", {n: c for n, c in two_classes().items() if "Red" in n})
    done = pawline(state_dir, "run", "--json", "--data", str(data), "--weights", "random", *FAST)
    name, said = failed_step(done)
    assert name == "Prepare"
    assert "class" in said


def test_a_data_set_without_images_stops_at_prepare(state_dir, server, tmp_path):
    data = make_zip(tmp_path / "notes.zip", {"train/a/readme.txt": b"hello", "train/b/readme.txt": b"world"})
    name, said = failed_step(pawline(state_dir, "run", "--json", "--data", str(data), "--weights", "random", *FAST))
    assert name == "Prepare"
    assert "image" in said


def test_weights_of_another_backbone_stop_at_embed(state_dir, server, tmp_path):
    import torch
    from torchvision.models import mobilenet_v2

    weights = tmp_path / "weights.pth"
    torch.save(mobilenet_v2(weights=None).state_dict(), weights)
    data = make_zip(tmp_path / "two.zip", two_classes())
    done = pawline(state_dir, "run", "--json", "--data", str(data), "--weights", str(weights), *FAST)
    name, said = failed_step(done)
    assert name == "Embed"
    assert "resnet18" in said
    assert "mobilenet_v2" in said


def test_a_busy_port_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = pawline(tmp_path / "state", "status", environment={"SAGELOCAL_PORT": port})
    assert done.returncode == 2
    assert f"Port {port} is busy" in done.stderr


def test_a_state_directory_of_a_newer_version_is_refused_and_left_alone(tmp_path):
    database = sqlite3.connect(tmp_path / "state.db")
    database.execute("PRAGMA user_version = 999")
    database.close()
    done = pawline(tmp_path, "status")
    assert done.returncode == 2
    assert "newer version" in " ".join(done.stderr.split())
    assert sqlite3.connect(tmp_path / "state.db").execute("PRAGMA user_version").fetchone() == (999,)
