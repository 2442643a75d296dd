"""A rollout with what the losses need beside it: the reference's log-probabilities, advantages and returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rxt.evaluation.reward import HIGHEST
from rxt.model.classifier import SequenceClassifier
from rxt.model.reactive import ReactiveTransformer
from rxt.training.reinforcement.config import ReinforcementConfig
from rxt.training.reinforcement.losses import gae, group_advantages, normalised
from rxt.training.reinforcement.policy import token_scores, walk
from rxt.training.reinforcement.rollout import Rollout


@dataclass(frozen=True)
class Experience:
    """What an update learns from; it does not change while the policy does."""

    rollout: Rollout
    reference: Tensor
    """(M,): log-probabilities of the sampled tokens under the model that the stage began with, walking through the same
    episodes."""
    advantages: Tensor
    """(N,): how much better an answer was than expected."""
    returns: Tensor
    """(N,): what the critic is to learn, in units of the highest reward; zeros without a critic."""

    def to(self, device: torch.device) -> Experience:
        """The same on a device."""
        return Experience(
            self.rollout.to(device), self.reference.to(device), self.advantages.to(device), self.returns.to(device)
        )


def experiences(
    rollouts: Sequence[Rollout],
    reference: ReactiveTransformer,
    critic: SequenceClassifier | None,
    config: ReinforcementConfig,
) -> list[Experience]:
    """The experiences of the rollouts of one update."""
    return weighed_together([experience_of(rollout, reference, critic, config) for rollout in rollouts], config)


@torch.no_grad()
def experience_of(
    rollout: Rollout, reference: ReactiveTransformer, critic: SequenceClassifier | None, config: ReinforcementConfig
) -> Experience:
    """A rollout judged by itself."""
    values = values_of(critic, rollout) if critic is not None else torch.zeros_like(rollout.rewards)
    advantages, returns = advantages_and_returns(rollout, values, config)
    return Experience(rollout, reference_log_probabilities(reference, rollout, config), advantages, returns)


def weighed_together(parts: Sequence[Experience], config: ReinforcementConfig) -> list[Experience]:
    """Advantages over a critic are normalised over all answers of an update; those of groups are each group's own."""
    if not config.has_critic:
        return list(parts)
    advantages = normalised(torch.cat([part.advantages for part in parts]))
    split = advantages.split([len(part.advantages) for part in parts])
    return [replace(part, advantages=advantage.clone()) for part, advantage in zip(parts, split, strict=True)]


def values_of(critic: SequenceClassifier, rollout: Rollout) -> Tensor:
    """The critic's guesses (N,), of questions with one answer each."""
    context = rollout.context
    return critic(context.ids, context.mask, rollout.before[:, rollout.wanted_source]).squeeze(-1)


def reference_log_probabilities(
    reference: ReactiveTransformer, rollout: Rollout, config: ReinforcementConfig
) -> Tensor:
    """(M,): the reference remembers the episodes for itself, from the same initial memories."""
    memories = walk(reference, rollout)
    return token_scores(reference, rollout.answers, rollout.source, memories, config.temperature).log_probabilities


def advantages_and_returns(rollout: Rollout, values: Tensor, config: ReinforcementConfig) -> tuple[Tensor, Tensor]:
    """(N,), (N,): not normalised over the batch yet. ``values`` (N,) are the critic's, in units of the highest
    reward."""
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
    mask = (
        torch.arange(grid.shape[1], device=grid.device)
        < torch.tensor([len(each) for each in lists], device=grid.device)[:, None]
    )
    return grid, mask
