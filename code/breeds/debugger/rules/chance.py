"""How likely a result is by luck: tails of the binomial distribution, without scipy, which no image brings."""

import math

import numpy as np


def at_least(successes: int, trials: int, probability: float) -> float:
    """P(X >= successes) for X ~ Binomial(trials, probability)."""
    if successes <= 0:
        return 1.0
    if not 0 < probability < 1:
        return float(probability >= 1)
    k = np.arange(trials)
    ratios = np.log((trials - k) / (k + 1)) + math.log(probability / (1 - probability))
    logarithms = np.concatenate([[0.0], np.cumsum(ratios)]) + trials * math.log1p(-probability)
    return float(min(1.0, np.exp(logarithms[successes:]).sum()))
