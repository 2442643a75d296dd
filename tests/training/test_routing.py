"""Conversations with pools as one computation: the loop over single ones, and where their gradients go."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from grown import SLOTS, grown
from micro import assert_same_gradients, gradients, random_batch, random_conversations
from torch import Tensor

from rxt.config import (
    AttentionConfig,
    DecoderConfig,
    EncoderConfig,
    FeedForwardConfig,
    MemoryAttentionConfig,
    PoolConfig,
    RxTConfig,
)
from rxt.data.collate import collate_conversations
from rxt.data.template import Encoded
from rxt.model.checkpoint import memory_tensors
from rxt.model.mixture_of_memory import PoolTurn, init_pool, memorize, route
from rxt.model.pool import Fragment, Pool
from rxt.model.pool_keys import KeyTable
from rxt.pretrained import ReactiveTransformer
from rxt.training.reading import BaseReader, keeping_reader
from rxt.training.routing import pool_scores, routing_loss
from rxt.training.unroll import turn_by_turn

VOCABULARY = 13
ATTENTION, DENSE = AttentionConfig.sqa(4), FeedForwardConfig(6)
PLAIN = RxTConfig(
    DecoderConfig(VOCABULARY, 8, 2, ATTENTION, ATTENTION, DENSE, 12),
    EncoderConfig(VOCABULARY, 8, 2, ATTENTION, DENSE, 12),
    MemoryAttentionConfig(8, 2, 3, ATTENTION),
)
OPENS_EVERY_TURN = PoolConfig(fragment_slots=2, key_width=4, new_below=-1, most_writes=1)
NO_RESIDENTS = replace(OPENS_EVERY_TURN, fragment_slots=3)
TURNS = [4, 1, 3]
TOLD: list[list[int | None]] = [[None, 0, 0, 1], [None, None, 1], [None]]
"""For each conversation, longest first, what its turns ask for."""


def make(pool: PoolConfig = OPENS_EVERY_TURN) -> ReactiveTransformer:
    model = ReactiveTransformer(replace(PLAIN, pool=pool)).double().train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.4)
    return model


def by_rows(told: list[list[int | None]], alive: tuple[int, ...]) -> list[int | None]:
    """As the rows of a batch stand: by turn, and then by conversation."""
    return [told[row][turn] for turn, count in enumerate(alive) for row in range(count)]


def contrast(similarities: list[float], held: list[int], new_below: float, temperature: float) -> float:
    """−log of the share of those that are right, of the written ones and a fresh one."""
    shares = [math.exp(similarity / temperature) for similarity in [*similarities, new_below]]
    return -math.log(sum(shares[index] for index in held or [len(similarities)]) / sum(shares))


def naive(
    model: ReactiveTransformer, conversation: list[Encoded], pool: Pool, told: list[int | None], guided: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """−log p of the answer tokens and of what holds them, one conversation, one turn at a time, no padding."""
    answers, routed = list[Tensor](), list[Tensor]()
    written, holding = list[tuple[int, ...]](), dict[int, list[int]]()
    for interaction, source in zip(conversation, told, strict=True):
        ids = torch.tensor([interaction.ids])
        prompt = interaction.loss.index(True) if any(interaction.loss) else len(interaction.ids)
        (turn,) = route(model, [pool], ids[:, :prompt])
        if source is not None:
            logits = torch.cat([turn.similarities, torch.tensor([-1.0])]) / 0.1
            held = holding.setdefault(source, list(written[source]))
            routed.append(-logits.log_softmax(0)[sorted(set(held))].logsumexp(0))
            turn = turn.choosing(held) if guided else turn
        logits = model.decode(ids, turn.memory)[0].log_softmax(-1)
        answers += [-logits[at - 1, ids[0, at]] for at in range(1, ids.shape[1]) if interaction.loss[at]]
        (after,) = memorize(model, [turn], ids)
        pool = after.pool
        written.append(after.chosen)
        if source is not None:
            holding[source] += after.chosen  # the answer tells it again
    return answers, routed


@pytest.mark.parametrize("guided", [True, False])
def test_a_batch_is_the_naive_loop(guided: bool) -> None:
    model = make()
    conversations = sorted(random_conversations(TURNS, VOCABULARY), key=len, reverse=True)
    batch = collate_conversations(conversations, pad=0)
    pools = [init_pool(model, seed) for seed in range(batch.size)]
    scores, routed = pool_scores(model, batch, pools, by_rows(TOLD, batch.alive), guided)
    alone = [naive(model, *each, guided) for each in zip(conversations, pools, TOLD, strict=True)]
    answers = torch.stack([nll for found, _ in alone for nll in found]).sum()
    routing = torch.stack([nll for _, found in alone for nll in found]).sum()
    assert len(routed.nll) == len(routed.correct) == 4
    torch.testing.assert_close(routed.nll.sum(), routing, rtol=1e-11, atol=1e-11)
    found, expected = scores.nll.sum() + 0.7 * routed.nll.sum(), answers + 0.7 * routing
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    wanted = gradients(expected, model)
    assert_same_gradients(gradients(found, model), wanted)
    for part in ("decoder.layers", "encoder.layers", "memory_attention", "router.query", "router.key"):
        assert any(gradient.abs().sum() > 1e-6 for name, gradient in wanted.items() if name.startswith(part)), part


def test_pools_that_open_nothing_are_plain_memories() -> None:
    model = make(replace(OPENS_EVERY_TURN, most_writes=None))
    batch = random_batch(TURNS, VOCABULARY)
    memory = model.init_memory(batch.size, seed=0)
    pools = [Pool.split(memory.select(row), OPENS_EVERY_TURN) for row in range(batch.size)]
    scores, routed = pool_scores(model, batch, pools, [None] * len(batch.rows))
    expected = turn_by_turn(model, batch, memory.slots)
    assert torch.equal(scores.nll, expected.nll)
    assert torch.equal(scores.turn, expected.turn)
    assert not len(routed.nll)
    assert_same_gradients(gradients(scores.nll.sum(), model), gradients(expected.nll.sum(), model))


def test_answers_send_their_gradient_through_what_was_chosen() -> None:
    """Three turns, each with words of its own; the last sees the fragment of the first, and not that of the second."""
    model = make(NO_RESIDENTS)
    conversation = [
        Encoded(ids=[1, 2, 3], loss=[False, False, True]),
        Encoded(ids=[4, 5, 6], loss=[False, False, True]),
        Encoded(ids=[7, 8, 9], loss=[False, False, True]),
    ]
    batch = collate_conversations([conversation], pad=0)
    for source, seen, unseen in ((0, [1, 2, 3], [4, 5, 6]), (1, [4, 5, 6], [])):
        scores, _ = pool_scores(model, batch, [init_pool(model, 0)], [None, None, source])
        (gradient,) = torch.autograd.grad(scores.nll[scores.turn == 2].sum(), [model.decoder.embedding.weight])
        assert (gradient[seen].abs().sum(1) > 1e-9).all()
        assert not gradient[unseen].any()


def turn_of(similarities: list[float], written: list[bool]) -> PoolTurn:
    keys = torch.tensor([[float(known)] for known in written])
    fragments = tuple(Fragment(torch.zeros(1, 1, 1)) for _ in written)
    pool = Pool(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1), fragments, KeyTable.of(keys))
    return PoolTurn(pool, (0,), torch.tensor(similarities, dtype=torch.float64))


@pytest.mark.parametrize("held", [[0], [2], [0, 1], []])
def test_the_loss_is_that_of_a_choice_among_what_was_written_and_a_fresh_one(held: list[int]) -> None:
    loss = routing_loss(turn_of([0.7, 0.1, -0.3], [True] * 3), held, new_below=0.2, temperature=0.5)
    assert float(loss) == pytest.approx(contrast([0.7, 0.1, -0.3], held, 0.2, 0.5))


def test_what_was_never_written_is_no_candidate() -> None:
    loss = routing_loss(turn_of([0.7, 0.2, 0.2], [True, False, False]), [0], new_below=0.2)
    assert float(loss) == pytest.approx(contrast([0.7], [0], 0.2, 0.1))


def test_a_router_learns_where_what_is_asked_for_was_told() -> None:
    """Four told turns, each then asked for in other words: only training can say which words ask for which."""
    model = make(replace(NO_RESIDENTS, key_width=8)).float()
    told = [Encoded(ids=[1 + turn, 5, 6], loss=[False, False, True]) for turn in range(4)]
    asked = [Encoded(ids=[9 + turn, 7, 6], loss=[False, False, True]) for turn in range(4)]
    batch = collate_conversations([told + asked], pad=0)
    sources: list[int | None] = [None] * 4 + list(range(4))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    pool = init_pool(model, 0).detach()
    for _step in range(60):
        _, routed = pool_scores(model, batch, [pool], sources)
        optimizer.zero_grad()
        routed.nll.mean().backward()
        optimizer.step()
    with torch.no_grad():
        _, routed = pool_scores(model, batch, [pool], sources, guided=False)
    assert routed.correct.all()


@pytest.mark.parametrize("kept", [False, True])
def test_on_a_base_every_text_is_read_once(kept: bool, tmp_path: Path) -> None:
    """Scores and gradients are those of a model that reads it for routing, answering and writing."""
    plain = grown(VOCABULARY, double=not kept)
    model = plain.with_pool(PoolConfig(SLOTS, key_width=4, new_below=-1, most_writes=1)).to(plain.decoder.head.weight)
    for name, weight in model.named_parameters():
        weight.requires_grad_(name in memory_tensors(model))
    batch = random_batch(TURNS, VOCABULARY)
    told = by_rows(TOLD, batch.alive)

    def scores(reader: BaseReader | None) -> tuple[Tensor, Tensor]:
        pools = [init_pool(model, seed) for seed in range(batch.size)]
        found, routed = pool_scores(model, batch, pools, told, reader=reader)
        return found.nll.sum() + routed.nll.sum(), routed.nll

    (expected, routing), near = scores(None), 2e-2 if kept else 1e-9
    reader = keeping_reader(model, tmp_path, 0.01 if kept else 0.0, "float32")
    found = expected
    for _ in range(3):  # what comes again is kept, and read back
        found, routed = scores(reader)
        torch.testing.assert_close(found, expected, rtol=near, atol=near)
        torch.testing.assert_close(routed, routing, rtol=near, atol=near)
    if kept:
        assert reader.cache is not None
        assert reader.cache.nbytes > 0
    else:
        assert_same_gradients(gradients(found, model), gradients(expected, model))
