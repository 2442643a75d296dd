"""A pool in parts: joined, it is what it was, and a turn makes only what it has written anew."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rxt.errors import UserError
from rxt.model.memory import Memory
from rxt.model.pool import Fragment, Pool, memory_of
from rxt.model.pool_keys import KeyTable
from rxt.model.pool_parts import fragment_bytes, head_bytes, is_head, joined


def make(fragments: int = 4) -> Pool:
    """L = 2, S_r = 1, S_f = 2, D = 4."""
    parts = tuple(Fragment(torch.randn(2, 2, 4), index, index + 1, 0.1 * index) for index in range(fragments))
    return Pool(
        torch.randn(2, 1, 4), torch.randn(2, 2, 4), parts, KeyTable.of(torch.randn(fragments, 3)), 7, "0123456789abcdef"
    )


def parts_of(pool: Pool, half: bool = False) -> list[bytes]:
    return [fragment_bytes(pool, index, half) for index in range(len(pool.fragments))]


@pytest.mark.parametrize("fingerprint", ["0123456789abcdef", None])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_joined_it_is_what_it_was(dtype: torch.dtype, fingerprint: str | None) -> None:
    pool = replace(make().to(dtype=dtype), fingerprint=fingerprint)
    found = joined(head_bytes(pool), parts_of(pool))
    assert torch.equal(found.keys.whole(), pool.keys.whole())
    for name in ("resident", "fresh"):
        assert torch.equal(getattr(found, name), getattr(pool, name))
        assert getattr(found, name).dtype == dtype
    assert (found.turns, found.fingerprint) == (7, fingerprint)
    for mine, theirs in zip(found.fragments, pool.fragments, strict=True):
        assert torch.equal(mine.slots, theirs.slots)
        assert (mine.turn, mine.writes, mine.change) == (theirs.turn, theirs.writes, theirs.change)


def test_a_turn_makes_new_parts_of_what_it_wrote_alone() -> None:
    pool = make()
    after = pool.write((3, 1), torch.randn(2, 5, 4), torch.randn(3), 1.0, pool.fingerprint)
    before, now = parts_of(pool), parts_of(after)
    assert [old == new for old, new in zip(before, now, strict=True)] == [True, False, True, False]
    assert head_bytes(pool) == head_bytes(pool)


def test_rounded_slots_stay_what_they_are_in_half_precision() -> None:
    pool = make().rounded(range(4))
    found = joined(head_bytes(pool, half=True), parts_of(pool, half=True))
    assert found.fragments[0].slots.dtype == found.resident.dtype == torch.float16
    assert found.keys.whole().dtype == found.fresh.dtype == torch.float32
    again = found.to(dtype=torch.float32)
    assert torch.equal(again.resident, pool.resident)
    assert all(
        torch.equal(mine.slots, theirs.slots) for mine, theirs in zip(again.fragments, pool.fragments, strict=True)
    )
    one = make().rounded([2])
    assert not torch.equal(one.fragments[1].slots.half().float(), one.fragments[1].slots)


def test_what_is_no_pool_or_not_whole_is_refused() -> None:
    pool = make()
    head, parts = head_bytes(pool), parts_of(pool)
    assert is_head(head)
    for other in (b"", parts[0], pool.to_bytes(), Memory(torch.zeros(2, 1, 3, 4)).to_bytes(), b"\xff" * 40):
        assert not is_head(other)
    with pytest.raises(UserError, match="mine: a pool of 4 fragments, of which 3 are there"):
        joined(head, parts[:3], "mine")
    for wrong in (parts[0], b"nothing", head[:-4]):
        with pytest.raises(UserError, match="mine: not a pool"):
            joined(wrong, parts, "mine")
    with pytest.raises(UserError, match="mine: not a pool"):
        joined(head, [*parts[:3], head], "mine")


def test_a_files_content_says_which_kind_it_is() -> None:
    assert isinstance(memory_of(make().to_bytes()), Pool)
    assert isinstance(memory_of(Memory(torch.zeros(2, 1, 3, 4)).to_bytes()), Memory)
    for content in (b"", b"nothing of the kind", b"[" * 100_000):
        with pytest.raises(UserError, match="mine: not a memory"):
            memory_of(content, "mine")
