"""The README's picture of a run."""

import xml.dom.minidom
from pathlib import Path

from benchmarks import picture
from pipeline.execution import Step

README_PICTURE = Path(__file__).parent.parent.parent / "docs" / "pictures" / "run.svg"


def test_the_picture_has_the_steps_times_and_figures_and_needs_nothing_from_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos.zip").write_bytes(b"")
    report = {
        "status": "Succeeded",
        "seconds": 45.8,
        "metrics": {"test:top1": 0.9465, "test:top5": 0.996},
        "model_package_arn": None,
        "endpoint": "pawline",
    }
    steps = [
        Step(name=name, type="Processing", status="Succeeded", seconds=seconds, cached=False)
        for name, seconds in {"Prepare": 1.3, "Champion": 0.4}.items()
    ]
    words = ["--data", str(tmp_path / "photos.zip"), "--backbone", "mobilenet_v2"]
    picture.draw(words, steps, {"Prepare": "prepared: 40 classes"}, report, tmp_path / "run.svg")
    drawn = (tmp_path / "run.svg").read_text()
    xml.dom.minidom.parseString(drawn)
    for text in ("Champion", "1.3&#160;s", "prepared:&#160;40&#160;classes", "DATA=photos.zip", "45.8&#160;s"):
        assert text in drawn
    assert "url(" not in drawn.replace("url(#", "") and str(tmp_path) not in drawn


def test_the_picture_in_the_readme_shows_every_step_of_the_pipeline():
    drawn = README_PICTURE.read_text()
    for name in ["Prepare", "Embed", "Tune", "Train", "Debug", "Champion", "Evaluate", "Gate", "Register", "Deploy"]:
        assert name in drawn
