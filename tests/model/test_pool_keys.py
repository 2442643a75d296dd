"""The table of a pool's keys: one tensor in parts, of which a turn copies those it writes into."""

from __future__ import annotations

from random import Random

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rxt.errors import UserError
from rxt.model import pool_keys
from rxt.model.mixture_of_memory import most_alike
from rxt.model.pool_keys import KeyTable


@pytest.fixture(autouse=True)
def parts_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_keys, "PART", 3)


def wrote(keys: Tensor, rows: set[int], key: Tensor, decay: float) -> Tensor:
    """What a table does, with one tensor."""
    if len(keys) in rows:
        keys = torch.cat([keys, keys.new_zeros(1, keys.shape[1])])
    return torch.stack([decay * row + key if index in rows else row for index, row in enumerate(keys)])


@pytest.mark.parametrize("first", [0, 1, 3, 7])
def test_a_table_in_parts_is_one_tensor(first: int) -> None:
    """Keys, cosines and gradients after many turns that open rows and change old ones."""
    start = torch.randn(first, 4, dtype=torch.float64).requires_grad_()
    table, keys, rng, written = KeyTable.of(start), start, Random(first), list[Tensor]()
    for _ in range(12):
        rows = {len(keys)} | set(rng.sample(range(len(keys)), min(len(keys), rng.randint(0, 2))))
        rows = rows if rng.random() < 0.7 or not len(keys) else set(rng.sample(range(len(keys)), 1))
        written.append(torch.randn(4, dtype=torch.float64).requires_grad_())
        table, keys = table.written(rows, written[-1], 0.8), wrote(keys, rows, written[-1], 0.8)
    assert table.shape == keys.shape
    assert torch.equal(table.whole(), keys)
    assert torch.equal(table.row(4), keys[4])
    query = torch.randn(4, dtype=torch.float64)
    found, expected = table.cosines(query, -1.0), F.cosine_similarity(keys, query[None] / 1.0, dim=1) * query.norm()
    torch.testing.assert_close(found, expected)
    leaves = [start, *written]
    mine, theirs = torch.autograd.grad(found.sum(), leaves), torch.autograd.grad(expected.sum(), leaves)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_what_a_turn_does_not_write_is_shared() -> None:
    before = KeyTable.of(torch.randn(8, 4))
    held = before.whole().clone()
    after = before.written({1, 8}, torch.randn(4), 1.0)
    assert after.parts[1] is before.parts[1]
    assert after.parts[0] is not before.parts[0]
    assert len(after) == 9
    assert torch.equal(before.whole(), held)


def test_a_key_of_zeros_is_as_like_as_is_said_and_not_known() -> None:
    table = KeyTable.of(torch.tensor([[0.0, 0.0], [2.0, 0.0]])).written({2}, torch.zeros(2), 1.0)
    assert table.cosines(torch.tensor([1.0, 0.0]), 0.3).tolist() == pytest.approx([0.3, 1.0, 0.3])
    assert table.known().tolist() == [False, True, False]


def test_it_goes_into_another_precision_once() -> None:
    table = KeyTable.of(torch.randn(5, 4))
    assert table.to(dtype=torch.float32) is table
    assert table.to(dtype=torch.float64).lengths.dtype == torch.float64
    assert table.nbytes == 5 * 4 * 4


def test_other_shapes_are_refused() -> None:
    with pytest.raises(UserError, match=r"keys of fragments have shape \(F, D_k\), found \(3,\)"):
        KeyTable.of(torch.zeros(3))


@pytest.mark.parametrize("count", [1, 3, 9, 12])
def test_of_fragments_equally_alike_the_oldest_is_chosen(count: int) -> None:
    for seed in range(20):
        alike = torch.randint(3, (9,), generator=torch.Generator().manual_seed(seed)).float()
        assert most_alike(alike, count) == alike.argsort(descending=True, stable=True)[:count].tolist()
