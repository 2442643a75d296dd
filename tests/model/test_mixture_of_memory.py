"""A turn with a pool of fragments: the equations, what stays as it was, and plain memory as the special case."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import naive_twins
import pytest
import torch
from naive_pool import NaivePool, weights
from naive_twins import ROTATED, assert_twins, randomize
from tiny_reactive import ENCODERS, REACTIVE, assert_near, make, ragged, tokens
from torch import Tensor

from rxt.config import PoolConfig
from rxt.errors import UserError
from rxt.model.memory import Memory
from rxt.model.mixture_of_memory import (
    PoolTurn,
    active,
    check_pool,
    init_pool,
    memorize,
    route,
    router_of,
    with_pool,
)
from rxt.model.parameters import parameter_counts
from rxt.model.pool import Pool
from rxt.model.pool_keys import KeyTable
from rxt.model.quantize import quantize
from rxt.pretrained import ReactiveTransformer

NEVER_OPENS = PoolConfig(fragment_slots=2, key_width=5, new_below=-1)
"""With one fragment chosen there is only ever one."""
OPENS_EVERY_TURN = PoolConfig(fragment_slots=2, key_width=5, new_below=-1, most_writes=1)


def pooled(config: PoolConfig = OPENS_EVERY_TURN, name: str = "plain") -> ReactiveTransformer:
    """A random model in evaluation mode with a pool, float64."""
    model = with_pool(make(REACTIVE[name]), config)
    randomize(router_of(model), 0.6)
    return model


def turn(model: ReactiveTransformer, pools: list[Pool], ids: Tensor, mask: Tensor | None = None) -> list[PoolTurn]:
    """A whole turn: its query is the first half of the interaction."""
    half = ids.shape[1] // 2
    turns = route(model, pools, ids[:, :half], None if mask is None else mask[:, :half])
    return memorize(model, turns, ids, mask)


def grown(model: ReactiveTransformer, turns: int, seed: int = 0) -> Pool:
    """The pool of a conversation after some turns."""
    pool = init_pool(model, seed)
    with torch.no_grad():
        for _turn in range(turns):
            pool = turn(model, [pool], tokens(1, 6))[0].pool
    return pool


def assert_same(found: Pool, expected: Pool) -> None:
    assert torch.equal(found.resident, expected.resident)
    assert torch.equal(found.fresh, expected.fresh)
    assert torch.equal(found.keys.whole(), expected.keys.whole())
    assert (found.turns, found.fingerprint) == (expected.turns, expected.fingerprint)
    for mine, theirs in zip(found.fragments, expected.fragments, strict=True):
        assert torch.equal(mine.slots, theirs.slots)
        assert (mine.turn, mine.writes, mine.change) == (theirs.turn, theirs.writes, theirs.change)


CASES = {
    "opened when full": OPENS_EVERY_TURN,
    "opened when nothing is alike": PoolConfig(fragment_slots=2, key_width=5, new_below=0.95),
    "three chosen, no resident slots": PoolConfig(1, chosen=3, key_width=4, new_below=-1, most_writes=1, key_decay=0.5),
    "two chosen": PoolConfig(1, chosen=2, key_width=4, new_below=-1, most_writes=2),
}


@pytest.mark.parametrize("name", CASES)
def test_the_equations(name: str) -> None:
    """Logits, similarities and slots of four turns, and the gradients of all weights through them, against the twin."""
    model = pooled(CASES[name])
    memory = model.init_memory(1, seed=0)
    pool, twin = init_pool(model, seed=0), NaivePool.begin(model, memory.slots[:, 0])
    found, expected = list[Tensor](), list[Tensor]()
    for _turn in range(4):
        ids = tokens(1, 4)
        turns = route(model, [pool], ids[:, :2])
        similarities, largest = twin.see(ids[:, :2])
        chosen = list(turns[0].chosen)
        assert [similarities[index].item() for index in chosen] == pytest.approx(largest, abs=1e-9)
        found += [turns[0].similarities, model.decode(ids, active(turns)).flatten()]
        expected += [similarities, naive_twins.decoder(model.decoder, ids, twin.active(chosen)[:, None]).flatten()]
        (written,) = memorize(model, turns, ids)
        assert sorted(written.chosen) == sorted(twin.write(chosen, ids))
        pool = written.pool
    assert len(pool.fragments) > CASES[name].chosen, "no fragment was opened: there was nothing to choose"
    for fragment, slots in zip(pool.fragments, twin.fragments, strict=True):
        found.append(fragment.slots.flatten())
        expected.append(slots.flatten())
    assert [fragment.writes for fragment in pool.fragments] == twin.writes
    assert_twins(torch.cat(found), torch.cat(expected), weights(model), ROTATED)


@pytest.mark.parametrize("name", ["plain", "mixed norms", "beta-like"])
@pytest.mark.parametrize("batch", [1, 2])
@torch.no_grad()
def test_a_pool_that_opens_nothing_is_a_plain_memory(name: str, batch: int) -> None:
    model, plain = pooled(NEVER_OPENS, name), make(REACTIVE[name])
    plain.load_state_dict({key: value for key, value in model.state_dict().items() if not key.startswith("router")})
    memory = plain.init_memory(batch, seed=0)
    pools = [Pool.split(memory.select(row), NEVER_OPENS) for row in range(batch)]
    pools = [replace(pool, fingerprint=None) for pool in pools]
    for length in (6, 9, 4):
        ids, mask = ragged([length, *[length // 2] * (batch - 1)])
        turns = route(model, pools, ids[:, :2])
        assert torch.equal(active(turns).slots, memory.slots)
        assert torch.equal(model.decode(ids, active(turns), mask), plain.decode(ids, memory, mask))
        memory = plain.memorize(memory, ids, mask)
        after = memorize(model, turns, ids, mask)
        pools = [each.pool for each in after]
        assert torch.equal(active(after).slots, memory.slots)
    assert [pool.turns for pool in pools] == list(memory.turns) == [3] * batch
    assert all(len(pool.fragments) == 1 for pool in pools)


@torch.no_grad()
def test_a_batch_is_its_conversations_one_by_one() -> None:
    """Pools of one, three and five fragments, and texts of several lengths."""
    model = pooled()
    pools = [grown(model, turns, seed) for seed, turns in enumerate((0, 3, 5))]
    queries, queries_mask = ragged([3, 5, 2])
    ids, mask = ragged([4, 9, 7])
    together = route(model, pools, queries, queries_mask)
    written = memorize(model, together, ids, mask)
    for row, pool in enumerate(pools):
        (alone,) = route(model, [pool], queries[row : row + 1, queries_mask[row]])
        assert alone.chosen == together[row].chosen
        assert_near(together[row].similarities, alone.similarities)
        (after,) = memorize(model, [alone], ids[row : row + 1, mask[row]])
        assert after.chosen == written[row].chosen
        assert_near(written[row].pool.keys.whole(), after.pool.keys.whole())
        assert_near(written[row].pool.resident, after.pool.resident)
        for mine, theirs in zip(written[row].pool.fragments, after.pool.fragments, strict=True):
            assert_near(mine.slots, theirs.slots)
            assert (mine.turn, mine.writes) == (theirs.turn, theirs.writes)


@torch.no_grad()
def test_what_was_not_chosen_is_the_very_same_and_the_old_pool_is_untouched() -> None:
    model = pooled(replace(OPENS_EVERY_TURN, most_writes=2))
    before = grown(model, 6)
    copy = Pool.from_bytes(before.to_bytes())
    (after,) = turn(model, [before], tokens(1, 6))
    changed = set(after.pool.changed_since(before))
    assert changed == set(after.chosen)
    assert len(before.fragments) > len(changed)
    for index, fragment in enumerate(before.fragments):
        if index not in changed:
            assert after.pool.fragments[index] is fragment
            assert torch.equal(after.pool.keys.whole()[index], before.keys.whole()[index])
    assert_same(before, copy)


@torch.no_grad()
def test_a_fragment_is_found_by_what_was_written_into_it() -> None:
    """An untrained router, whose projections start alike: the same text is most like itself."""
    model = with_pool(make(), OPENS_EVERY_TURN)
    router_of(model).double()
    pool, texts = init_pool(model, seed=0), [tokens(1, 6) for _ in range(6)]
    for ids in texts:
        turns = route(model, [pool], ids)
        pool = memorize(model, turns, ids)[0].pool
    assert len(pool.fragments) == 6
    for index, ids in enumerate(texts):
        (found,) = route(model, [pool], ids)
        assert found.chosen == (index,)
        torch.testing.assert_close(found.similarities[index], torch.ones((), dtype=torch.float64))


@torch.no_grad()
def test_nothing_alike_opens_a_fragment_and_something_alike_does_not() -> None:
    ids = tokens(1, 6)
    for new_below, count in ((1.0, 2), (-1.0, 1)):
        model = pooled(replace(NEVER_OPENS, new_below=new_below))
        pool = grown(model, 1)
        assert len(pool.fragments) == 1, "the first interaction goes into the fragment that is fresh"
        (after,) = turn(model, [pool], ids)
        assert len(after.pool.fragments) == count
        assert after.chosen == (count - 1,)


@torch.no_grad()
def test_a_fragment_whose_gates_hardly_open_is_full() -> None:
    pool = grown(pooled(NEVER_OPENS), 1)
    change = pool.fragments[0].change
    assert change > 0
    for below, count in ((change * 1.01, 2), (change * 0.99, 1)):
        model = pooled(replace(NEVER_OPENS, full_below=below))
        (after,) = turn(model, [replace(pool, fingerprint=None)], tokens(1, 6))
        assert len(after.pool.fragments) == count


@torch.no_grad()
def test_a_fresh_fragment_takes_the_place_of_the_least_alike() -> None:
    model = pooled(PoolConfig(1, chosen=2, key_width=4, new_below=-1, most_writes=1))
    pool = grown(model, 3)
    count = len(pool.fragments)
    turns = route(model, [pool], tokens(1, 3))
    (after,) = memorize(model, turns, tokens(1, 6))
    assert turns[0].similarities[turns[0].chosen[0]] >= turns[0].similarities[turns[0].chosen[1]]
    assert after.chosen == (count, turns[0].chosen[0])
    assert turns[0].chosen[1] not in after.pool.changed_since(pool)


@torch.no_grad()
def test_choosing_what_holds_the_answer() -> None:
    model = pooled(PoolConfig(1, chosen=2, key_width=4, new_below=-1, most_writes=1))
    (routed,) = route(model, [grown(model, 5)], tokens(1, 3))
    ranked = routed.similarities.argsort(descending=True).tolist()
    assert routed.chosen == tuple(ranked[:2])
    last = ranked[-1]
    assert routed.choosing([last]).chosen == (last, ranked[0])
    assert routed.choosing(ranked).chosen == routed.chosen
    assert routed.choosing([]).chosen == routed.chosen


def test_a_model_without_a_pool_is_what_it_was() -> None:
    """No weight, no key of its configuration, and no other name for its weights."""
    model = make()
    assert not any(name.startswith("router") for name in model.state_dict())
    assert "pool" not in model.config.to_dict()
    assert model.with_pool(NEVER_OPENS).fingerprint() != model.fingerprint()
    assert model.config.pool is None
    assert model.router is None
    for call in (lambda: init_pool(model), lambda: route(model, [], tokens(1, 3))):
        with pytest.raises(UserError, match="keeps no fragments"):
            call()


def test_a_model_with_a_pool_is_stored_whole(tmp_path: Path) -> None:
    model = pooled().float()
    model.save_pretrained(tmp_path)
    again = ReactiveTransformer.from_pretrained(tmp_path)
    assert again.config == model.config
    assert again.config.pool == OPENS_EVERY_TURN
    assert again.fingerprint() == model.fingerprint()
    pool = grown(model, 3)
    check_pool(again, pool)
    ids = tokens(1, 5)
    with torch.no_grad():
        assert_same(turn(again, [pool], ids)[0].pool, turn(model, [pool], ids)[0].pool)
    assert parameter_counts(model.config).router == sum(weight.numel() for weight in weights(router_of(model)))
    assert parameter_counts(model.config).total == sum(weight.numel() for weight in weights(model))
    with pytest.raises(UserError, match="a pool of fragments"):
        model.save_pretrained(tmp_path, layout="published")


def test_pools_that_do_not_go_with_a_model_are_refused() -> None:
    model = pooled()
    pool = grown(model, 2)
    check_pool(model, pool)
    with pytest.raises(UserError, match="resident of shape"):
        check_pool(model, replace(pool, resident=pool.resident[:, :0]))
    with pytest.raises(UserError, match="keys of shape"):
        check_pool(model, replace(pool, keys=KeyTable.of(pool.keys.whole()[:, :2])))
    with pytest.raises(UserError, match="other weights"):
        check_pool(pooled(), pool)
    two = pooled(PoolConfig(1, chosen=2, key_width=5))
    one = Pool(
        pool.resident,
        two.init_memory().slots[:, 0, :1],
        grown(two, 1).fragments[:1],
        KeyTable.of(pool.keys.whole()[:1]),
    )
    with pytest.raises(UserError, match="sees 2 fragments, this pool has 1"):
        check_pool(two, one)
    with pytest.raises(UserError, match="quantized"):
        quantize(make(double=False)).with_pool(NEVER_OPENS)


def test_an_encoder_that_reads_memory_cannot_route() -> None:
    with pytest.raises(UserError, match=r"pool chooses fragments by encoded queries, so encoder\.cross_attention"):
        replace(REACTIVE["plain"], encoder=ENCODERS["reads memory"], pool=NEVER_OPENS)


def test_active_memories_are_those_of_one_model() -> None:
    model = pooled()
    turns = route(model, [init_pool(model, 0), replace(init_pool(model, 1), fingerprint="f" * 16)], tokens(2, 3))
    with pytest.raises(UserError, match="different models"):
        active(turns)
    assert isinstance(turns[0].memory, Memory)
