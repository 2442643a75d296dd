"""Perplexity of the answers of real conversations: with the memory kept, reset every turn, and another conversation's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rxt.data.collate import Conversations, collate_conversations
from rxt.data.records import Conversation
from rxt.data.template import Template
from rxt.errors import UserError
from rxt.evaluation.walk import even_batches
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
class Perplexity:
    """The three kinds of memory on the same answers."""

    kept: AnswerScore
    reset: AnswerScore
    shuffled: AnswerScore


@torch.no_grad()
def measure_perplexity(
    model: ReactiveTransformer,
    template: Template,
    conversations: Sequence[Conversation],
    seed: int,
    report: Callable[[int], None] = lambda done: None,
) -> Perplexity:
    """Read the conversations, two at least, as they were held (their own answers are memorized); score every answer three times."""
    if len(conversations) < 2:
        raise UserError("perplexity needs at least two conversations: each one's control is the memory of another")
    sums = torch.zeros(3, 5, dtype=torch.float64)  # (memory kind; nats, right, tokens, later nats, later tokens)
    for batch in even_batches(len(conversations), BATCH):
        part = conversations[batch.start : batch.stop]
        encoded = [
            ([template.system(each.system)] if each.system else []) + [template.interaction(turn) for turn in each.interactions]
            for each in part
        ]
        sums += _score_batch(model, collate_conversations(encoded, template.tokens.pad), seed)
        report(len(part))
    kept, reset, shuffled = (_score(row) for row in sums.tolist())
    return Perplexity(kept, reset, shuffled)


def _score_batch(model: ReactiveTransformer, batch: Conversations, seed: int) -> Tensor:
    fresh = memory = model.init_memory(batch.size, seed)  # of all B; a conversation that has ended keeps its last one
    sums = torch.zeros(3, 5, dtype=torch.float64)
    for turn, rows in enumerate(batch.turns()):
        part = batch.rows[rows]
        for kind, memories in enumerate((memory, fresh, memory.rolled())):
            logits = model.decode(part.ids, memories.first(len(part)))[:, :-1]
            scored = part.targets[:, 1:]
            targets = part.ids[:, 1:][scored]
            nats = torch.nn.functional.cross_entropy(logits[scored].float(), targets, reduction="sum").item()
            right = (logits[scored].argmax(-1) == targets).sum().item()
            later = 1.0 if turn else 0.0
            sums[kind] += torch.tensor([nats, right, len(targets), later * nats, later * len(targets)], dtype=torch.float64)
        ended = [memory.select(conversation) for conversation in range(len(part), batch.size)]
        memory = Memory.stack([model.memorize(memory.first(len(part)), part.ids, part.mask), *ended])
    return sums


def _score(sums: list[float]) -> AnswerScore:
    nats, right, tokens, later_nats, later_tokens = sums
    return AnswerScore(int(tokens), nats / max(1, tokens), right / max(1, tokens), later_nats / max(1, later_tokens))
