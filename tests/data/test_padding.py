"""Rows computed apart by length: every row once, and no cheaper way to part them."""

from __future__ import annotations

from itertools import combinations, pairwise
from random import Random

import pytest
import torch

from rxt.data.collate import Rows, cheapest_parts


def cost(lengths: list[int], sizes: list[int], part_cost: int) -> int:
    ends = [sum(sizes[: index + 1]) for index in range(len(sizes))]
    return sum(size * lengths[end - 1] + part_cost for size, end in zip(sizes, ends, strict=True))


@pytest.mark.parametrize("part_cost", [0, 3, 40, 10**6])
def test_no_other_parts_cost_less(part_cost: int) -> None:
    rng = Random(part_cost)
    for _ in range(30):
        lengths = sorted(rng.choice((4, 5, 9, 30, rng.randint(1, 40))) for _ in range(rng.randint(1, 9)))
        found = cheapest_parts(lengths, part_cost)
        assert sum(found) == len(lengths)
        others = [
            [end - start for start, end in pairwise((0, *cuts, len(lengths)))]
            for count in range(len(lengths))
            for cuts in combinations(range(1, len(lengths)), count)
        ]
        assert cost(lengths, found, part_cost) == min(cost(lengths, sizes, part_cost) for sizes in others)


def test_a_long_row_among_short_ones_is_computed_apart() -> None:
    lengths = torch.tensor([20, 100, 21, *[20] * 40])
    mask = torch.arange(100) < lengths[:, None]
    rows = Rows(torch.zeros(43, 100, dtype=torch.long), mask, mask)
    parts = rows.with_little_padding()
    assert [len(part) for part in parts] == [42, 1]
    assert parts[1].tolist() == [1]
    assert sorted(torch.cat(parts).tolist()) == list(range(43))


def test_a_gpu_computes_few_large_parts() -> None:
    """As any device that is no processor: meta, which needs none."""
    lengths = (20, 100, *[20] * 40)
    ids = torch.zeros(len(lengths), 100, dtype=torch.long, device="meta")
    rows = Rows(ids, ids.bool(), ids.bool(), lengths)
    assert [len(part) for part in rows.with_little_padding()] == [42]
