"""A rollout with what the losses need beside it: the reference's log-probabilities, advantages and returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rxt.evaluation.reward import HIGHEST
from rxt.model.reactive import ReactiveTransformer
from rxt.training.reinforcement.config import ReinforcementConfig
from rxt.training.reinforcement.critic import Critic
from rxt.training.reinforcement.losses import gae, group_advantages, normalised
from rxt.training.reinforcement.policy import token_scores, walk
from rxt.training.reinforcement.rollout import Rollout


@dataclass(frozen=True)
class Experience:
    """What an update learns from; it does not change while the policy does."""

    rollout: Rollout
    reference: Tensor
    """(M,): log-probabilities of the sampled tokens under the model that the stage began with, walking through the same episodes."""
    advantages: Tensor
    """(N,): how much better an answer was than expected."""
    returns: Tensor
    """(N,): what the critic is to learn, in units of the highest reward; zeros without a critic."""


@torch.no_grad()
def experiences(
    rollouts: Sequence[Rollout], reference: ReactiveTransformer, critic: Critic | None, config: ReinforcementConfig
) -> list[Experience]:
    """The experiences of the rollouts of one update; advantages are normalised over all of them together."""
    guessed = [values_of(critic, rollout) if critic is not None else torch.zeros_like(rollout.rewards) for rollout in rollouts]
    judged = [advantages_and_returns(rollout, values, config) for rollout, values in zip(rollouts, guessed, strict=True)]
    advantages = torch.cat([advantage for advantage, _ in judged])
    if config.has_critic:
        advantages = normalised(advantages)
    parts = advantages.split([len(rollout.rewards) for rollout in rollouts])
    return [
        Experience(rollout, reference_log_probabilities(reference, rollout, config), part.clone(), returns)
        for rollout, part, (_, returns) in zip(rollouts, parts, judged, strict=True)
    ]


def values_of(critic: Critic, rollout: Rollout) -> Tensor:
    """The critic's guesses (N,), of questions with one answer each."""
    return critic(rollout.context, rollout.before[:, rollout.wanted_source])


def reference_log_probabilities(reference: ReactiveTransformer, rollout: Rollout, config: ReinforcementConfig) -> Tensor:
    """(M,): the reference remembers the episodes for itself, from the same initial memories."""
    memories = walk(reference, rollout)
    return token_scores(reference, rollout.answers, rollout.source, memories, config.temperature).log_probabilities


def advantages_and_returns(rollout: Rollout, values: Tensor, config: ReinforcementConfig) -> tuple[Tensor, Tensor]:
    """(N,), (N,): not normalised over the batch yet. ``values`` (N,) are the critic's, in units of the highest reward."""
    earned = rollout.rewards / HIGHEST
    if not config.has_critic:
        return group_advantages(earned, rollout.source, config.group.scale), torch.zeros_like(earned)
    if not config.has_gae:
        return earned - values, earned
    grid, mask = by_episode(rollout)
    found = gae(earned[grid] * mask, values[grid] * mask, mask, config.critic.discount, config.critic.trace)
    advantages = torch.zeros_like(earned)
    advantages[grid[mask]] = found[mask]
    return advantages, advantages + values


def by_episode(rollout: Rollout) -> tuple[Tensor, Tensor]:
    """The questions of each episode in their order: answer numbers (B, E), and where there is one (B, E)."""
    episode_of_row = torch.cat([torch.arange(alive) for alive in rollout.said.alive]).to(rollout.source.device)
    episodes = episode_of_row[rollout.source]
    lists = [(episodes == episode).nonzero().squeeze(1) for episode in range(rollout.said.size)]
    grid = torch.nn.utils.rnn.pad_sequence(lists, batch_first=True)
    mask = torch.arange(grid.shape[1], device=grid.device) < torch.tensor([len(each) for each in lists], device=grid.device)[:, None]
    return grid, mask
