"""Memories updated together are those updated alone."""

from __future__ import annotations

import pytest
import torch

from factories import chat_model
from rxt.errors import UserError
from rxt.generation.remember import by_length, memorize_together
from rxt.pretrained import ReactiveTransformer

LENGTHS = [9, 3, 40, 10, 1, 8, 37, 3]


def interactions() -> list[list[int]]:
    drawn = torch.Generator().manual_seed(5)
    return [torch.randint(10, 300, (length,), generator=drawn).tolist() for length in LENGTHS]


def test_like_lengths_go_together() -> None:
    assert by_length(LENGTHS) == [[4], [1, 7], [5, 0, 3], [6, 2]]
    assert by_length([]) == []


@torch.no_grad()
def test_each_is_as_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = chat_model().double()
    memory, said = model.init_memory(len(LENGTHS), seed=1), interactions()
    memories = [memory.select(index) for index in range(len(LENGTHS))]
    alone = [model.memorize(one, torch.tensor([ids])) for one, ids in zip(memories, said, strict=True)]
    read: list[int] = []
    encode = ReactiveTransformer.encode
    monkeypatch.setattr(
        ReactiveTransformer, "encode", lambda self, ids, *rest: read.append(ids.numel()) or encode(self, ids, *rest)
    )
    together = memorize_together(model, memories, said)
    assert sum(read) <= 1.1 * sum(LENGTHS), "next to no padding"
    for found, expected in zip(together, alone, strict=True):
        torch.testing.assert_close(found.slots, expected.slots, rtol=1e-10, atol=1e-10)
        assert (found.turns, found.fingerprint) == (expected.turns, expected.fingerprint) == ((1,), model.fingerprint())
    assert memorize_together(model, [], []) == []


@torch.no_grad()
def test_padding_that_nobody_needs_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    model = chat_model().double()
    memory = model.init_memory(2, seed=1)
    ids = torch.randint(10, 300, (2, 30))
    mask = torch.arange(30) < torch.tensor([[7], [12]])
    exact = model.memory_attention(memory.slots, model.encoder(ids, mask), mask)
    widths: list[int] = []
    encode = ReactiveTransformer.encode
    monkeypatch.setattr(
        ReactiveTransformer, "encode", lambda self, ids, *rest: widths.append(ids.shape[1]) or encode(self, ids, *rest)
    )
    torch.testing.assert_close(model.memorize(memory, ids, mask).slots, exact, rtol=1e-10, atol=1e-10)
    assert widths == [12]


def test_mistakes_are_named() -> None:
    model = chat_model()
    memory = model.init_memory(2)
    for memories, said, message in [
        ([memory.select(0)], [], "1 memories need as many interactions, found 0"),
        ([memory], [[3]], "one conversation each"),
        ([memory.select(0)], [[]], "at least one token"),
        ([chat_model(5).init_memory()], [[3]], "fingerprint"),
    ]:
        with pytest.raises(UserError, match=message):
            memorize_together(model, memories, said)
