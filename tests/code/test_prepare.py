"""prepare.py: raw archives and folders in, shards, manifest and quarantine list out."""

import csv
import errno
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import prepare
import pytest
from breeds.base import container
from breeds.base.container import InputError
from breeds.data import archive, listing, manifest, shards, splits
from breeds.data.images import Rejected
from breeds.data.listing import BY_KEY, Member
from PIL import Image

ROOT = Path(__file__).parents[2]
CLASSES = ("001.Beagle", "002.Afghan_hound")


def jpeg(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((80, 60)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def picture(seed: int, size: tuple[int, int], format: str = "JPEG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(buffer, format)
    return buffer.getvalue()


def split_files(train: int = 6, others: int = 2, classes: tuple[str, ...] = CLASSES) -> dict[str, bytes]:
    """A dogImages-shaped data set of pictures that all differ."""
    counts = {"train": train, "valid": others, "test": others}
    names = [f"dogImages/{split}/{c}/{i}.jpg" for split, n in counts.items() for c in classes for i in range(n)]
    return {name: jpeg(seed) for seed, name in enumerate(names)}


def plain_files(per_class: dict[str, int]) -> dict[str, bytes]:
    names = [f"{folder}/{i}.jpg" for folder, n in per_class.items() for i in range(n)]
    return {name: jpeg(seed) for seed, name in enumerate(names)}


def write_folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as target:
        for name, data in files.items():
            target.writestr(name, data)
    return path.parent


def write_tar(path: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as target:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            target.addfile(member, io.BytesIO(data))
        for name, goal in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, goal
            target.addfile(member)
    return path.parent


def run(source: Path, output: Path, *options: str) -> manifest.Manifest:
    prepare.main(["--input", str(source), "--output", str(output), *options])
    return manifest.load(output)


def refusal(source: Path, output: Path, *options: str) -> str:
    with pytest.raises(InputError) as caught:
        run(source, output, *options)
    assert not any(path.is_file() for path in output.rglob("*")), "a refused data set leaves nothing behind"
    return str(caught.value)


def quarantine(output: Path) -> dict[str, str]:
    with (output / "manifest" / "quarantine.csv").open(newline="") as file:
        return {row["path"]: row["reason"] for row in csv.DictReader(file)}


def as_hosts(monkeypatch, tmp_path: Path, current: str, names: list[str]) -> None:
    base = tmp_path / f"opt-ml-{current}"
    (base / "config").mkdir(parents=True, exist_ok=True)
    (base / "config" / "resourceconfig.json").write_text(json.dumps({"current_host": current, "hosts": names}))
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(base))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "raw", split_files())


def test_a_folder_becomes_shards_and_a_manifest_that_agree(raw, tmp_path):
    found = run(raw, tmp_path / "out")
    assert found.folders == ("001.Beagle", "002.Afghan_hound")
    assert found.classes == ("beagle", "afghan hound")
    assert found.counts == {"train": [6, 6], "valid": [2, 2], "test": [2, 2]}
    assert (found.files_seen, found.quarantined) == (20, 0)
    for split in manifest.SPLITS:
        read = list(shards.read_jpegs(tmp_path / "out", split))
        assert [(key, label) for key, label, _ in read] == [(r.key, r.label) for r in found.images[split]]
        decoded = [shards.pixels(jpeg) for _, _, jpeg in read]
        assert all(pixels.shape == (60, 80, 3) and pixels.dtype == np.uint8 for pixels in decoded)
    first = found.images["train"][0]
    original = (raw / found.paths[first.key]).read_bytes()
    assert first.sha256 == hashlib.sha256(original).hexdigest()


def test_ordinary_photos_stay_as_they_are_and_others_get_a_short_side_of_256(tmp_path):
    files = split_files() | {"dogImages/train/001.Beagle/big.png": picture(99, (900, 600), "PNG")}
    found = run(write_folder(tmp_path / "raw", files), tmp_path / "out")
    stored = {found.paths[key]: data for key, _, data in shards.read_jpegs(tmp_path / "out", "train")}
    made = stored.pop("dogImages/train/001.Beagle/big.png")
    assert stored == {path: files[path] for path in stored} and len(stored) == 12
    assert Image.open(io.BytesIO(made)).size == (384, 256)


def test_the_manifest_file_has_the_documented_fields(raw, tmp_path):
    run(raw, tmp_path / "out")
    document = json.loads((tmp_path / "out" / "manifest" / "manifest.json").read_text())
    assert document["format"] == 2 and document["hosts"] == ["algo-1"] and document["host"] == "algo-1"
    assert document["label_map"] == {"001.Beagle": 0, "002.Afghan_hound": 1}
    assert document["counts"]["train"] == [6, 6]
    assert document["limits"] == {"max_broken_fraction": 0.05, "max_duplicates": 0, "max_pixels": 100_000_000}
    key, label, digest = document["images"]["test"][0]
    assert key.startswith("test-") and len(key) == len("test-") + 12 and label in (0, 1) and len(digest) == 64


@pytest.mark.parametrize("kind", ["data.zip", "data.tar", "data.tar.gz", "data.tgz"])
def test_every_kind_of_archive_gives_the_images_that_its_folder_gives(kind, raw, tmp_path):
    make = write_zip if kind.endswith("zip") else write_tar
    source = make(tmp_path / "packed" / kind, split_files())
    assert run(source, tmp_path / "a").images == run(raw, tmp_path / "b").images
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.tar"))}


def test_two_runs_give_the_same_bytes(raw, tmp_path):
    run(raw, tmp_path / "a")
    run(raw, tmp_path / "b")
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    first, second = (tmp_path / name / "manifest" / "manifest.json" for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_what_operating_systems_leave_behind_is_ignored(tmp_path):
    junk = (
        "__MACOSX/dogImages/train/001.Beagle/._0.jpg",
        "dogImages/.DS_Store",
        "dogImages/train/001.Beagle/Thumbs.db",
    )
    source = write_zip(tmp_path / "in" / "a.zip", split_files() | dict.fromkeys(junk, b"junk") | {"README.md": b"hi"})
    found = run(source, tmp_path / "out")
    assert (found.files_seen, found.quarantined) == (20, 0)


def test_val_and_validation_count_as_valid(tmp_path):
    for name in ("val", "Validation"):
        files = {path.replace("/valid/", f"/{name}/"): data for path, data in split_files().items()}
        assert run(write_folder(tmp_path / name, files), tmp_path / f"out-{name}").counts["valid"] == [2, 2]


def test_broken_files_are_quarantined_with_their_reasons_and_the_run_goes_on(tmp_path):
    broken = {
        "dogImages/train/001.Beagle/empty.jpg": b"",
        "dogImages/train/001.Beagle/page.jpg": b"<!DOCTYPE html>",
        "dogImages/train/002.Afghan_hound/cut.jpg": jpeg(99)[:-300],
        "dogImages/train/002.Afghan_hound/lfs.jpg": b"version https://git-lfs.github.com/spec/v1\n",
        "dogImages/stray.jpg": jpeg(98),
    }
    source = write_folder(tmp_path / "raw", split_files() | broken)
    found = run(source, tmp_path / "out", "--max-broken-fraction", "0.3")
    assert (found.files_seen, found.quarantined) == (25, 5)
    reasons = {Path(path).name: reason.split(":")[0] for path, reason in quarantine(tmp_path / "out").items()}
    assert reasons == {
        "empty.jpg": "empty file",
        "page.jpg": "HTML page",
        "cut.jpg": "truncated",
        "lfs.jpg": "Git LFS pointer",
        "stray.jpg": "not inside a class folder",
    }


def test_more_broken_files_than_the_limit_stop_the_run_and_are_named(tmp_path):
    source = write_folder(
        tmp_path / "raw",
        split_files() | {"dogImages/train/001.Beagle/x.jpg": b"", "dogImages/train/001.Beagle/y.jpg": b""},
    )
    text = refusal(source, tmp_path / "out")
    assert "2 of 22 files (9.1%)" in text and "5.0%" in text and "2x empty file" in text and "001.Beagle/x.jpg" in text


def test_the_pixel_limit_is_a_parameter(raw, tmp_path):
    text = refusal(raw, tmp_path / "out", "--max-pixels", "4000")
    assert "no usable image" in text and "80 x 60" in text


def test_plain_class_folders_are_split_70_15_15_in_every_class(tmp_path):
    found = run(write_folder(tmp_path / "raw", plain_files({"cat": 20, "dog": 3})), tmp_path / "out")
    assert found.counts == {"train": [14, 1], "valid": [3, 1], "test": [3, 1]}


def test_the_split_follows_the_content_not_the_name(tmp_path):
    files = plain_files({"cat": 12, "dog": 12})
    renamed = {f"{Path(name).parent}/renamed-{Path(name).name}": data for name, data in files.items()}
    a = run(write_folder(tmp_path / "a", files), tmp_path / "out-a")
    b = run(write_folder(tmp_path / "b", renamed), tmp_path / "out-b")
    for split in manifest.SPLITS:
        assert {r.sha256 for r in a.images[split]} == {r.sha256 for r in b.images[split]}


def test_copies_within_a_plain_class_stay_in_one_split(tmp_path):
    files = plain_files({"cat": 10, "dog": 10})
    copies = {f"cat/copy-{i}.jpg": files[f"cat/{i}.jpg"] for i in range(10)}
    found = run(write_folder(tmp_path / "raw", files | copies), tmp_path / "out")
    assert sum(found.counts[split][0] for split in manifest.SPLITS) == 20


def test_an_image_in_two_splits_stops_the_run_and_is_named(tmp_path):
    files = split_files()
    files["dogImages/test/001.Beagle/leak.jpg"] = files["dogImages/train/001.Beagle/0.jpg"]
    source = write_folder(tmp_path / "raw", files)
    text = refusal(source, tmp_path / "out")
    assert "dogImages/train/001.Beagle/0.jpg = dogImages/test/001.Beagle/leak.jpg" in text
    assert len(run(source, tmp_path / "out", "--max-duplicates", "1").images["test"]) == 5


def test_an_empty_class_folder_stops_the_run(tmp_path):
    source = write_folder(tmp_path / "raw", split_files())
    (source / "dogImages" / "train" / "003.Ghost").mkdir()
    assert "The class 003.Ghost has no usable image" in refusal(source, tmp_path / "out")


def test_an_empty_plain_class_folder_stops_the_run(tmp_path):
    source = write_folder(tmp_path / "raw", plain_files({"cat": 5, "dog": 5}))
    (source / "ghost").mkdir()
    assert "The class ghost has no usable image" in refusal(source, tmp_path / "out")


def test_a_class_missing_from_a_split_stops_the_run(tmp_path):
    files = {name: data for name, data in split_files().items() if "valid/001.Beagle" not in name}
    assert "The class 001.Beagle has no usable image in valid" in refusal(
        write_folder(tmp_path / "raw", files), tmp_path / "out"
    )


def test_one_class_is_not_enough(tmp_path):
    source = write_folder(tmp_path / "raw", split_files(classes=("001.Beagle",)))
    assert "two classes or more; the data set has 001.Beagle" in refusal(source, tmp_path / "out")


def test_a_data_set_without_images_is_refused(tmp_path):
    source = write_folder(tmp_path / "raw", {f"notes/{i}.txt": b"some text" for i in range(3)})
    assert "no usable image" in refusal(source, tmp_path / "out")


@pytest.mark.parametrize("files", [{}, {"a.jpg": jpeg(1)}])
def test_a_data_set_without_class_folders_is_refused(files, tmp_path):
    (tmp_path / "raw").mkdir()
    assert "no class folder" in refusal(write_folder(tmp_path / "raw", files), tmp_path / "out")


def test_a_missing_input_is_refused(tmp_path):
    assert "does not exist" in refusal(tmp_path / "nowhere", tmp_path / "out")


@pytest.mark.parametrize("name", ["cut.zip", "cut.tar", "cut.tar.gz"])
def test_a_cut_off_archive_is_refused_by_name(name, tmp_path):
    make = write_zip if name.endswith("zip") else write_tar
    folder = make(tmp_path / "in" / name, split_files())
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    assert f"The archive {name} cannot be read" in refusal(folder, tmp_path / "out")


def test_an_archive_that_is_none_is_refused(tmp_path):
    folder = write_folder(tmp_path / "in", {"dogs.zip": b"<html>404</html>"})
    assert "The archive dogs.zip cannot be read" in refusal(folder, tmp_path / "out")


def test_two_archives_are_refused(tmp_path):
    write_zip(tmp_path / "in" / "a.zip", split_files())
    folder = write_zip(tmp_path / "in" / "b.zip", split_files())
    assert "more than one data set: a.zip, b.zip" in refusal(folder, tmp_path / "out")


def test_an_encrypted_zip_is_refused(tmp_path):
    folder = write_zip(tmp_path / "in" / "a.zip", split_files())
    data = bytearray((folder / "a.zip").read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        position = data.find(signature)
        while position >= 0:
            data[position + flags] |= 1
            position = data.find(signature, position + 1)
    (folder / "a.zip").write_bytes(data)
    assert "a.zip is encrypted" in refusal(folder, tmp_path / "out")


@pytest.mark.parametrize(
    "name", ["../evil.jpg", "/etc/evil.jpg", "dogImages/../../evil.jpg", "..\\evil.jpg", "C:\\evil.jpg"]
)
@pytest.mark.parametrize("kind", ["a.zip", "a.tar"])
def test_an_archive_with_names_that_lead_outside_is_refused(name, kind, tmp_path):
    make = write_zip if kind.endswith("zip") else write_tar
    folder = make(tmp_path / "deep" / "in" / kind, split_files() | {name: jpeg(500)})
    assert "leads outside" in refusal(folder, tmp_path / "out")
    assert not list(tmp_path.rglob("evil.jpg"))


def test_a_symlink_in_a_tar_is_quarantined_and_not_followed(tmp_path):
    (tmp_path / "secret.jpg").write_bytes(jpeg(1))
    links = {"dogImages/train/001.Beagle/link.jpg": str(tmp_path / "secret.jpg")}
    source = write_tar(tmp_path / "in" / "a.tar", split_files(), links)
    assert run(source, tmp_path / "out").quarantined == 1
    assert quarantine(tmp_path / "out")["dogImages/train/001.Beagle/link.jpg"].startswith("link")


def test_a_symlink_in_a_folder_is_quarantined_and_not_followed(raw, tmp_path):
    (tmp_path / "secret.jpg").write_bytes(jpeg(1))
    (raw / "dogImages" / "train" / "001.Beagle" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    assert run(raw, tmp_path / "out").counts["train"] == [6, 6]
    assert list(quarantine(tmp_path / "out")) == ["dogImages/train/001.Beagle/link.jpg"]


def test_a_zip_bomb_is_refused_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "RATIO_MATTERS_ABOVE", 2**20)
    path = tmp_path / "in" / "bomb.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("train/a/0.bmp", bytes(8 * 2**20))
    assert "expands to" in refusal(path.parent, tmp_path / "out")


def test_a_gzip_bomb_is_stopped_while_it_expands(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "RATIO_MATTERS_ABOVE", 2**20)
    source = write_tar(tmp_path / "in" / "bomb.tgz", {"train/a/0.bmp": bytes(8 * 2**20)})
    assert "expands to" in refusal(source, tmp_path / "out")


def test_a_file_with_a_wrong_checksum_is_quarantined(tmp_path):
    folder = write_zip(tmp_path / "in" / "a.zip", split_files(train=20))
    data = bytearray((folder / "a.zip").read_bytes())
    position = data.find(jpeg(0))
    data[position + 100] ^= 0xFF
    (folder / "a.zip").write_bytes(data)
    run(folder, tmp_path / "out")
    assert quarantine(tmp_path / "out")["dogImages/train/001.Beagle/0.jpg"].startswith("unreadable: Bad CRC-32")


@pytest.mark.parametrize("layout", ["splits", "plain"])
def test_three_hosts_together_give_what_one_host_gives(layout, tmp_path, monkeypatch):
    files = split_files() if layout == "splits" else plain_files({"cat": 20, "dog": 9})
    source = write_folder(
        tmp_path / "raw", files | {"dogImages/train/001.Beagle/bad.jpg": b""} if layout == "splits" else files
    )
    alone = run(source, tmp_path / "one")
    names = ["algo-1", "algo-2", "algo-3"]
    for host in names:
        as_hosts(monkeypatch, tmp_path, host, names)
        prepare.main(["--input", str(source), "--output", str(tmp_path / "three")])
    together = manifest.load(tmp_path / "three")
    assert together.counts == alone.counts and together.paths == alone.paths
    assert (together.files_seen, together.quarantined) == (alone.files_seen, alone.quarantined)
    assert together.source_sha256 == alone.source_sha256
    for split in manifest.SPLITS:
        assert sorted(together.images[split]) == sorted(alone.images[split])
        assert contents(tmp_path / "three", split) == contents(tmp_path / "one", split)


def test_three_instances_of_the_script_give_the_images_and_the_manifest_of_one(tmp_path):
    files = split_files() | {"dogImages/train/001.Beagle/big.png": picture(99, (900, 600), "PNG")}
    source = write_zip(tmp_path / "in" / "dogs.zip", files)
    names = ["algo-1", "algo-2", "algo-3"]
    run(source, tmp_path / "one")
    for host in names:
        base = tmp_path / f"ml-{host}"
        (base / "config").mkdir(parents=True)
        (base / "config" / "resourceconfig.json").write_text(json.dumps({"current_host": host, "hosts": names}))
        script("--input", source, "--output", tmp_path / "three", SAGEMAKER_BASE_DIR=str(base))
    alone, together = manifest.load(tmp_path / "one"), manifest.load(tmp_path / "three")
    assert together.hosts == tuple(names) and together.paths == alone.paths and together.counts == alone.counts
    assert (together.folders, together.source_sha256) == (alone.folders, alone.source_sha256)
    for split in manifest.SPLITS:
        assert sorted(together.images[split]) == alone.images[split]
        assert contents(tmp_path / "three", split) == contents(tmp_path / "one", split)


def script(*arguments: object, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "code/prepare.py", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def contents(directory: Path, split: str) -> dict[str, bytes]:
    return {key: data for key, _, data in shards.read_jpegs(directory, split)}


def test_the_limits_hold_for_all_hosts_together_when_the_parts_are_loaded(tmp_path, monkeypatch):
    files = split_files()
    files["dogImages/test/001.Beagle/leak.jpg"] = files["dogImages/train/001.Beagle/0.jpg"]
    source = write_folder(tmp_path / "raw", files)
    names = ["algo-1", "algo-2", "algo-3"]
    for host in names:
        as_hosts(monkeypatch, tmp_path, host, names)
        prepare.main(["--input", str(source), "--output", str(tmp_path / "out")])
    with pytest.raises(InputError, match="1 images are in more than one split"):
        manifest.load(tmp_path / "out")


def test_a_missing_host_part_is_noticed(raw, tmp_path, monkeypatch):
    as_hosts(monkeypatch, tmp_path, "algo-1", ["algo-1", "algo-2"])
    prepare.main(["--input", str(raw), "--output", str(tmp_path / "out")])
    with pytest.raises(InputError, match="parts of algo-1, but was made by algo-1, algo-2"):
        manifest.load(tmp_path / "out")


def test_display_names_that_would_be_equal_keep_their_folder_names():
    assert splits.display_names(["1.cat", "2.cat", "n02088094-Afghan_hound"]) == ("1.cat", "2.cat", "afghan hound")


@pytest.mark.parametrize(
    ("option", "value"),
    [("--max-broken-fraction", "2"), ("--max-duplicates", "-1"), ("--short-side", "0"), ("--max-pixels", "many")],
)
def test_a_value_out_of_bounds_is_refused(option, value, raw, tmp_path):
    assert option.removeprefix("--") in refusal(raw, tmp_path / "out", option, value)


def test_a_refusal_is_one_message_on_stderr_and_in_the_place_sagemaker_reads(tmp_path):
    base = tmp_path / "ml"
    base.mkdir()
    command = [
        sys.executable,
        "code/prepare.py",
        "--input",
        str(tmp_path / "nowhere"),
        "--output",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"SAGEMAKER_BASE_DIR": str(base)}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and "does not exist" in done.stderr
    assert (base / "output" / "message").read_text().startswith(f"The input {tmp_path / 'nowhere'} does not exist.")


def run_with_cache(source: Path, tmp_path: Path, output: str, capsys) -> str:
    """The summary line of a run whose new cache joins the old, as S3 joins them under one prefix."""
    new = tmp_path / f"new-{output}"
    run(source, tmp_path / output, "--cache", str(tmp_path / "cache"), "--new-cache", str(new))
    shutil.copytree(new, tmp_path / "cache", dirs_exist_ok=True)
    return capsys.readouterr().out.splitlines()[-1]


def test_a_data_set_that_grew_by_one_image_decodes_one_image(tmp_path, capsys):
    files = split_files() | {"dogImages/train/001.Beagle/big.png": picture(99, (900, 600), "PNG")}
    source = write_folder(tmp_path / "raw", files)
    assert "21 had to be decoded" in run_with_cache(source, tmp_path, "first", capsys)
    assert "; 0 had to be decoded" in run_with_cache(source, tmp_path, "again", capsys)
    assert tree(tmp_path / "first") == tree(tmp_path / "again")
    write_folder(source, {"dogImages/train/001.Beagle/new.jpg": jpeg(100)})
    assert "; 1 had to be decoded" in run_with_cache(source, tmp_path, "grown", capsys)
    assert manifest.load(tmp_path / "grown").counts["train"] == [8, 6]
    run(source, tmp_path / "without")
    assert tree(tmp_path / "grown") == tree(tmp_path / "without")


def test_the_cache_of_other_settings_is_not_used(tmp_path, capsys, raw):
    run_with_cache(raw, tmp_path, "first", capsys)
    run(raw, tmp_path / "other", "--cache", str(tmp_path / "cache"), "--short-side", "40")
    assert "20 had to be decoded" in capsys.readouterr().out


def test_a_damaged_cache_is_named_and_done_without(tmp_path, capsys):
    files = split_files() | {"dogImages/train/001.Beagle/big.png": picture(99, (900, 600), "PNG")}
    source = write_folder(tmp_path / "raw", files)
    run_with_cache(source, tmp_path, "first", capsys)
    for path in (tmp_path / "cache").rglob("*-*.*"):
        path.write_bytes(b"damaged beyond repair" * 100)
    run(source, tmp_path / "again", "--cache", str(tmp_path / "cache"))
    output = capsys.readouterr().out
    assert output.count("of the cache is damaged") == 2 and "21 had to be decoded" in output
    assert tree(tmp_path / "first") == tree(tmp_path / "again")


def test_files_set_aside_are_looked_at_again_in_the_next_run(tmp_path, capsys):
    source = write_folder(tmp_path / "raw", split_files() | {"dogImages/train/001.Beagle/cut.jpg": jpeg(50)[:-300]})
    for output in ("first", "again"):
        line = run_with_cache(source, tmp_path, output, capsys)
    assert "1 of 21 files in quarantine; 1 had to be decoded" in line


def test_a_class_with_few_images_is_named(tmp_path, capsys):
    files = {name: data for name, data in split_files().items() if "train/001" not in name or "/0.jpg" in name}
    run(write_folder(tmp_path / "raw", files), tmp_path / "out")
    assert "warning: 1 classes have fewer than 5 images to learn from: 001.Beagle" in capsys.readouterr().out


def test_a_plain_class_of_one_image_is_refused_by_name(tmp_path):
    source = write_folder(tmp_path / "raw", plain_files({"cat": 10, "dog": 1}))
    assert "The class dog has no usable image in valid" in refusal(source, tmp_path / "out")


def test_too_little_disk_is_found_before_the_work(raw, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    text = refusal(raw, tmp_path / "out")
    assert "of disk are free" in text and "VolumeSizeInGB" in text


def test_a_disk_that_is_too_small_for_an_expanded_tar_is_named(tmp_path, monkeypatch):
    def full(packed: Path, scratch: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archive, "_expand", full)
    source = write_tar(tmp_path / "in" / "a.tgz", split_files())
    assert "The disk is full: a.tgz does not fit" in refusal(source, tmp_path / "out")


def test_a_disk_that_is_full_while_files_are_listed_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(listing, "TABLES", listing.TABLES + "PRAGMA max_page_count = 8;")
    names = {f"train/a/{'long' * 50}-{number}.jpg": b"" for number in range(500)}
    source = write_zip(tmp_path / "in" / "a.zip", names)
    with pytest.raises(SystemExit):
        container.run(lambda: run(source, tmp_path / "out"))
    assert "The disk is full: raise the job's VolumeSizeInGB." in capsys.readouterr().err


@pytest.mark.parametrize("name", ["{split}/{folder}/{number:06}.jpg", "{folder}/{number:06}.jpg"])
def test_an_image_takes_a_few_bytes_of_memory_from_the_listing_to_the_manifest(name, tmp_path):
    class InThisProcess:
        def map(self, function, items):
            return (function(*item) for item in items)

    def measured_run(count: int) -> int:
        names = (
            name.format(split=manifest.SPLITS[i % 3], folder=f"class {i // 3 % 50}", number=i) for i in range(count)
        )
        source = write_zip(tmp_path / str(count) / "a.zip", {name: name.encode() for name in names})
        settings = prepare._parse(["--input", str(source), "--output", str(tmp_path)])
        hosts = container.hosts()
        tracemalloc.start()
        try:
            plan = prepare._plan(settings, hosts, InThisProcess(), source)
            for task in plan.listing.files(prepare.Task, order=BY_KEY):
                plan.listing.update(task.path, sha256=hashlib.sha256(task.path.encode()).hexdigest())
            part = prepare._manifest(plan, settings, hosts, 0)
            manifest.check_limits(part, plan.listing.left_out())
            manifest.write_part(source, part, plan.listing.left_out())
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    measured_run(150)
    assert (measured_run(6000) - measured_run(600)) / 5400 < 50


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_zips_of_every_kind_are_read_as_zipfile_reads_them(method, tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(b"#!/bin/sh\necho something stands before the archive\n")
    with zipfile.ZipFile(path, "a", method) as target:
        target.comment = b"a comment"
        target.writestr("train/dogs/", b"")
        target.writestr("train/dogs/größe.jpg", bytes(5000))
        target.writestr("train/dogs/empty.jpg", b"")
        with target.open(zipfile.ZipInfo("train/dogs/long.jpg"), "w", force_zip64=True) as member:
            member.write(jpeg(1))
    source = archive.open_source(path, tmp_path)
    with zipfile.ZipFile(path) as expected:
        names = [info.filename for info in expected.infolist() if not info.is_dir()]
        files = source.listing.files(Member)
        assert [file.path for file in files] == sorted(names) and source.directories == {"train/dogs"}
        assert [source.reader.read(*file) for file in files] == list(map(expected.read, sorted(names)))


def test_a_zip_of_more_members_than_16_bits_count_is_listed_whole(tmp_path):
    path = write_zip(tmp_path / "in" / "many.zip", {f"train/a/{i}.jpg": b"" for i in range(66_000)}) / "many.zip"
    assert len(archive.open_source(path, tmp_path).listing) == 66_000


def test_a_zip_with_an_unknown_compression_sets_its_files_aside(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as target:
        target.writestr("train/a/0.jpg", jpeg(1))
    source = archive.open_source(path, tmp_path)
    with pytest.raises(Rejected, match="unreadable: compression method 14: use deflate"):
        source.reader.read(*next(iter(source.listing.files(Member))))


def test_names_that_are_no_utf_8_are_kept_as_they_are(tmp_path):
    odd = os.fsdecode(b"dogImages/train/001.Beagle/\xff.jpg")
    files = split_files() | {odd: jpeg(50), odd.replace(".jpg", "-bad.jpg"): b""}
    found = run(write_folder(tmp_path / "raw", files), tmp_path / "out")
    assert odd in found.paths.values()
    assert os.fsencode(odd.replace(".jpg", "-bad.jpg")) in (tmp_path / "out/manifest/quarantine.csv").read_bytes()
