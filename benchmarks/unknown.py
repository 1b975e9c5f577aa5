"""How well a served model tells what it does not know: breeds left out of its training, and what is no dog at all.

    python -m benchmarks.unknown [--seeds 3]

prepare.py, embed.py and train.py on the real photos of 30 of the 40 breeds; then the served form scores the test
photos of those, of the other 10, the upper corners of photos (background), and noise. For comparison the largest
probability as a score, with a threshold chosen on validation alike.
"""

import argparse
import random
import sys
import tempfile
import zipfile
from collections import defaultdict
from pathlib import Path
from statistics import mean

import numpy as np

from benchmarks.jobs import script
from benchmarks.machine import Row, print_table
from benchmarks.photos import DATA, ROOT, WEIGHTS, weights_folder

sys.path.insert(0, str(ROOT / "code"))

from breeds.data import shards
from breeds.model import unknown
from breeds.serving import inference  # noqa: E402

UNSEEN = 10  # breeds left out
CORNER = 64  # pixels of a prepared photo's upper corner
NOISE_IMAGES = 40
LABELS = {"unseen": "breeds left out", "corners": "corners of photos", "noise": "noise"}


def split_archive(folder: Path, seed: int) -> tuple[Path, list[bytes]]:
    """(a folder with the zip of the known breeds, the other breeds' test photos)."""
    known = folder / "raw"
    known.mkdir()
    with zipfile.ZipFile(DATA) as source, zipfile.ZipFile(known / "dogs.zip", "w") as target:
        names = [name for name in source.namelist() if name.lower().endswith((".jpg", ".jpeg", ".png"))]
        breeds = sorted({Path(name).parent.name for name in names})
        left_out = set(random.Random(seed).sample(breeds, UNSEEN))
        for name in names:
            if Path(name).parent.name not in left_out:
                target.writestr(name, source.read(name))
        unseen = [source.read(n) for n in names if "/test/" in n and Path(n).parent.name in left_out]
    return known, unseen


def logits_of(predictor: inference.Predictor, jpegs: list[bytes]) -> np.ndarray:
    return np.concatenate([predictor.network(predictor.view(jpeg)[None]) for jpeg in jpegs])


def corners(jpegs: list[bytes], size: int) -> np.ndarray:
    pictures = [shards.decode(jpeg) for jpeg in jpegs]
    crops = [picture.crop((0, 0, CORNER, CORNER)).resize((size, size)) for picture in pictures]
    return np.stack([np.asarray(crop) for crop in crops])


def measure(folder: Path, seed: int) -> dict[tuple[str, str], tuple[float, float]]:
    """(score, group) -> (AUROC against the known test photos, share called unknown)."""
    raw, unseen = split_archive(folder, seed)
    weights, backbone = weights_folder(folder / "weights")
    prepared, features, model = (folder / name for name in ("prepared", "features", "model"))
    script("prepare", "--input", raw, "--output", prepared)
    common = ("--weights", weights, "--prepared", prepared)
    script("embed", *common, "--output", features, "--backbone", backbone, "--views", 4, "--seed", seed)
    script("train", *common, "--features", features, "--model-dir", model, "--seed", seed)
    predictor = inference.load(model)
    valid, test = ([jpeg for _, _, jpeg in shards.read_jpegs(prepared, split)] for split in ("valid", "test"))
    groups = {
        "test": logits_of(predictor, test),
        "unseen": logits_of(predictor, unseen),
        "corners": predictor.network(corners(test, predictor.image_size)),
        "noise": predictor.network(inference.smooth_noise(predictor.image_size, NOISE_IMAGES)),
    }
    validation = logits_of(predictor, valid)
    found = {}
    scores = {"energy": unknown.energy, "probability": lambda logits: -inference.optimized.softmax(logits).max(axis=1)}
    for name, score in scores.items():
        threshold = predictor.info["unknown"]["threshold"]
        if name != "energy":
            threshold = np.quantile(score(validation), 1 - unknown.SHARE)
        for group, logits in groups.items():
            values = score(logits)
            found[name, group] = unknown.auroc(score(groups["test"]), values), float((values > threshold).mean())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    if not (DATA.exists() and WEIGHTS.exists()):
        print(f"No photos or weights at {DATA.parent.parent}: the unknown score is not measured.")
        return
    found = defaultdict(list)
    for seed in range(given.seeds):
        with tempfile.TemporaryDirectory() as folder:
            for key, value in measure(Path(folder), seed).items():
                found[key].append(value)
    means = {key: tuple(mean(column) for column in zip(*values, strict=True)) for key, values in found.items()}
    rows: list[Row] = [
        (
            label,
            f"AUROC {means['energy', group][0]:.3f}, {means['energy', group][1]:.0%} called unknown",
            f"largest probability: {means['probability', group][0]:.3f}, {means['probability', group][1]:.0%}",
        )
        for group, label in LABELS.items()
    ]
    rows.append(("test photos of known breeds", f"{means['energy', 'test'][1]:.1%} called unknown", "5%"))
    figures = {f"{name}_{group}": value[0] for (name, group), value in means.items() if group != "test"}
    print_table(
        f"What the model does not know, {UNSEEN} of 40 breeds left out, {given.seeds} draws", rows, figures=figures
    )


if __name__ == "__main__":
    main()
