"""The candidate against the champion on the same photos: a paired test, because two accuracies alone say too little.

On 500 photos two equally good models differ by two points one time in ten; what counts is the photos on which only
one of the two is right.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from breeds.evaluation import bootstrap

SIGNIFICANCE = 0.05


def is_same_model(candidate: Path, champion: Path) -> bool:
    """Whether two model directories hold the same weights and description: then there is nobody to compare with."""
    names = ("model.json", "model.pth")
    return all((candidate / name).read_bytes() == (champion / name).read_bytes() for name in names)


def absent(reason: str) -> dict[str, Any]:
    """pawline.champion of evaluation.json where no comparison was possible: it blocks no model."""
    return {"compared": False, "worse": 0, "summary": reason}


def compare(candidate_right: np.ndarray, champion_right: np.ndarray, seed: int) -> dict[str, Any]:
    """pawline.champion of evaluation.json, from which photos each model named rightly (bool [n], same order).

    `p_value`: exact McNemar test, one-sided: were both equally good, with this probability as many or more of the
    photos on which only one of them is right would speak for the champion. `worse` is 1 where the candidate's accuracy
    is lower and the p-value below 0.05.
    """
    count = len(candidate_right)
    gained = int((candidate_right & ~champion_right).sum())
    lost = int((champion_right & ~candidate_right).sum())
    mine, theirs = float(candidate_right.mean()), float(champion_right.mean())
    p_value = binomial_tail(lost, gained + lost)
    worse = lost > gained and p_value < SIGNIFICANCE
    low, high = bootstrap.difference(gained, lost, count, seed)
    summary = (
        f"candidate {mine:.4f} against champion {theirs:.4f} on the same {count} photos "
        f"(difference {mine - theirs:+.4f}, 95 % {low:+.4f} to {high:+.4f}, p={p_value:.2g}): "
        f"{'worse' if worse else 'not worse'}"
    )
    return {
        "compared": True,
        "worse": int(worse),
        "candidate_top1": mine,
        "champion_top1": theirs,
        "difference": mine - theirs,
        "difference_interval": [low, high],
        "only_candidate_right": gained,
        "only_champion_right": lost,
        "p_value": p_value,
        "num_images": count,
        "summary": summary,
    }


def binomial_tail(least: int, trials: int) -> float:
    """Probability of at least `least` heads in `trials` throws of a fair coin."""

    def log_probability(heads: int) -> float:
        ways = math.lgamma(trials + 1) - math.lgamma(heads + 1) - math.lgamma(trials - heads + 1)
        return ways - trials * math.log(2)

    return min(1.0, math.fsum(math.exp(log_probability(heads)) for heads in range(least, trials + 1)))
