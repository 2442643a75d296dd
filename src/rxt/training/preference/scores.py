"""Log-probabilities of answers out of given memories: what policy and reference think of the same words."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from rxt.data.collate import Preferences, Rows
from rxt.generation.scoring import score_rows
from rxt.model.decoder import Decoder
from rxt.model.reactive import ReactiveTransformer


class Scored(NamedTuple):
    """What a decoder thinks of R answers."""

    log_probs: Tensor
    """(R,) mean log-probability of an answer's tokens, in nats."""
    balance: Tensor
    """Load-balancing loss of the decoder's experts, a mean over all tokens."""


class PolicyScores(NamedTuple):
    """What the policy thinks of a batch's answers, and the memories that it answered from."""

    answers: Scored
    before: Tensor
    """(L, R, S, D) the memory before each answer's turn."""
    memory_change: Tensor
    """Mean squared difference that a turn makes in the memory."""


def policy_scores(model: ReactiveTransformer, batch: Preferences, memories: list[Tensor]) -> PolicyScores:
    """Score every answer out of its turn's memory; ``memories`` (L, alive[t], S, D) as ``conversation_memories`` gives
    them.

    The gradient runs through the memory updates, as far back as they were told.
    """
    before = torch.cat(memories, dim=1).index_select(1, batch.turn_row)
    return PolicyScores(score_answers(model.decoder, batch.answers, before), before, memory_change(memories))


def score_answers(decoder: Decoder, rows: Rows, before: Tensor) -> Scored:
    """Score rows (R, T), each out of its own memory ``before`` (L, R, S, D); rows of like length are decoded
    together."""
    scores = score_rows(decoder, rows, before, torch.arange(len(rows), device=before.device))
    tokens = rows.targets[:, 1:].sum(1)
    sums = scores.nll.new_zeros(len(rows)).index_add(0, scores.turn, scores.nll)
    return Scored(-sums / tokens, scores.balance)


@torch.no_grad()
def memory_change(memories: list[Tensor]) -> Tensor:
    """Mean squared difference between the memories (L, alive[t], S, D) before and after a turn, over all turns."""
    changes = [(new - old[:, : new.shape[1]]).square().mean((0, 2, 3)) for old, new in pairwise(memories)]
    return torch.cat(changes).mean() if changes else memories[0].new_zeros(())
