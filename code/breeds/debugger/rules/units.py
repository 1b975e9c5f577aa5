"""Activations by unit: what DeadRelu and SaturatedActivation count."""

import numpy as np


def activity(active: np.ndarray) -> np.ndarray:
    """Percentage of the samples (and positions, of a feature map) in which each unit is active.

    active: bool [n, units] or [n, channels, height, width]; returns float [units].
    """
    if active.ndim < 2:
        return np.atleast_1d(100.0 * active)
    others = tuple(axis for axis in range(active.ndim) if axis != 1)
    return 100.0 * active.mean(axis=others)
