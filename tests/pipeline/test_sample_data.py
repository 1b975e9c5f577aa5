"""pipeline.sample_data: the drawn data set that `make run` uses when there are no photos at hand."""

import io
import zipfile
from collections import Counter

import pytest
from PIL import Image

from pipeline.sample_data import BREEDS, draw_sample_data

SMALL = {"train": 4, "valid": 2, "test": 2}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    with zipfile.ZipFile(draw_sample_data(tmp_path_factory.mktemp("sample"), images_per_class=SMALL)) as opened:
        yield opened


def broken(archive: zipfile.ZipFile) -> list[str]:
    return [name for name in archive.namelist() if not name.rsplit("_", 1)[-1].removesuffix(".jpg").isdigit()]


def test_the_same_arguments_give_the_same_bytes(tmp_path):
    one, two, other = (
        draw_sample_data(tmp_path / folder, images_per_class=SMALL, seed=seed).read_bytes()
        for folder, seed in (("one", 0), ("two", 0), ("other", 1))
    )
    assert one == two != other


def test_every_breed_has_its_images_in_every_split(archive):
    whole = [name for name in archive.namelist() if name not in broken(archive)]
    counts = Counter(tuple(name.split("/")[1:3]) for name in whole)
    folders = [f"{number:03d}.{breed.name}" for number, breed in enumerate(BREEDS, start=1)]
    assert len(folders) == 8
    assert counts == {(split, folder): n for split, n in SMALL.items() for folder in folders}


def test_the_pictures_are_jpegs_of_varied_sizes(archive):
    sizes = set()
    for name in archive.namelist():
        if name not in broken(archive):
            with Image.open(io.BytesIO(archive.read(name))) as image:
                image.load()
                assert image.format == "JPEG" and 200 <= min(image.size) <= max(image.size) <= 300
                sizes.add(image.size)
    assert len(sizes) > 30


def test_no_two_pictures_are_equal(archive):
    contents = [archive.read(name) for name in archive.namelist()]
    assert len(set(contents)) == len(contents)


def test_a_few_files_are_broken_and_fewer_than_the_limit_of_five_percent_by_default(archive):
    assert sorted(name.rsplit("/", 1)[-1] for name in broken(archive)) == [
        "empty.jpg",
        "git_lfs.jpg",
        "not_found.jpg",
        "truncated.jpg",
    ]
    from pipeline.sample_data import IMAGES_PER_CLASS

    assert 4 / (len(BREEDS) * sum(IMAGES_PER_CLASS.values()) + 4) < 0.05


def test_nothing_half_drawn_is_left_beside_the_archive(tmp_path):
    path = draw_sample_data(tmp_path, images_per_class=SMALL)
    assert list(tmp_path.iterdir()) == [path]
