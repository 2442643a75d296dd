"""How sure a mean is, found by drawing the measured conversations again and again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SAMPLES = 1_000


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


def ratio(
    numerators: Sequence[float], denominators: Sequence[float], seed: int = 0, samples: int = SAMPLES
) -> Estimate:
    """Σ numerators / Σ denominators, one pair a conversation, with the percentile bootstrap over conversations.

    NaN where the denominators add up to nothing.
    """
    above, below = np.asarray(numerators, dtype=float), np.asarray(denominators, dtype=float)
    if not below.sum():
        return Estimate(float("nan"), float("nan"), float("nan"))
    draw = np.random.default_rng(seed)
    drawn = []
    for _ in range(samples):
        rows = draw.integers(len(above), size=len(above))
        if below[rows].sum():  # a draw of conversations without anything to count says nothing
            drawn.append(above[rows].sum() / below[rows].sum())
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(float(above.sum() / below.sum()), float(low), float(high))


def mean(values: Sequence[float], seed: int = 0, samples: int = SAMPLES) -> Estimate:
    """The mean of values, one a conversation, with its interval."""
    return ratio(values, [1.0] * len(values), seed, samples)
