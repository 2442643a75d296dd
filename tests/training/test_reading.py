"""Every text read once is what the plain loop computes, kept on disk or not, gradients included."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from grown import grown
from micro import assert_same_gradients, gradients, random_batch, random_conversations
from torch import Tensor

from rxt.data.collate import Conversations, Rows, collate_conversations
from rxt.model.reactive import ReactiveTransformer
from rxt.training.learner import GrownLearner
from rxt.training.memories import Queued, QueuedTokens, Walked
from rxt.training.reading import BaseReader, scores_on_base
from rxt.training.text_cache import ENTRY, TextCache
from rxt.training.unroll import conversation_memories, conversation_scores, turn_by_turn

TURNS = [3, 1, 5, 3, 2]
LIMIT = 10**6


def frozen(double: bool = False, tokens: bool = False) -> ReactiveTransformer:
    return GrownLearner(grown(double=double, rank=2 if tokens else 0, tokens=tokens)).model


def loss_of(reader: BaseReader, batch: Conversations, window: int | None = None) -> Tensor:
    slots = reader.model.init_memory(batch.size).slots
    scores, _ = scores_on_base(reader, batch, slots, window)
    return scores.loss_over_turns(batch.targets_by_turn(len(batch.alive)))


def assert_read_once_is_the_plain_loop(model: ReactiveTransformer, batch: Conversations, window: int | None) -> None:
    loss = loss_of(BaseReader(model), batch, window)
    found = gradients(loss, model)
    for way in (conversation_scores, turn_by_turn):
        scores = way(model, batch, model.init_memory(batch.size).slots, window)
        expected = scores.loss_over_turns(batch.targets_by_turn(len(batch.alive)))
        torch.testing.assert_close(loss, expected)
        assert_same_gradients(found, gradients(expected, model))


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("window", [None, 2])
def test_texts_read_once_are_the_plain_loop(window: int | None, tokens: bool) -> None:
    assert_read_once_is_the_plain_loop(frozen(double=True, tokens=tokens), random_batch(TURNS), window)


@pytest.mark.parametrize("tokens", [False, True])
def test_a_queue_that_is_selected_from_is_the_one_that_was_walked(tokens: bool) -> None:
    model, batch = frozen(double=True, tokens=tokens), random_batch(TURNS)
    with torch.no_grad():
        for name, parameter in model.memory_attention.named_parameters():
            if name.endswith("age"):
                parameter.normal_()
    layers, _, slots, width = model.init_memory().slots.shape
    fresh = torch.randn(layers, batch.size, slots, width, dtype=torch.float64)
    _, found = scores_on_base(BaseReader(model), batch, fresh)
    walked = Walked(conversation_memories(model, batch, fresh))
    assert isinstance(found, QueuedTokens if tokens else Queued)
    assert len(found) == len(walked) == len(batch.rows)
    rows = torch.tensor([9, 3, 0, 13, 3])
    torch.testing.assert_close(found.some(rows), walked.some(rows))
    parts = [rows[:3], rows[3:]]
    torch.testing.assert_close(found.projected(model.decoder, parts), walked.projected(model.decoder, parts))


def test_places_that_nothing_has_filled_are_left_out() -> None:
    model, batch = frozen(double=True, tokens=True), random_batch([3, 1, 2])
    empty = torch.zeros_like(model.init_memory(batch.size).slots)
    scores, found = scores_on_base(BaseReader(model), batch, empty)
    walked = Walked(conversation_memories(model, batch, empty))
    rows = torch.arange(len(batch.rows))
    some, whole = found.some(rows), walked.some(rows)
    assert some.shape[2] < whole.shape[2]
    torch.testing.assert_close(F.pad(some, (0, 0, 0, whole.shape[2] - some.shape[2])), whole)
    expected = turn_by_turn(model, batch, empty)
    torch.testing.assert_close(scores.nll.sort().values, expected.nll.sort().values)
    assert_same_gradients(gradients(scores.nll.sum(), model), gradients(expected.nll.sum(), model))


@pytest.mark.parametrize("window", [None, 2])
def test_what_is_not_memorized_of_an_interaction_is_read_in_its_own_turn_alone(window: int | None) -> None:
    conversations = random_conversations(TURNS, aside=True)
    model, batch = frozen(double=True, tokens=True), collate_conversations(conversations, pad=0)
    assert batch.shortened is not None
    assert_read_once_is_the_plain_loop(model, batch, window)
    memories = conversation_memories(model, batch, model.init_memory(batch.size).slots)
    for number, conversation in enumerate(sorted(conversations, key=len, reverse=True)):  # as in a chat
        memory = model.init_memory(1)
        for turn, encoded in enumerate(conversation):
            row = sum(batch.alive[:turn]) + number
            torch.testing.assert_close(memory.slots[:, 0], memories[turn][:, number])
            assert batch.rows.ids[row, : len(encoded.ids)].tolist() == encoded.ids
            memory = model.memorize(memory, torch.tensor([encoded.memorized]))


def test_a_base_that_learns_gets_its_gradient() -> None:
    model, batch = frozen(double=True).requires_grad_(True), random_batch(TURNS)
    scores = turn_by_turn(model, batch, model.init_memory(batch.size).slots)
    expected = gradients(scores.loss_over_turns(batch.targets_by_turn(len(batch.alive))), model)
    assert expected["decoder.layers.0.attention.q_proj.weight"].any()
    assert_same_gradients(gradients(loss_of(BaseReader(model), batch), model), expected)


def test_what_is_kept_is_what_is_computed(tmp_path: Path) -> None:
    model, batch = frozen(), random_batch(TURNS)
    plain, cached = BaseReader(model), BaseReader(model, TextCache(tmp_path, "tiny", 32, LIMIT))
    expected = loss_of(plain, batch)
    found = [loss_of(cached, batch) for _ in range(3)]  # computed, kept, read back
    calls: list[int] = []
    model.decoder.layers[0].register_forward_hook(lambda *_: calls.append(1))
    found.append(loss_of(cached, batch))
    assert not calls
    wanted = gradients(expected, model)
    for each in found:
        torch.testing.assert_close(each, expected, rtol=2e-3, atol=0)
        assert torch.equal(each, found[0])
        for name, gradient in gradients(each, model).items():
            torch.testing.assert_close(gradient, wanted[name], rtol=0.05, atol=0.01 * float(wanted[name].abs().max()))
    loss_of(plain, batch)
    assert calls


def test_adapters_learn_through_what_is_read_once(tmp_path: Path) -> None:
    model, batch = GrownLearner(grown(double=True, rank=2)).model, random_batch(TURNS)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("lora_up"):
                parameter.normal_(std=0.2)
    scores = turn_by_turn(model, batch, model.init_memory(batch.size).slots)
    expected = gradients(scores.loss_over_turns(batch.targets_by_turn(len(batch.alive))), model)
    assert expected["decoder.layers.2.attention.q_proj.lora_down"].any()
    assert_same_gradients(gradients(loss_of(BaseReader(model), batch), model), expected)


def some_rows(ids: list[list[int]]) -> Rows:
    whole = torch.tensor(ids)
    return Rows(whole, whole > 0, whole > 0)


def of_tokens(rows: Rows, some: Tensor) -> Tensor:
    """What stands for a base (2, r, T, 4)."""
    return rows.ids[some].float()[None, :, :, None].expand(2, -1, -1, 4)


def read(cache: TextCache, rows: Rows) -> list[int]:
    """How many rows were computed."""
    calls: list[int] = []

    def compute(some: Tensor) -> Tensor:
        calls.append(len(some))
        return of_tokens(rows, some)

    found = cache.complete("kind", rows, compute)
    assert torch.equal(found * rows.mask[None, :, :, None], of_tokens(rows, torch.arange(len(rows))))
    return calls


ROWS = some_rows([[5, 6, 7], [8, 9, 0], [5, 6, 0]])


def test_a_text_is_kept_when_it_comes_again(tmp_path: Path) -> None:
    cache = TextCache(tmp_path, "tiny", 4, LIMIT)
    assert [read(cache, ROWS) for _ in range(3)] == [[3], [3], []]
    assert cache.nbytes == 2 * 4 * 2 * ROWS.tokens
    more = some_rows([[8, 9, 0, 0], [1, 2, 3, 4]])
    assert read(cache, more) == [1]
    assert cache.complete("another kind", ROWS, lambda some: torch.zeros(1, len(some), 3, 4)).shape == (1, 3, 3, 4)
    assert TextCache(tmp_path, "another base", 4, LIMIT).nbytes == 0


def test_two_processes_read_what_the_other_keeps(tmp_path: Path) -> None:
    one, two = TextCache(tmp_path, "tiny", 4, LIMIT), TextCache(tmp_path, "tiny", 4, LIMIT)
    assert [read(one, ROWS), read(one, ROWS), read(two, ROWS)] == [[3], [3], []]
    more = some_rows([[1, 2], [3, 4]])
    assert [read(two, more), read(two, more), read(one, more)] == [[2], [2], []]
    assert one.nbytes == two.nbytes
    assert sorted(path.name for path in (tmp_path / "tiny").glob("*.data")) == ["0.data", "1.data"]


def test_the_limit_holds(tmp_path: Path) -> None:
    cache = TextCache(tmp_path, "tiny", 4, 2 * 4 * 2 * 5)  # five of the seven tokens
    assert [read(cache, ROWS) for _ in range(3)] == [[3], [3], [1]]
    assert cache.nbytes == 2 * 4 * 2 * 5


def test_what_a_killed_process_left_does_no_harm(tmp_path: Path) -> None:
    cache = TextCache(tmp_path, "tiny", 4, LIMIT)
    assert [read(cache, ROWS), read(cache, ROWS)] == [[3], [3]]
    del cache
    folder = tmp_path / "tiny"
    for path, rest in ((folder / "0.data", b"abc"), (folder / "0.index", b"x" * (ENTRY.size - 1))):
        path.write_bytes(path.read_bytes() + rest)
    cache = TextCache(tmp_path, "tiny", 4, LIMIT)
    more = some_rows([[1, 2], [3, 4]])
    assert [read(cache, ROWS), read(cache, more), read(cache, more), read(cache, more)] == [[], [2], [2], []]
    (folder / "0.data").write_bytes((folder / "0.data").read_bytes()[:20])  # a power cut
    assert read(TextCache(tmp_path, "tiny", 4, LIMIT), ROWS) == [3]


def test_numbers_too_large_for_half_precision_are_not_kept(tmp_path: Path) -> None:
    cache = TextCache(tmp_path, "tiny", 4, LIMIT)
    for _ in range(3):
        cache.complete("kind", ROWS, lambda some: torch.full((1, len(some), 3, 4), 1e6))
    assert cache.nbytes == 0
