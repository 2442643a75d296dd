"""Intervals of ratios: what is certain has no width, and theirs is that of the textbook."""

from __future__ import annotations

import math
import random

import pytest

from rxt.evaluation.bootstrap import Estimate, mean, ratio


def test_what_does_not_vary_has_no_width() -> None:
    assert mean([2.0, 2.0, 2.0]) == Estimate(2, 2, 2)
    assert ratio([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]) == Estimate(0.5, 0.5, 0.5)


def test_a_long_conversation_counts_as_much_as_it_is_long() -> None:
    assert ratio([0.0, 9.0], [1.0, 9.0]).value == pytest.approx(0.9)


def test_the_width_is_that_of_the_normal_approximation() -> None:
    draw = random.Random(0)
    values = [draw.gauss(3, 2) for _ in range(400)]
    found = mean(values)
    assert found.low < found.value < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * 2 / 20, rel=0.15)
    assert mean(values) == found, "the same numbers every time"


def test_nothing_measured_is_no_number() -> None:
    assert math.isnan(ratio([0.0, 0.0], [0.0, 0.0]).value)
    found = ratio([1.0, 0.0], [1.0, 0.0])
    assert (found.low, found.value, found.high) == (1, 1, 1), "draws without anything to count are left out"
