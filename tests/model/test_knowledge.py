"""What pools know from their beginning: seen like other fragments, and never written into."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from factories import FRAGMENTS, pooled_model
from rxt.errors import UserError
from rxt.generation.knowledge import knowledge_of
from rxt.generation.pool_turn import PreparedPool
from rxt.model.mixture_of_memory import init_pool
from rxt.model.pool import Pool
from rxt.model.pool_keys import KeyTable
from rxt.model.pool_parts import fragment_bytes, head_bytes, joined

TEXTS = [[1, 3, *range(20 + number, 26 + number), 2] for number in range(0, 40, 8)]


def known() -> Pool:
    return knowledge_of(pooled_model(replace(FRAGMENTS, most_writes=1)), TEXTS)


def test_all_that_was_written_is_known_and_nothing_else() -> None:
    model = pooled_model(replace(FRAGMENTS, most_writes=1))
    read = PreparedPool.fresh(model, 0)
    for ids in TEXTS:
        read = read.for_query(model, ids).after(model, ids)
    knowledge = known()
    assert (knowledge.sealed, knowledge.turns) == (len(knowledge.fragments), 0)
    assert len(knowledge.fragments) == len(read.pool.fragments)
    for mine, theirs in zip(knowledge.fragments, read.pool.fragments, strict=True):
        assert torch.equal(mine.slots, theirs.slots)
        assert mine.turn == 0
    fresh = init_pool(model, 0)
    keys = KeyTable.of(torch.cat([read.pool.keys.whole(), fresh.keys.whole()[:1]]))
    unwritten = replace(read.pool, fragments=read.pool.fragments + fresh.fragments[:1], keys=keys)
    assert len(unwritten.as_knowledge().fragments) == len(read.pool.fragments)
    with pytest.raises(UserError, match="nothing to read"):
        knowledge_of(model, [])


@pytest.mark.parametrize("chosen", [1, 2])
def test_turns_see_it_and_leave_it_as_it_is(chosen: int) -> None:
    config = replace(FRAGMENTS, chosen=chosen, most_writes=3)
    model = pooled_model(config)
    knowledge = knowledge_of(model, TEXTS)
    prepared = PreparedPool.fresh(model, 7, knowledge)
    pool = prepared.pool
    assert pool.sealed == len(knowledge.fragments)
    assert torch.equal(prepared.memory.slots, model.init_memory(1, 7).slots), "a system prompt sees its own fragments"
    seen = set[int]()
    for ids in [*TEXTS, *TEXTS]:
        before = prepared.for_query(model, ids)
        prepared = before.after(model, ids)
        seen |= set(before.chosen)
        written = prepared.pool.changed_since(before.pool)
        assert written
        assert min(written) >= pool.sealed
        assert prepared.update is not None
        assert prepared.update.written == written
        for index in range(pool.sealed):
            assert prepared.pool.fragments[index] is pool.fragments[index]
        assert torch.equal(prepared.pool.keys.whole()[: pool.sealed], pool.keys.whole()[: pool.sealed])
    assert seen & set(range(pool.sealed)), "it is found"
    assert prepared.pool.turns == 2 * len(TEXTS)
    own = prepared.pool.fragments[pool.sealed :]
    assert all(fragment.writes for fragment in own[:1]), "the first fragments of its own are written before others"


def test_it_is_kept_with_the_pool() -> None:
    model = pooled_model()
    knowledge = knowledge_of(model, TEXTS)
    pool = PreparedPool.fresh(model, 0, knowledge).after(model, TEXTS[0]).pool
    for found in (
        Pool.from_bytes(pool.to_bytes()),
        joined(head_bytes(pool), [fragment_bytes(pool, index) for index in range(len(pool.fragments))]),
        pool.to(dtype=torch.float64),
        pool.detach(),
        pool.uncounted(),
    ):
        assert found.sealed == pool.sealed == len(knowledge.fragments)
    assert [fragment.turn for fragment in pool.uncounted().fragments[: pool.sealed]] == [0] * pool.sealed


def test_other_weights_know_something_else() -> None:
    with pytest.raises(UserError, match="the knowledge was made by other weights"):
        PreparedPool.fresh(pooled_model(seed=3), 0, known())
    with pytest.raises(UserError, match=r"a pool of 2 fragments cannot have 3 of knowledge"):
        replace(init_pool(pooled_model(), 0), sealed=3)
