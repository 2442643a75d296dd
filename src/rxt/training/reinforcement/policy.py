"""The trainer's side of a rollout: the same log-probabilities with their gradient, through the memory updates too."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rxt.data.collate import Rows
from rxt.generation.scoring import at_least_float32
from rxt.model.reactive import ReactiveTransformer
from rxt.training.reinforcement.rollout import Rollout
from rxt.training.unroll import conversation_memories


@dataclass(frozen=True)
class TokenScores:
    """What a model says of M target tokens."""

    log_probabilities: Tensor
    """(M,), in the order of the targets."""
    entropy: Tensor
    """(M,) of the distribution that each was drawn from, in nats."""
    balance: Tensor
    """Load-balancing loss of the decoder's experts, a mean over all tokens read."""


def walk(model: ReactiveTransformer, rollout: Rollout, window: int | None = None) -> list[Tensor]:
    """The memories before each turn (L, alive[t], S, D), computed anew from the initial ones with their gradient."""
    return conversation_memories(model, rollout.said, rollout.initial, window)


def token_scores(
    model: ReactiveTransformer, rows: Rows, source: Tensor, memories: list[Tensor], temperature: float = 1.0
) -> TokenScores:
    """Score the targets of rows (N, T), each out of the memory before interaction ``source`` (N,); rows of like length
    together."""
    before = torch.cat(memories, dim=1)  # (L, R, S, D)
    groups = rows.with_little_padding()
    parts = [
        _scores(model, rows[group], before.index_select(1, source[group]), rows.ids.shape[1], temperature)
        for group in groups
    ]
    back, targets = torch.cat(groups).argsort(), rows.targets[:, 1:]
    log_p, entropy = (torch.cat([part[kind] for part in parts])[back][targets] for kind in (0, 1))
    balance = (
        torch.stack([part[2] * int(rows.mask[group].sum()) for part, group in zip(parts, groups, strict=True)]).sum()
        / rows.mask.sum()
    )
    return TokenScores(log_p, entropy, balance)


def _scores(
    model: ReactiveTransformer, rows: Rows, slots: Tensor, longest: int, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities and entropies (n, longest − 1), zeros where no target is, and the balance."""
    targets = rows.targets[:, 1:]
    hidden = model.decoder.hidden(rows.ids, slots, rows.mask)
    scores = (at_least_float32(model.decoder.head(hidden.states[:, :-1][targets])) / temperature).log_softmax(
        -1
    )  # (m, V)
    chosen = scores.gather(-1, rows.ids[:, 1:][targets][:, None]).squeeze(-1)
    entropy = -(scores.exp() * scores).sum(-1)

    def padded(values: Tensor) -> Tensor:
        room = values.new_zeros(targets.shape).masked_scatter(targets, values)
        return F.pad(room, (0, longest - 1 - room.shape[1]))

    return padded(chosen), padded(entropy), hidden.balance
