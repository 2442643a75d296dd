"""Perplexity of the answers of real conversations: with the memory kept, reset every turn, and another
conversation's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rxt.data.collate import Conversations, collate_conversations
from rxt.data.fitting import UNLIMITED, fitted_conversation
from rxt.data.markup import Encoded
from rxt.data.records import Conversation
from rxt.data.template import Template
from rxt.errors import UserError
from rxt.evaluation.bootstrap import Estimate, ratio
from rxt.evaluation.walk import even_batches
from rxt.generation.scoring import score_rows
from rxt.model.memory import Memory
from rxt.model.reactive import ReactiveTransformer

BATCH = 32


@dataclass(frozen=True)
class AnswerScore:
    """How well the answers' tokens were predicted under one kind of memory."""

    tokens: int
    nats: float
    """Mean −log p of a token."""
    accuracy: float
    """Share of tokens with the highest logit."""
    later_nats: float
    """As ``nats``, without the first turn of each conversation, where there is nothing to remember."""

    @property
    def perplexity(self) -> float:
        return math.exp(self.nats)

    @property
    def later_perplexity(self) -> float:
        return math.exp(self.later_nats)


@dataclass(frozen=True)
class TurnScore:
    """The answers of one turn, in nats a token, under the three kinds of memory."""

    tokens: int
    kept: float
    reset: float
    shuffled: float


@dataclass(frozen=True)
class Perplexity:
    """The three kinds of memory on the same answers."""

    kept: AnswerScore
    reset: AnswerScore
    shuffled: AnswerScore
    by_turn: dict[int, TurnScore]
    """By turn, counted from 1 without system prompts."""
    worth: Estimate
    """What memory saves, in nats a token: reset minus kept, the interval over conversations."""
    later_worth: Estimate
    """As ``worth``, without the first turn of each conversation."""


class _Cell(NamedTuple):
    """The answer of one turn of one conversation under one kind of memory."""

    nats: float
    right: float
    tokens: float


@torch.no_grad()
def measure_perplexity(
    model: ReactiveTransformer,
    template: Template,
    conversations: Sequence[Conversation],
    seed: int,
    report: Callable[[int], None] = lambda done: None,
) -> Perplexity:
    """Read the conversations, two at least, as they were held (their own answers are memorized); score every answer
    three times."""
    if len(conversations) < 2:
        raise UserError("perplexity needs at least two conversations: each one's control is the memory of another")
    found: list[_Scored] = []
    for batch in even_batches(len(conversations), BATCH):
        part = [(bool(each.system), _encoded(each, template)) for each in conversations[batch.start : batch.stop]]
        part.sort(key=lambda each: len(each[1]), reverse=True)  # as they stand in the batch
        cells = _score_batch(model, collate_conversations([each for _, each in part], template.tokens.pad), seed)
        found += [_Scored(system, cells[:, row, : len(each)]) for row, (system, each) in enumerate(part)]
        report(len(part))
    whole = torch.stack([each.cells.sum(1) for each in found])  # (conversations, memory kind, _Cell)
    later = torch.stack([each.cells[:, 1:].sum(1) for each in found])
    kept, reset, shuffled = (
        _score(_Cell(*every), _Cell(*rest))
        for every, rest in zip(whole.sum(0).tolist(), later.sum(0).tolist(), strict=True)
    )
    return Perplexity(kept, reset, shuffled, _by_turn(found), _worth(whole), _worth(later))


class _Scored(NamedTuple):
    """One conversation."""

    has_system: bool
    cells: Tensor
    """(memory kind, row of the conversation, numbers of a _Cell); a system prompt is the first row."""


def _encoded(conversation: Conversation, template: Template) -> list[Encoded]:
    """The whole conversation, long interactions as several turns; every answer is scored."""
    learned = Conversation(conversation.interactions, conversation.system)
    return fitted_conversation(learned, template, "split", UNLIMITED)[0]


def _score_batch(model: ReactiveTransformer, batch: Conversations, seed: int) -> Tensor:
    """(memory kind, conversation, turn, numbers of a _Cell), zeros after a conversation's end."""
    fresh = memory = model.init_memory(batch.size, seed)  # of all B; a conversation that has ended keeps its last one
    cells = torch.zeros(3, batch.size, len(batch.alive), len(_Cell._fields), dtype=torch.float64)
    for turn, rows in enumerate(batch.turns()):
        part = batch.rows[rows]
        row_of = torch.arange(len(part), device=part.ids.device)
        for kind, memories in enumerate((memory, fresh, memory.rolled())):
            scores = score_rows(model.decoder, part, memories.first(len(part)).slots, row_of)
            numbers = torch.stack([scores.nll, scores.correct.float(), torch.ones_like(scores.nll)], 1).double()
            sums = torch.zeros(len(part), numbers.shape[1], dtype=torch.float64)
            cells[kind, : len(part), turn] = sums.index_add(0, scores.turn, numbers)
        ended = [memory.select(conversation) for conversation in range(len(part), batch.size)]
        memory = Memory.stack([model.memorize(memory.first(len(part)), part.ids, part.mask), *ended])
    return cells


def _score(whole: _Cell, later: _Cell) -> AnswerScore:
    tokens = max(1.0, whole.tokens)
    return AnswerScore(
        int(whole.tokens), whole.nats / tokens, whole.right / tokens, later.nats / max(1.0, later.tokens)
    )


def _by_turn(found: Sequence[_Scored]) -> dict[int, TurnScore]:
    sums: dict[int, Tensor] = {}
    for each in found:
        for turn, cell in enumerate(each.cells[:, int(each.has_system) :].unbind(1), start=1):
            sums[turn] = sums.get(turn, torch.zeros_like(cell)) + cell
    scores = {}
    for turn, cell in sorted(sums.items()):
        kept, reset, shuffled = (_Cell(*row) for row in cell.tolist())
        if kept.tokens:
            scores[turn] = TurnScore(int(kept.tokens), *(kind.nats / kind.tokens for kind in (kept, reset, shuffled)))
    return scores


def _worth(sums: Tensor) -> Estimate:
    """Of sums (conversations, memory kind, numbers of a _Cell)."""
    return ratio((sums[:, 1, 0] - sums[:, 0, 0]).tolist(), sums[:, 0, 2].tolist())
