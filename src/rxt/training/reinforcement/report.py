"""What a batch of experiences tells of the policy, beside its losses."""

from __future__ import annotations

import torch
from torch import Tensor

from rxt.training.reinforcement.config import ReinforcementConfig
from rxt.training.reinforcement.replay import Batch

BANDS = ((1, 2), (3, 4), (5, 8), (9, 16), (17, 64))
"""Distances whose rewards are reported together."""


def told(batch: Batch, config: ReinforcementConfig) -> dict[str, Tensor]:
    """Numbers of a whole update, divided by its micro-batches, so that their sum over these is the number.

    ``reward``, ``reward_1_2`` … (by how many turns ago the fact was told, where there are such questions),
    ``answer_tokens``, ``silent`` (share of answers that are [EOS] alone), ``memory_change`` and, of groups,
    ``undecided`` (share of questions whose answers earned all the same, which teach nothing).
    """
    rollouts = [experience.rollout for experience in batch]
    rewards, distance, lengths = (
        torch.cat([getattr(rollout, name) for rollout in rollouts]).float()
        for name in ("rewards", "distance", "lengths")
    )
    changes = torch.stack([rollout.memory_change() * rollout.said.size for rollout in rollouts])
    found = {
        "reward": rewards.mean(),
        "answer_tokens": lengths.mean(),
        "silent": (lengths <= 1).float().mean(),
        "memory_change": changes.sum() / sum(rollout.said.size for rollout in rollouts),
    }
    for first, last in BANDS:
        inside = (distance >= first) & (distance <= last)
        if inside.any():
            found[f"reward_{first}_{last}"] = rewards[inside].mean()
    if config.algorithm == "group":
        groups = rewards.view(-1, config.answers)
        found["undecided"] = (groups.amax(1) == groups.amin(1)).float().mean()
    return {name: value / len(batch) for name, value in found.items()}
