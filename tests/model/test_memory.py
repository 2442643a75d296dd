"""Memory is a value: immutable, checked, saved whole, and the same for the same seed."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import get_args

import pytest
import torch
from safetensors.torch import save_file

from rxt.config import MemoryInit
from rxt.errors import UserError
from rxt.model.memory import Memory, initial_slots


def make(batch_size: int = 2, fingerprint: str | None = "0123456789abcdef") -> Memory:
    return Memory(torch.randn(2, batch_size, 3, 4), tuple(range(5, 5 + batch_size)), fingerprint)


def assert_equal(found: Memory, expected: Memory) -> None:
    assert torch.equal(found.slots, expected.slots)
    assert found.slots.dtype == expected.slots.dtype
    assert (found.turns, found.fingerprint) == (expected.turns, expected.fingerprint)


def test_immutable() -> None:
    memory = make()
    for field in dataclasses.fields(memory):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(memory, field.name, None)


def test_a_memory_from_a_tensor_alone() -> None:
    memory = Memory(torch.zeros(2, 3, 5, 4))
    assert (memory.turns, memory.fingerprint, memory.batch_size, memory.nbytes) == (
        (0, 0, 0),
        None,
        3,
        2 * 3 * 5 * 4 * 4,
    )


@pytest.mark.parametrize("shape", [(2, 3, 4), (4,), (1, 2, 3, 4, 5)])
def test_slots_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"shape \(L, B, S, D\), found \(" + str(shape[0])):
        Memory(torch.zeros(shape))


def test_as_many_turn_counts_as_conversations() -> None:
    with pytest.raises(UserError, match="2 conversations needs as many turn counts, found 3"):
        Memory(torch.zeros(1, 2, 3, 4), (1, 2, 3))


def test_advance_counts_the_turns_of_every_conversation() -> None:
    old = make()
    new = old.advance(old.slots + 1, "other")
    assert (new.turns, new.fingerprint) == ((6, 7), "other")
    assert old.turns == (5, 6)


def test_select_and_stack_are_inverse() -> None:
    memory = make(3)
    singles = [memory.select(b) for b in range(3)]
    assert [single.turns for single in singles] == [(5,), (6,), (7,)]
    assert torch.equal(singles[1].slots, memory.slots[:, 1:2])
    assert_equal(Memory.stack(singles), memory)
    reordered = Memory.stack([singles[2], memory.select(0)])
    assert reordered.turns == (7, 5)
    assert torch.equal(reordered.slots, memory.slots[:, [2, 0]])
    assert_equal(Memory.stack([memory, memory]).select(4), singles[1])


@pytest.mark.parametrize("index", [-1, 2, 7])
def test_select_of_no_such_conversation(index: int) -> None:
    with pytest.raises(IndexError, match=f"conversations 0 to 1, not {index}"):
        make().select(index)


def test_memories_of_different_models_are_not_stacked() -> None:
    with pytest.raises(UserError, match=r"different models.*'aaaa', 'bbbb'"):
        Memory.stack([make(1, "aaaa"), make(1, "bbbb")])
    with pytest.raises(UserError, match="different models"):
        Memory.stack([make(1, "aaaa"), make(1, None)])


def test_memories_of_different_shapes_are_not_stacked() -> None:
    with pytest.raises(UserError, match=r"different shapes.*\(2, 3, 4\), \(2, 9, 4\)"):
        Memory.stack([make(1), Memory(torch.zeros(2, 1, 9, 4), fingerprint=make().fingerprint)])
    with pytest.raises(ValueError, match="at least one"):
        Memory.stack([])


def test_detach_cuts_gradients_here_and_nowhere_else() -> None:
    slots = torch.randn(1, 1, 2, 2, requires_grad=True)
    memory = Memory(slots * 2, (4,), "f")
    cut = memory.detach()
    assert memory.slots.requires_grad
    assert not cut.slots.requires_grad
    assert_equal(cut, Memory(slots.detach() * 2, (4,), "f"))


def test_to_another_precision() -> None:
    memory = make()
    half = memory.to(dtype=torch.bfloat16)
    assert_equal(half, Memory(memory.slots.bfloat16(), memory.turns, memory.fingerprint))
    assert memory.slots.dtype == torch.float32
    assert memory.to("meta").slots.device.type == "meta"


@pytest.mark.parametrize("fingerprint", ["0123456789abcdef", None])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_saved_and_loaded(tmp_path: Path, dtype: torch.dtype, fingerprint: str | None) -> None:
    memory = make(3, fingerprint).to(dtype=dtype)
    memory.save(tmp_path / "memory.safetensors")
    assert_equal(Memory.load(str(tmp_path / "memory.safetensors")), memory)
    assert [path.name for path in tmp_path.iterdir()] == ["memory.safetensors"]


def test_what_a_queue_has_not_filled_takes_no_room(tmp_path: Path) -> None:
    slots = torch.zeros(2, 3, 900, 8)
    for filled in (0, 1, 40, 900):
        slots[:, 1, :filled] = 1.5
        memory = Memory(slots.clone(), (4, 5, 6), "ab")
        memory.save(tmp_path / "memory")
        assert (tmp_path / "memory").stat().st_size < 2 * 3 * max(1, filled) * 8 * 4 + 300
        for found in (Memory.load(tmp_path / "memory"), Memory.from_bytes((tmp_path / "memory").read_bytes())):
            assert torch.equal(found.slots, memory.slots)
            assert (found.turns, found.fingerprint) == (memory.turns, memory.fingerprint)


def test_a_view_with_gradients_is_saved_as_it_looks(tmp_path: Path) -> None:
    slots = torch.randn(3, 2, 4, 2, requires_grad=True).transpose(0, 1)
    Memory(slots).save(tmp_path / "memory")
    assert torch.equal(Memory.load(tmp_path / "memory").slots, slots)


def test_a_loaded_memory_does_not_follow_its_file(tmp_path: Path) -> None:
    first, second = make(), make()
    first.save(tmp_path / "memory")
    loaded = Memory.load(tmp_path / "memory")
    second.save(tmp_path / "memory")
    assert_equal(loaded, first)
    assert_equal(Memory.load(tmp_path / "memory"), second)


def bad_file(folder: Path, kind: str) -> Path:
    path = folder / "memory"
    good = {"format": "rxt-memory-1", "turns": "5 6", "fingerprint": ""}
    slots = torch.zeros(1, 2, 3, 4)
    match kind:
        case "missing":
            pass
        case "folder":
            path.mkdir()
        case "empty":
            path.write_bytes(b"")
        case "not safetensors":
            path.write_bytes(b"PK\x03\x04" + bytes(200))
        case "truncated":
            make().save(path)
            os.truncate(path, path.stat().st_size - 7)
        case "truncated header":
            make().save(path)
            os.truncate(path, 20)
        case "no metadata":
            save_file({"slots": slots}, path)
        case "a model's weights":
            save_file({"decoder.head.weight": slots}, path, {"format": "rxt"})
        case "a later format":
            save_file({"slots": slots}, path, {**good, "format": "rxt-memory-9"})
        case "no slots":
            save_file({"other": slots}, path, good)
        case "no turns":
            save_file({"slots": slots}, path, {"format": "rxt-memory-1", "fingerprint": ""})
        case "turns that are no numbers":
            save_file({"slots": slots}, path, {**good, "turns": "five six"})
        case "too few turns":
            save_file({"slots": slots}, path, {**good, "turns": "5"})
        case "three dimensions":
            save_file({"slots": slots[0]}, path, good)
        case "one dimension":
            save_file({"slots": slots.flatten()}, path, good)
        case "fewer slots than there are":
            save_file({"slots": slots}, path, {**good, "slots": "2"})
        case "more slots than fit anywhere":
            save_file({"slots": slots}, path, {**good, "slots": "1000000000"})
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", r"memory: no such file"),
        ("folder", "memory: not a memory file"),
        ("empty", "memory: not a memory file"),
        ("not safetensors", "memory: not a memory file"),
        ("truncated", "memory: not a memory file"),
        ("truncated header", "memory: not a memory file"),
        ("no metadata", "memory: not a memory file .format None, expected 'rxt-memory-1'"),
        ("a model's weights", "memory: not a memory file .format 'rxt', expected 'rxt-memory-1'"),
        ("a later format", "memory: not a memory file .format 'rxt-memory-9'"),
        ("no slots", "memory: not a memory file .*slots"),
        ("no turns", "memory: not a memory file .*turns"),
        ("turns that are no numbers", "memory: not a memory file .*five"),
        ("too few turns", "2 conversations needs as many turn counts, found 1"),
        ("one dimension", r"shape \(L, B, S, D\), found \(24,\)"),
        ("fewer slots than there are", "memory: not a memory file .it has 3 slots and says 2"),
        ("more slots than fit anywhere", "memory: not a memory file .it has 3 slots and says 1000000000"),
        ("three dimensions", r"shape \(L, B, S, D\), found \(2, 3, 4\)"),
    ],
)
def test_bad_files(tmp_path: Path, kind: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        Memory.load(bad_file(tmp_path, kind))
    assert "\n" not in str(caught.value)


def test_every_shorter_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "memory"
    make().save(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 13):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="not a memory file"):
            Memory.load(path)


@pytest.mark.parametrize("failing", ["os.replace", "os.fsync"])
def test_a_failed_save_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path, old = tmp_path / "memory", make()
    old.save(path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(failing, full)
        with pytest.raises(UserError, match=r"memory: cannot be written \(No space left on device"):
            make().save(path)
    assert_equal(Memory.load(path), old)
    assert list(tmp_path.iterdir()) == [path]


def test_saving_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="memory: cannot be written"):
        make().save(tmp_path / "file" / "memory")


@pytest.mark.parametrize("kind", [kind for kind in get_args(MemoryInit) if kind != "learned"])  # nothing is drawn
@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 3, 2), (2, 5, 7), (1, 1, 1)])
def test_the_same_seed_draws_the_same_memory_whatever_the_batch(kind: MemoryInit, shape: tuple[int, int, int]) -> None:
    single, batch = initial_slots(shape, 1, kind, 11), initial_slots(shape, 4, kind, 11)
    assert batch.shape == (shape[0], 4, *shape[1:])
    assert batch.is_contiguous()
    assert torch.equal(batch, initial_slots(shape, 4, kind, 11))
    assert torch.equal(batch[:, :1], single)
    assert torch.equal(batch[:, :3], initial_slots(shape, 3, kind, 11))
    if kind not in ("zeros", "ones"):
        assert not torch.equal(single, initial_slots(shape, 1, kind, 12))
        assert not torch.equal(batch[:, 0], batch[:, 1])


def test_a_seed_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.randn(2)
    torch.manual_seed(3)
    initial_slots((1, 2, 3), 2, "standard", 5)
    assert torch.equal(torch.randn(2), expected)
    assert not torch.equal(initial_slots((1, 2, 3), 1, "standard", None), initial_slots((1, 2, 3), 1, "standard", None))


@pytest.mark.parametrize(
    ("kind", "mean", "deviation", "least", "most"),
    [
        ("standard", 0, 1, -6, 6),
        ("normal", 0, 0.01, -0.06, 0.06),
        ("uniform", 0.005, 0.01 / 12**0.5, 0, 0.01),
        ("zeros", 0, 0, 0, 0),
        ("ones", 1, 0, 1, 1),
    ],
)
def test_kinds_of_fresh_memory(kind: MemoryInit, mean: float, deviation: float, least: float, most: float) -> None:
    slots = initial_slots((4, 50, 50), 4, kind, 0)
    assert slots.mean().item() == pytest.approx(mean, abs=0.02 * deviation)
    assert slots.std().item() == pytest.approx(deviation, rel=0.02)
    assert least <= slots.min().item() <= slots.max().item() <= most
