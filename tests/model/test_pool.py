"""A pool is a value: immutable, checked, saved whole, and sharing what has not changed."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rxt.config import PoolConfig
from rxt.errors import UserError
from rxt.model.memory import Memory
from rxt.model.pool import Fragment, Pool, load_memory
from rxt.model.pool_keys import KeyTable

CONFIG = PoolConfig(fragment_slots=2, chosen=2, key_width=3)


def make(fragments: int = 4, turns: int = 7) -> Pool:
    """L = 2, S_r = 1, S_f = 2, D = 4."""
    parts = tuple(Fragment(torch.randn(2, 2, 4), index, index + 1, 0.1 * index) for index in range(fragments))
    keys = torch.randn(fragments, 3)
    return Pool(torch.randn(2, 1, 4), torch.randn(2, 2, 4), parts, KeyTable.of(keys), turns, "0123456789abcdef")


def assert_equal(found: Pool, expected: Pool) -> None:
    assert torch.equal(found.keys.whole(), expected.keys.whole())
    for name in ("resident", "fresh"):
        assert torch.equal(getattr(found, name), getattr(expected, name))
        assert getattr(found, name).dtype == getattr(expected, name).dtype
    assert (found.turns, found.fingerprint) == (expected.turns, expected.fingerprint)
    assert len(found.fragments) == len(expected.fragments)
    for mine, theirs in zip(found.fragments, expected.fragments, strict=True):
        assert torch.equal(mine.slots, theirs.slots)
        assert (mine.turn, mine.writes, mine.change) == (theirs.turn, theirs.writes, theirs.change)


def test_immutable() -> None:
    pool = make()
    for value in (pool, pool.fragments[0]):
        for field in dataclasses.fields(value):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(value, field.name, None)


def test_a_fresh_memory_in_parts_is_active_as_it_was() -> None:
    memory = Memory(torch.randn(2, 1, 5, 4), fingerprint="f")
    pool = Pool.split(memory, CONFIG)
    assert (pool.resident.shape, pool.fresh.shape) == ((2, 1, 4), (2, 2, 4))
    assert torch.equal(pool.active((0, 1)).slots, memory.slots)
    assert torch.equal(pool.active((1, 0)).slots, memory.slots), "fragments stand in the order of their age"
    assert not pool.keys.whole().any()
    assert torch.equal(pool.fresh, memory.slots[:, 0, 3:])
    assert pool.active((0, 1)).fingerprint == "f"


@pytest.mark.parametrize(
    ("memory", "message"),
    [(torch.zeros(2, 2, 5, 4), "one conversation, found 2"), (torch.zeros(2, 1, 3, 4), "4 together, but .* is 3")],
)
def test_memories_that_cannot_be_split(memory: torch.Tensor, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Pool.split(Memory(memory), CONFIG)


def test_shapes_are_checked() -> None:
    pool = make()
    with pytest.raises(UserError, match=r"resident slots have shape \(L, S, D\), found \(2, 4\)"):
        replace(pool, resident=pool.resident[:, 0])
    with pytest.raises(UserError, match=r"4 fragments has keys \(F, D_k\), one for each, found \(3, 3\)"):
        replace(pool, keys=KeyTable.of(pool.keys.whole()[:3]))


def test_a_turn_writes_what_it_saw_and_nothing_else() -> None:
    pool, slots, key = make(), torch.randn(2, 5, 4), torch.randn(3)
    after = pool.write((3, 1), slots, key, 0.5, "other")
    assert torch.equal(after.active((1, 3)).slots[:, 0], slots)
    assert after.changed_since(pool) == (1, 3)
    assert after.fragments[0] is pool.fragments[0]
    assert after.fragments[2] is pool.fragments[2]
    assert torch.equal(after.keys.whole()[[0, 2]], pool.keys.whole()[[0, 2]])
    assert torch.equal(after.keys.whole()[[1, 3]], 0.5 * pool.keys.whole()[[1, 3]] + key)
    assert (after.turns, after.fingerprint) == (8, "other")
    assert [fragment.turn for fragment in after.fragments] == [0, 8, 2, 8]
    assert [fragment.writes for fragment in after.fragments] == [1, 3, 3, 5]
    old, new = pool.fragments[1].slots, after.fragments[1].slots
    assert after.fragments[1].change == pytest.approx(float((new - old).abs().mean() / old.abs().mean()))


def test_the_next_fragment_is_opened_by_writing_it() -> None:
    pool, slots, key = make(), torch.randn(2, 5, 4), torch.randn(3)
    assert torch.equal(pool.active((4, 0)).slots[:, 0, 3:], pool.fresh)
    after = pool.write((4, 0), slots, key, 1.0, None)
    assert len(after.fragments) == 5
    assert after.changed_since(pool) == (0, 4)
    assert torch.equal(after.fragments[4].slots, slots[:, 3:])
    assert torch.equal(after.keys.whole()[4], key)
    assert (after.fragments[4].turn, after.fragments[4].writes) == (8, 1)
    with pytest.raises(IndexError):
        pool.active((0, 5))


def test_what_is_written_is_held_on_its_own() -> None:
    """A view of a batch would keep the whole batch, and be changed with it."""
    slots = torch.randn(2, 9, 5, 4)
    after = make().write((0, 1), slots[:, 3], torch.randn(3), 1.0, None)
    kept = [after.resident, *(after.fragments[index].slots for index in (0, 1))]
    before = [tensor.clone() for tensor in kept]
    slots.zero_()
    for tensor, expected in zip(kept, before, strict=True):
        assert torch.equal(tensor, expected)
        assert tensor.untyped_storage().nbytes() == tensor.nbytes


@pytest.mark.parametrize(
    ("config", "full"),
    [
        (CONFIG, [False] * 4),
        (replace(CONFIG, most_writes=3), [False, False, True, True]),
        (replace(CONFIG, full_below=0.15), [True, True, False, False]),
    ],
)
def test_full_fragments(config: PoolConfig, full: list[bool]) -> None:
    pool = make()
    assert [fragment.is_full(config) for fragment in pool.fragments] == full
    assert not pool.fragment(4).is_full(config), "what is fresh is never full"


def test_what_is_no_turn_is_not_counted() -> None:
    pool = make().write((1, 3), torch.randn(2, 5, 4), torch.randn(3), 1.0, None)
    uncounted = pool.uncounted()
    assert uncounted.turns == 7
    assert [fragment.turn for fragment in uncounted.fragments] == [0, 7, 2, 7]
    assert [fragment.writes for fragment in uncounted.fragments] == [1, 3, 3, 5]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_saved_and_loaded(tmp_path: Path, dtype: torch.dtype) -> None:
    pool = make().to(dtype=dtype)
    pool.save(tmp_path / "pool")
    assert_equal(Pool.load(tmp_path / "pool"), pool)
    assert_equal(Pool.from_bytes(pool.to_bytes()), pool)
    loaded = load_memory(tmp_path / "pool")
    assert isinstance(loaded, Pool)
    assert_equal(loaded, pool)
    assert [path.name for path in tmp_path.iterdir()] == ["pool"]


def test_a_pool_without_resident_slots_and_without_a_fingerprint_is_saved(tmp_path: Path) -> None:
    pool = replace(make(), resident=torch.zeros(2, 0, 4), fingerprint=None)
    pool.save(tmp_path / "pool")
    assert_equal(Pool.load(tmp_path / "pool"), pool)


def test_a_file_says_which_kind_of_memory_it_holds(tmp_path: Path) -> None:
    memory = Memory(torch.randn(2, 1, 3, 4))
    memory.save(tmp_path / "memory")
    loaded = load_memory(tmp_path / "memory")
    assert isinstance(loaded, Memory)
    assert torch.equal(loaded.slots, memory.slots)
    make().save(tmp_path / "pool")
    with pytest.raises(UserError, match=r"not a memory file .*rxt-pool-1"):
        Memory.load(tmp_path / "pool")
    with pytest.raises(UserError, match=r"memory: not a pool .*rxt-memory-1"):
        Pool.load(tmp_path / "memory")
    for read in (Pool.load, load_memory):
        with pytest.raises(UserError, match="o such file"):
            read(tmp_path / "none")


def test_files_that_are_no_pool(tmp_path: Path) -> None:
    path = tmp_path / "pool"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="pool: not a pool"):
        Pool.load(path)
    metadata = {"format": "rxt-pool-1", "turns": "1", "fingerprint": ""}
    save_file({"resident": torch.zeros(1, 1, 1)}, path, metadata)
    with pytest.raises(UserError, match=r"pool: not a pool .*fragments"):
        Pool.load(path)


def test_detach_cuts_gradients_here_and_nowhere_else() -> None:
    slots = torch.randn(2, 5, 4, requires_grad=True)
    pool = make().write((0, 1), slots * 2, slots.sum() * torch.ones(3), 1.0, None)
    cut = pool.detach()
    for before, after in (
        (pool.resident, cut.resident),
        (pool.keys.whole(), cut.keys.whole()),
        (pool.fragments[0].slots, cut.fragments[0].slots),
    ):
        assert before.requires_grad
        assert not after.requires_grad
    assert torch.equal(cut.active((0, 1)).slots, pool.active((0, 1)).slots)


def test_to_where_it_is_shares_the_fragments() -> None:
    pool = make()
    assert not pool.to("cpu", torch.float32).changed_since(pool)
    assert pool.to(dtype=torch.float64).changed_since(pool) == (0, 1, 2, 3)
    assert pool.nbytes == (2 * 1 * 4 + 5 * 2 * 2 * 4 + 4 * 3) * 4


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"fragment_slots": 0}, "pool.fragment_slots must be at least 1, found 0"),
        ({"chosen": 0}, "pool.chosen must be at least 1, found 0"),
        ({"key_width": 0}, "pool.key_width must be at least 1, found 0"),
        ({"new_below": 1.5}, r"pool.new_below must lie in \[-1, 1\], found 1.5"),
        ({"full_below": -0.1}, "pool.full_below cannot be negative, found -0.1"),
        ({"most_writes": 0}, "pool.most_writes must be at least 1, found 0"),
        ({"key_decay": 1.1}, r"pool.key_decay must lie in \[0, 1\], found 1.1"),
    ],
)
def test_a_mistake_names_its_field(values: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=f"^configuration: {message}"):
        PoolConfig(**{"fragment_slots": 2} | values)  # type: ignore[arg-type]
