"""The losses of stage 5 against what their formulas say, token by token."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from micro import MOE_MODEL, assert_same_gradients, gradients
from reinforcing import CONFIG, played, reinforcement_learner
from torch import Tensor

from rxt.evaluation.reward import HIGHEST
from rxt.training.reinforcement.config import CriticConfig, LossWeights, ReinforcementConfig
from rxt.training.reinforcement.experience import Experience, by_episode, experiences, values_of
from rxt.training.reinforcement.learner import ReinforcementLearner
from rxt.training.reinforcement.losses import (
    clipped,
    clipped_policy_loss,
    gae,
    group_advantages,
    kl_to,
    memory_change_loss,
    normalised,
)
from rxt.training.reinforcement.policy import token_scores, walk
from rxt.training.reinforcement.stage import reinforcement_loss


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def test_the_clipped_loss_is_ppos() -> None:
    new, old, advantages = (random(200, seed=seed) for seed in (1, 2, 3))
    new = (old + 0.4 * new).requires_grad_()
    expected, moved = [], []
    for log_p, before, advantage in zip(new.tolist(), old.tolist(), advantages.tolist(), strict=True):
        ratio = math.exp(log_p - before)
        free, bound = ratio * advantage, min(max(ratio, 0.8), 1.2) * advantage
        expected.append(-min(free, bound))
        moved.append(free > bound)
    found = clipped_policy_loss(new, old, advantages, 0.2)
    assert found.tolist() == pytest.approx(expected)
    gradient = torch.autograd.grad(found.sum(), new)[0]
    ratio = (new - old).exp().detach()
    assert clipped(new, old, advantages, 0.2).tolist() == moved
    assert 20 < sum(moved) < 180
    torch.testing.assert_close(gradient, torch.where(torch.tensor(moved), 0.0, -ratio * advantages))


def test_the_first_update_is_the_policy_gradient() -> None:
    log_p, advantages = random(50, seed=1).requires_grad_(), random(50, seed=2)
    gradient = torch.autograd.grad(clipped_policy_loss(log_p, log_p.detach(), advantages, 0.2).sum(), log_p)[0]
    torch.testing.assert_close(gradient, -advantages)


def test_the_divergence_is_estimated_without_bias() -> None:
    p, q = random(6, seed=1).log_softmax(-1), random(6, seed=2).log_softmax(-1)
    exact = (p.exp() * (p - q)).sum()
    estimates = kl_to(p, q)
    assert (estimates >= 0).all()
    torch.testing.assert_close((p.exp() * estimates).sum(), exact)
    assert kl_to(p, p).abs().max() == 0


def test_memory_changes_are_priced_by_turn() -> None:
    memories = [random(2, 3, 4, 5, seed=1), random(2, 3, 4, 5, seed=2), random(2, 1, 4, 5, seed=3)]
    expected = [
        math.sqrt(1) * ((memories[1] - memories[0]) ** 2).mean(),
        math.sqrt(2) * ((memories[2] - memories[1][:, :1]) ** 2).mean(),
    ]
    torch.testing.assert_close(memory_change_loss(memories), sum(expected) / torch.tensor(2.0, dtype=torch.double))
    assert memory_change_loss(memories[:1]) == 0


def naive_gae(rewards: list[float], values: list[float], discount: float, trace: float) -> list[float]:
    """A_t = Σ_l (γλ)^l·δ_{t+l}, written out."""
    after = [*values[1:], 0.0][: len(values)]
    deltas = [reward + discount * later - value for reward, later, value in zip(rewards, after, values, strict=True)]
    return [
        sum((discount * trace) ** steps * delta for steps, delta in enumerate(deltas[start:]))
        for start in range(len(rewards))
    ]


@pytest.mark.parametrize(("discount", "trace"), [(0.9, 0.95), (1.0, 1.0), (0.9, 0.0), (0.0, 0.5)])
def test_gae_is_its_sum(discount: float, trace: float) -> None:
    lengths = [4, 1, 0, 3]
    rewards, values = random(4, 4, seed=1), random(4, 4, seed=2)
    mask = torch.arange(4) < torch.tensor(lengths)[:, None]
    found = gae(rewards * mask, values * mask, mask, discount, trace)
    for row, length in enumerate(lengths):
        expected = naive_gae(rewards[row, :length].tolist(), values[row, :length].tolist(), discount, trace)
        assert found[row].tolist() == pytest.approx([*expected, *[0.0] * (4 - length)])


def test_advantages_of_a_group_are_its_own() -> None:
    rewards = torch.tensor([1.0, 0.0, 1.0, 1.0, 5.0, 5.0, 2.0, 8.0, 5.0])
    group = torch.tensor([7, 7, 7, 7, 2, 2, 4, 4, 4])
    found = group_advantages(rewards, group)
    deviation = math.sqrt(0.75 * 0.25)
    assert found[:4].tolist() == pytest.approx(
        [0.25 / deviation, -0.75 / deviation, 0.25 / deviation, 0.25 / deviation], rel=1e-4
    )
    assert found[4:6].tolist() == [0, 0], "answers that earn the same teach nothing"
    assert found[6:].tolist() == pytest.approx([-math.sqrt(1.5), math.sqrt(1.5), 0], rel=1e-4)
    assert group_advantages(rewards, group, scale=False)[6:].tolist() == [-3, 3, 0]


def test_normalised() -> None:
    found = normalised(random(50) * 3 + 7)
    assert float(found.mean()) == pytest.approx(0, abs=1e-6)
    assert float(found.std(correction=0)) == pytest.approx(1, abs=1e-5)
    assert normalised(torch.tensor([3.0])).tolist() == [0.0]


PLAIN = LossWeights(step=0.0, memory=0.0)
PPO = replace(CONFIG, algorithm="ppo", weights=LossWeights())
IMPO = replace(CONFIG, algorithm="impo", critic=CriticConfig(gae=True), weights=PLAIN)


def experienced(config: ReinforcementConfig) -> tuple[ReinforcementLearner, Experience]:
    """Played, then the policy moves away from the one that played and from the reference."""
    subject = reinforcement_learner(config, double=True)
    rollout = played(subject, config).rollout
    rollout = replace(rollout, rewards=rollout.rewards.double())
    found = experiences([rollout], subject.reference, subject.critic, config)[0]
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in subject.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.03)
    subject.train()
    return subject, found


def naive_ppo(subject: ReinforcementLearner, experience: Experience, config: ReinforcementConfig) -> Tensor:
    """PPO as it is written down, answer by answer and token by token: clipped loss, value loss, entropy bonus, KL to
    the reference."""
    rollout = experience.rollout
    assert subject.critic is not None
    episode_of_row = [episode for alive in rollout.said.alive for episode in range(alive)]
    owners = [episode_of_row[row] for row in rollout.source.tolist()]
    scores = token_scores(subject.model, rollout.answers, rollout.source, walk(subject.model, rollout))
    new_values = values_of(subject.critic, rollout)
    total = torch.zeros((), dtype=torch.double)
    owner_of_token = rollout.answer_of_token.tolist()
    for token, answer in enumerate(owner_of_token):
        new, old, reference = (
            scores.log_probabilities[token],
            rollout.log_probabilities[token],
            experience.reference[token],
        )
        advantage = experience.advantages[answer]
        ratio = (new - old).exp()
        policy = -torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
        kl = (reference - new).exp() - 1 - (reference - new)
        total = total + (policy - 0.01 * scores.entropy[token] + 0.05 * kl) / len(owner_of_token)
    for answer in range(len(owners)):
        total = total + 0.5 * (new_values[answer] - experience.returns[answer]) ** 2 / len(owners)
    return total


def test_impo_without_its_own_terms_and_with_gae_is_ppo() -> None:
    subject, experience = experienced(IMPO)
    expected = naive_ppo(subject, experience, IMPO)
    wanted = gradients(expected, subject)
    for config in (IMPO, PPO):
        loss = reinforcement_loss(subject, experience, (experience,), config)
        torch.testing.assert_close(loss.loss, expected, rtol=1e-9, atol=1e-11)
        assert_same_gradients(gradients(loss.loss, subject), wanted, atol=1e-9)
        assert 0 < float(loss.metrics["clipped"]) < 1
    for part in ("model.memory_attention", "model.encoder.layers", "model.decoder.layers", "critic"):
        assert any(gradient.abs().sum() > 1e-6 for name, gradient in wanted.items() if name.startswith(part)), part


def test_advantages_with_gae_are_those_of_each_episode() -> None:
    subject = reinforcement_learner(PPO, double=True)
    rollout = played(subject, PPO).rollout
    rollout = replace(rollout, rewards=rollout.rewards.double())
    assert subject.critic is not None
    values = values_of(subject.critic, rollout).tolist()
    found = experiences([rollout], subject.reference, subject.critic, PPO)[0]
    episode_of_row = [episode for alive in rollout.said.alive for episode in range(alive)]
    owners = [episode_of_row[row] for row in rollout.source.tolist()]
    expected = [0.0] * len(owners)
    for episode in set(owners):
        mine = [answer for answer, owner in enumerate(owners) if owner == episode]
        earned = [float(rollout.rewards[answer]) / HIGHEST for answer in mine]
        for answer, advantage in zip(
            mine, naive_gae(earned, [values[answer] for answer in mine], 0.9, 0.95), strict=True
        ):
            expected[answer] = advantage
    assert found.returns.tolist() == pytest.approx([a + v for a, v in zip(expected, values, strict=True)])
    whole = torch.tensor(expected, dtype=torch.double)
    torch.testing.assert_close(found.advantages, (whole - whole.mean()) / (whole.std(correction=0) + 1e-6))
    grid, mask = by_episode(rollout)
    assert sorted(grid[mask].tolist()) == list(range(len(owners)))


def test_simple_advantages_are_reward_less_value() -> None:
    config = replace(IMPO, critic=CriticConfig())
    subject = reinforcement_learner(config, double=True)
    rollout = played(subject, config).rollout
    rollout = replace(rollout, rewards=rollout.rewards.double())
    assert subject.critic is not None
    found = experiences([rollout], subject.reference, subject.critic, config)[0]
    torch.testing.assert_close(found.returns, rollout.rewards / HIGHEST)
    torch.testing.assert_close(
        found.advantages, normalised(rollout.rewards / HIGHEST - values_of(subject.critic, rollout))
    )


@pytest.mark.parametrize("term", ["step", "memory", "supervised"])
def test_each_further_term_adds_what_it_says(term: str) -> None:
    subject, experience = experienced(IMPO)
    rollout = experience.rollout
    weights = {
        "step": LossWeights(step=0.3, memory=0.0),
        "memory": LossWeights(step=0.0, memory=0.7),
        "supervised": replace(PLAIN, supervised=0.2),
    }
    plain = reinforcement_loss(subject, experience, (experience,), IMPO).loss
    more = reinforcement_loss(subject, experience, (experience,), replace(IMPO, weights=weights[term])).loss
    memories = walk(subject.model, rollout)
    if term == "step":
        new = token_scores(subject.model, rollout.answers, rollout.source, memories).log_probabilities
        expected = 0.3 * ((new - rollout.log_probabilities).exp() - 1 - (new - rollout.log_probabilities)).mean()
    elif term == "memory":
        expected = 0.7 * memory_change_loss(memories)
    else:
        expected = (
            -0.2 * token_scores(subject.model, rollout.wanted, rollout.wanted_source, memories).log_probabilities.mean()
        )
    assert expected > 1e-6
    torch.testing.assert_close(more - plain, expected)


def test_micro_batches_add_up_to_the_update() -> None:
    config = replace(CONFIG, algorithm="group")
    subject = reinforcement_learner(config, double=True)
    rollouts = [
        replace(each, rewards=each.rewards.double())
        for each in (played(subject, config, seed=seed).rollout for seed in (1, 2))
    ]
    parts = tuple(experiences(rollouts, subject.reference, None, config))
    losses = [reinforcement_loss(subject, part, parts, config) for part in parts]
    tokens = [len(part.rollout.log_probabilities) for part in parts]
    alone = [reinforcement_loss(subject, part, (part,), config) for part in parts]
    for name in ("policy", "entropy", "kl"):
        expected = sum(count * loss.metrics[name] for count, loss in zip(tokens, alone, strict=True)) / sum(tokens)
        torch.testing.assert_close(losses[0].metrics[name] + losses[1].metrics[name], expected)
    reward = torch.cat([rollout.rewards for rollout in rollouts]).mean()
    assert float(losses[0].metrics["reward"] + losses[1].metrics["reward"]) == pytest.approx(float(reward))


def test_experts_are_balanced() -> None:
    """The balance of all tokens read, whatever groups of like length they are computed in."""
    subject = reinforcement_learner(CONFIG, MOE_MODEL, double=True)
    experience = experiences([played(subject, CONFIG).rollout], subject.reference, None, CONFIG)[0]
    subject.train()
    rollout = experience.rollout
    scores = token_scores(subject.model, rollout.answers, rollout.source, walk(subject.model, rollout))
    assert scores.balance > 0.5
    loss = reinforcement_loss(
        subject, experience, (experience,), replace(CONFIG, weights=LossWeights(entropy=0.0, reference=0.0))
    )
    torch.testing.assert_close(loss.loss, loss.metrics["policy"] + 0.01 * scores.balance)
