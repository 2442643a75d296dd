"""How likely given answers are out of given memories: what training, preferences and evaluation ask of a decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rxt.data.collate import Rows
from rxt.generation.cross_entropy import cross_entropy, linear_cross_entropy
from rxt.generation.frozen_head import is_frozen, target_scores
from rxt.model.decoder import Decoder, Hidden, TiedHead


@dataclass(frozen=True)
class AnswerScores:
    """How well N target tokens were predicted."""

    nll: Tensor
    """(N,) −log p of each target, in nats."""
    correct: Tensor
    """(N,) whether no token had a higher logit than the target."""
    turn: Tensor
    """(N,) the turn of the conversation that each target belongs to."""
    balance: Tensor
    """Load-balancing loss of the decoder's experts, a mean over all tokens."""
    tokens: Tensor
    """How many real tokens that is."""

    @staticmethod
    def join(scores: Sequence[AnswerScores]) -> AnswerScores:
        """The scores of several turns together."""
        tokens = torch.stack([score.tokens for score in scores])
        return AnswerScores(
            torch.cat([score.nll for score in scores]),
            torch.cat([score.correct for score in scores]),
            torch.cat([score.turn for score in scores]),
            (torch.stack([score.balance for score in scores]) * tokens).sum() / tokens.sum(),
            tokens.sum(),
        )

    def loss_over_turns(self, counts: Tensor) -> Tensor:
        """The mean over the answer tokens of a turn, summed over the turns.

        ``counts`` (N,) are the targets of every turn in the whole update, of which these scores may be a part.
        """
        return (self.nll / counts[self.turn]).sum()

    def mean(self) -> Tensor:
        """Mean −log p over all targets, in nats; its exponential is the perplexity."""
        return self.nll.mean()

    def accuracy(self) -> Tensor:
        """Share of targets than which none was likelier."""
        return self.correct.float().mean()


def answer_scores(hidden: Hidden, head: nn.Module, rows: Rows, turns: Tensor) -> AnswerScores:
    """Score the target tokens of rows (R, T); logits are computed only where a target is.

    The state at position t predicts the token at t + 1, so the first token of a row is never a target. ``turns`` are
    the turns of the conversation that rows (R,) belong to, or every token (R, T).
    """
    scored = rows.targets[:, 1:]  # (R, T − 1)
    targets = rows.ids[:, 1:][scored]  # (N,)
    states = hidden.states[:, :-1][scored]  # (N, D)
    nll, correct = state_scores(head, states, targets)
    turn = (turns[:, 1:] if turns.dim() == 2 else turns.unsqueeze(1)).to(scored.device).expand_as(scored)[scored]
    return AnswerScores(nll, correct, turn, hidden.balance, rows.mask.sum())


def state_scores(head: nn.Module, states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """−log p (N,) of targets (N,) after states (N, D), in nats, and whether none was likelier (N,)."""
    if states.requires_grad and is_frozen(head):
        return target_scores(head, states, targets)
    if type(head) is nn.Linear:
        return linear_cross_entropy(states, head.weight, head.bias, targets)
    if isinstance(head, TiedHead):
        return linear_cross_entropy(states, head.weight, None, targets)
    return cross_entropy(head(states), targets)


def at_least_float32(x: Tensor) -> Tensor:
    """Losses are computed in float32, or float64 where the model is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def score_rows(decoder: Decoder, rows: Rows, before: Tensor, turns: Tensor) -> AnswerScores:
    """Score rows (R, T), each out of its own memory ``before`` (L, R, S, D); rows of like length are decoded
    together.

    ``turns`` (R,): the number by which each row's targets are told apart in the result.
    """
    groups = rows.with_little_padding()
    # one selection for all groups: the gradient of each is as large as all memories together
    memories = before.index_select(1, torch.cat(groups)).split([len(group) for group in groups], dim=1)

    def score(group: Tensor, slots: Tensor) -> AnswerScores:
        part = rows[group]
        return answer_scores(decoder.hidden(part.ids, slots, part.mask), decoder.head, part, turns[group])

    return AnswerScores.join([score(*each) for each in zip(groups, memories, strict=True)])
