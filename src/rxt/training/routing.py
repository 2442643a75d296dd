"""Conversations with pools of fragments as one computation: each turn is routed, decoded and written.

Whoever made a conversation knows in which turn that was told which a later turn asks for; the fragments that were
written in that turn are what its query has to be routed to. The choice itself is hard: answers send their gradient
through the slots that were chosen, and a contrastive loss over the keys teaches the router.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rxt.config import PoolConfig
from rxt.data.collate import Conversations, Rows, collate_conversations
from rxt.data.encoding import encode_conversation
from rxt.data.template import Template
from rxt.generation.scoring import AnswerScores, answer_scores
from rxt.model.mixture_of_memory import (
    PoolTurn,
    active,
    memorize,
    memorize_encoded,
    route,
    route_encoded,
    router_of,
)
from rxt.model.pool import Pool
from rxt.model.reactive import ReactiveTransformer, without_padding
from rxt.tasks.base import Told
from rxt.training.reading import BaseReader, read_all

TEMPERATURE = 0.1
"""Similarities are divided by it."""


@dataclass(frozen=True)
class Sourced:
    """Conversations, and where each row finds what it asks for."""

    conversations: Conversations
    told: tuple[int | None, ...]
    """(R,) the turn, counted from 0, in which that was told which the row asks for; None where it asks for nothing that
    was told, or that is not known."""

    def to(self, device: torch.device) -> Sourced:
        """The same on a device."""
        return Sourced(self.conversations.to(device), self.told)

    @property
    def asked(self) -> int:
        """Rows that ask for what was told."""
        return sum(turn is not None for turn in self.told)


def collate_sourced(conversations: Sequence[Told], template: Template) -> Sourced:
    """Arrange conversations whose questions are known."""
    encoded = [(encode_conversation(each.conversation, template), each) for each in conversations]
    encoded.sort(key=lambda pair: len(pair[0]), reverse=True)  # as collate_conversations has them
    batch = collate_conversations([turns for turns, _ in encoded], template.tokens.pad)
    told = list[int | None]()
    for turn, count in enumerate(batch.alive):
        for _, each in encoded[:count]:
            told.append(_told_turn(each, turn))
    return Sourced(batch, tuple(told))


def _told_turn(conversation: Told, turn: int) -> int | None:
    """In turns of the memory, of which a system prompt is the first."""
    before = 1 if conversation.conversation.system else 0
    question = (conversation.questions or {}).get(turn - before)
    return None if question is None or question.told_turn is None else question.told_turn + before


@dataclass(frozen=True)
class Routed:
    """How well the router found what was asked for, in N turns."""

    nll: Tensor
    """(N,) −log p of the fragments that hold it, in nats."""
    correct: Tensor
    """(N,) whether the router by itself chose one of them."""


def routing_loss(turn: PoolTurn, held: Collection[int], new_below: float, temperature: float = TEMPERATURE) -> Tensor:
    """−log of the probability that a routed turn gives to the fragments ``held``, in nats; no ``held``: to a fresh one.

    The candidates are all fragments that were written, and a fresh one, which is as like anything as ``new_below``
    says: so the loss teaches too which cosine is large enough.
    """
    written = turn.pool.keys.known()  # (F,)
    fresh = turn.similarities.new_tensor([new_below])
    logits = torch.cat([turn.similarities.masked_fill(~written, -torch.inf), fresh]) / temperature  # (F + 1,)
    right = torch.tensor(sorted(held) or [len(written)], device=logits.device)
    return logits.logsumexp(0) - logits[right].logsumexp(0)


def pool_scores(
    model: ReactiveTransformer,
    batch: Conversations,
    pools: Sequence[Pool],
    told: Sequence[int | None],
    guided: bool = True,
    temperature: float = TEMPERATURE,
    config: PoolConfig | None = None,
    reader: BaseReader | None = None,
) -> tuple[AnswerScores, Routed]:
    """Score every answer token of B conversations that start from ``pools``, and the routing of what they ask for.

    Args:
        told: for each row (R,) of the batch the turn, counted from 0, in which that was told which it asks for; None
            where it asks for nothing that was told.
        guided: a turn that asks sees what holds the answer, wherever it was routed; otherwise what the router chose.
            Fragments that were written when the same was asked before hold it, too: the answer told it again.
        config: when fragments are opened, where it is not to be as the model's own says.
        reader: of a model on a base, which reads every text once: for routing, for the answer and for writing.
    """
    router = router_of(model)
    new_below = router.config.new_below
    below, encoded = (None, None) if reader is None else read_all(reader, batch.rows)
    scores, losses, correct = list[AnswerScores](), list[Tensor](), list[bool]()
    written: list[list[tuple[int, ...]]] = [[] for _ in pools]  # by conversation and turn
    answered = defaultdict[tuple[int, int], list[int]](list)  # by conversation and the turn that told: turns that asked
    for turn, places in enumerate(batch.turns()):
        rows = batch.rows[places]
        length = rows.ids.shape[1]
        if encoded is None:
            turns = route(model, pools[: len(rows)], *without_padding(rows.ids, prompts(rows)))
        else:  # the base is causal: of a query it makes what it makes of the beginning of the interaction
            turns = route_encoded(router, pools[: len(rows)], encoded[:, places, :length], prompts(rows))
        for row, source in enumerate(told[places]):
            if source is not None:
                held = {index for at in (source, *answered[row, source]) for index in written[row][at]}
                answered[row, source].append(turn)
                losses.append(routing_loss(turns[row], held, new_below, temperature))
                correct.append(not held.isdisjoint(turns[row].chosen))
                turns[row] = turns[row].choosing(held) if guided else turns[row]
        start = None if below is None else below[places, :length]
        hidden = model.decoder.hidden(rows.ids, active(turns).slots, rows.mask, below=start)
        scores.append(answer_scores(hidden, model.decoder.head, rows, torch.full((len(rows),), turn)))
        if turn + 1 < len(batch.alive):
            going_on = rows[: batch.alive[turn + 1]]
            said = turns[: len(going_on)]
            if encoded is None:
                after = memorize(model, said, going_on.ids, going_on.mask, config)
            else:
                read = encoded[:, places.start : places.start + len(said), : going_on.ids.shape[1]]
                after = memorize_encoded(model, said, read, going_on.mask, config)
            pools = [each.pool for each in after]
            for row, each in enumerate(after):
                written[row].append(each.chosen)
    nll = torch.stack(losses) if losses else batch.rows.ids.new_zeros(0, dtype=torch.float32)
    return AnswerScores.join(scores), Routed(nll, torch.tensor(correct, dtype=torch.bool))


def prompts(rows: Rows) -> Tensor:
    """(R, T): True at the tokens before the first that the model must produce; of rows without any, at all."""
    return rows.mask & (rows.targets.cumsum(1) == 0)
