"""Turns of many conversations together, with pools and without, are what each is alone."""

from __future__ import annotations

import pytest
import torch

from factories import pooled_model
from rxt.errors import UserError
from rxt.generation.pool_turn import PreparedPool
from rxt.generation.ready import Ready, change, fresh, memorize_all, ready, routed
from rxt.generation.turn import Prepared

TEXTS = [[1, 3, *range(20, 20 + length)] for length in (3, 12, 4, 25, 9)]


def some() -> list[Ready]:
    """Pools of different histories, and a plain memory among them."""
    model = pooled_model()
    made: list[Ready] = []
    for count in range(4):
        one = fresh(model, seed=0)
        for index in range(count * 2):
            one = one.for_query(model, TEXTS[index % 5]).after(model, TEXTS[(index + count) % 5])
        made.append(one)
    return [*made[:2], ready(model, model.init_memory(1, seed=3)), *made[2:]]


def assert_alike(found: Ready, expected: Ready) -> None:
    torch.testing.assert_close(found.memory.slots, expected.memory.slots)
    assert (found.memory.turns, found.chosen) == (expected.memory.turns, expected.chosen)
    assert isinstance(found, PreparedPool) == isinstance(expected, PreparedPool)
    if isinstance(found, PreparedPool) and isinstance(expected, PreparedPool):
        torch.testing.assert_close(found.pool.keys.whole(), expected.pool.keys.whole())
        for mine, theirs in zip(found.pool.fragments, expected.pool.fragments, strict=True):
            torch.testing.assert_close(mine.slots, theirs.slots)
            assert (mine.turn, mine.writes) == (theirs.turn, theirs.writes)


def test_together_is_one_after_the_other() -> None:
    model, before = pooled_model(), some()
    assert len({each.chosen for each in before}) > 2, "the same everywhere: nothing to mix up"
    asked = routed(model, before, TEXTS)
    said = [[*text, 2, 9] for text in reversed(TEXTS)]
    after = memorize_all(model, asked, said)
    for index, each in enumerate(before):
        alone = each.for_query(model, TEXTS[index])
        assert_alike(asked[index], alone)
        assert_alike(after[index], alone.after(model, said[index]))
        update, expected = after[index].update, alone.after(model, said[index]).update
        assert update is not None
        assert expected is not None
        assert (update.turn, update.seen, update.written) == (expected.turn, expected.seen, expected.written)
        assert update.change == pytest.approx(expected.change, rel=1e-4)
        slots = change(asked[index], after[index])
        assert slots.mean(1).tolist() == pytest.approx(update.change, rel=1e-4)


def test_without_a_prompt_what_was_chosen_stays() -> None:
    model, before = pooled_model(), some()
    for found, each in zip(routed(model, before, [None] * len(before)), before, strict=True):
        assert found is each
    last = before[-1]
    assert isinstance(last, PreparedPool)
    assert last.choosing((2, 0)).chosen == (2, 0)
    assert last.choosing((2, 0)).pool is last.pool


def test_half_precision_rounds_what_is_written_and_nothing_else() -> None:
    model, before = pooled_model(), some()
    for found, each in zip(memorize_all(model, before, TEXTS, half=True), before, strict=True):
        assert torch.equal(found.memory.slots.half().float(), found.memory.slots)
        if isinstance(found, PreparedPool) and isinstance(each, PreparedPool):
            untouched = set(range(len(each.pool.fragments))) - set(found.chosen)
            assert all(found.pool.fragments[index] is each.pool.fragments[index] for index in untouched)


def test_as_many_interactions_as_memories() -> None:
    with pytest.raises(UserError, match="1 memories need as many interactions, found 2"):
        memorize_all(pooled_model(), [Prepared.fresh(pooled_model(), 0)], TEXTS[:2])
