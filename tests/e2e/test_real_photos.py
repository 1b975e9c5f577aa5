"""Real photos and real weights, where they lie beside the project (they are no part of it)."""

from pathlib import Path

import pytest

from tests.e2e.commands import ROOT, last_json, pawline

PHOTOS = ROOT.parent / "shared" / "data" / "dogImages.zip"
WEIGHTS = ROOT.parent / "shared" / "weights" / "mobilenet_v2.pth"


@pytest.mark.slow
@pytest.mark.skipif(not (PHOTOS.exists() and WEIGHTS.exists()), reason="no photos and weights beside the project")
def test_real_photos_become_a_classifier_that_names_a_breed(state_dir, server):
    words = ["--data", str(PHOTOS), "--weights", str(WEIGHTS), "--backbone", "mobilenet_v2"]
    done = pawline(state_dir, "run", "--json", *words)
    assert done.returncode == 0, done.stderr
    report = last_json(done)
    assert report["metrics"]["test:top1"] >= 0.90
    breed = Path(report["prediction"]["file"]).parent.name.partition(".")[2].replace("_", " ").lower()
    assert report["prediction"]["breed"] == breed
