"""What stage 5 minimises, as pure functions of tensors. M tokens of N answers; everything is of the sampled tokens."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

TINY = 1e-6
"""Keeps a standard deviation of nothing from dividing by it."""


def clipped_policy_loss(new: Tensor, old: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """PPO's −min(r·A, clip(r, 1 − ε, 1 + ε)·A), r = p_new / p_old (arXiv 1707.06347, eq. 7), of log-probabilities and
    advantages (M,)."""
    ratio = (new - old).exp()
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def clipped(new: Tensor, old: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """(M,) where the clip has taken the gradient away: the token has moved by more than its share, in the advantage's
    direction."""
    ratio = (new - old).exp()
    return ((ratio > 1 + clip) & (advantages > 0)) | ((ratio < 1 - clip) & (advantages < 0))


def kl_to(log_p: Tensor, log_q: Tensor) -> Tensor:
    """An estimate of KL(p ‖ q) at tokens drawn from p: q/p − 1 − log(q/p), never negative (Schulman 2020, "k3"): (M,)
    -> (M,)."""
    difference = log_q - log_p
    return difference.exp() - 1 - difference


def memory_change_loss(memories: Sequence[Tensor]) -> Tensor:
    """IMPO's √(t+1)·MSE(memory_t, memory_{t−1}), a mean over the turns: memories (L, alive[t], S, D) before turn 0, 1,
    …"""
    changes = [
        (turn + 1) ** 0.5 * F.mse_loss(new, old[:, : new.shape[1]])
        for turn, (old, new) in enumerate(pairwise(memories))
    ]
    return torch.stack(changes).mean() if changes else memories[0].new_zeros(())


def normalised(values: Tensor) -> Tensor:
    """Mean 0 and standard deviation 1 over the batch (N,); a single value becomes 0."""
    return (values - values.mean()) / (values.std(correction=0) + TINY)


def group_advantages(rewards: Tensor, group: Tensor, scale: bool = True) -> Tensor:
    """(reward − mean of its group) / (standard deviation of its group) (arXiv 2402.03300, §4.1): rewards (N,), group
    numbers (N,) -> (N,).

    A group whose answers all earn the same has nothing to teach: zeros. Without ``scale`` nothing is divided.
    """
    groups, index = torch.unique(group, return_inverse=True)
    counts = torch.zeros(len(groups), dtype=rewards.dtype, device=rewards.device).index_add(
        0, index, torch.ones_like(rewards)
    )
    mean = torch.zeros_like(counts).index_add(0, index, rewards) / counts
    centred = rewards - mean[index]
    if not scale:
        return centred
    deviation = (torch.zeros_like(counts).index_add(0, index, centred**2) / counts).sqrt()
    return centred / (deviation[index] + TINY)


def gae(rewards: Tensor, values: Tensor, mask: Tensor, discount: float, trace: float) -> Tensor:
    """Generalized advantage estimation (arXiv 1506.02438, eq. 16) over the questions of B episodes, (B, E) -> (B, E).

    δ_t = r_t + γ·V_{t+1} − V_t and A_t = δ_t + γ·λ·A_{t+1}; after an episode's last question (``mask`` is False) all is
    0.
    """
    advantages = torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[:, 0])
    value_after = torch.zeros_like(following)
    for index in reversed(range(rewards.shape[1])):
        present = mask[:, index]
        delta = rewards[:, index] + discount * value_after - values[:, index]
        following = torch.where(present, delta + discount * trace * following, following)
        value_after = torch.where(present, values[:, index], value_after)
        advantages[:, index] = following * present
    return advantages
