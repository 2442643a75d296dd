"""The losses, by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from micro import MODEL, PRETRAIN, learner, random_batch
from torch import Tensor, nn

from rxt.data.collate import collate_rows
from rxt.data.template import Encoded
from rxt.generation.scoring import AnswerScores, answer_scores, at_least_float32
from rxt.model.decoder import Hidden
from rxt.training.learner import fresh_slots
from rxt.training.losses import memory_target_loss
from rxt.training.stages.memory_pretrain import MemoryPretrainStage, fit_to_slots, noisy


def scores(nll: list[float], turn: list[int]) -> AnswerScores:
    return AnswerScores(torch.tensor(nll), torch.tensor(nll) < 2, torch.tensor(turn), torch.zeros(()), torch.tensor(9))


def test_the_loss_over_turns_is_a_mean_within_and_a_sum_across() -> None:
    found = scores([1.0, 2.0, 6.0, 4.0, 8.0], [0, 0, 0, 2, 2])
    assert found.loss_over_turns(torch.tensor([3, 0, 2])).item() == pytest.approx(3 + 6)
    part = scores([1.0, 4.0], [0, 2])
    assert part.loss_over_turns(torch.tensor([3, 0, 2])).item() == pytest.approx(1 / 3 + 2), "a part of an update"
    assert found.mean().item() == pytest.approx(21 / 5)
    assert found.accuracy().item() == pytest.approx(1 / 5)


def test_joined_scores_hold_all_tokens() -> None:
    parts = [scores([1.0], [0]), scores([2.0, 3.0], [1, 1])]
    parts[1] = replace(parts[1], balance=torch.tensor(4.0), tokens=torch.tensor(3))
    joined = AnswerScores.join(parts)
    assert joined.nll.tolist() == [1, 2, 3]
    assert joined.turn.tolist() == [0, 1, 1]
    assert joined.balance.item() == pytest.approx(4 * 3 / 12), "a mean over tokens"
    assert joined.tokens == 12


def test_each_target_is_predicted_one_position_earlier() -> None:
    width = 5
    rows = collate_rows([Encoded([1, 2, 3, 4], [False, False, True, True]), Encoded([4, 2], [True, True])], pad=0)
    states = torch.randn(2, 4, width)
    found = answer_scores(Hidden(states, torch.tensor(0.5)), nn.Identity(), rows, torch.tensor([7, 8]))
    logits = states.log_softmax(-1)
    expected = torch.stack([-logits[0, 1, 3], -logits[0, 2, 4], -logits[1, 0, 2]])
    torch.testing.assert_close(found.nll, expected)
    best = torch.stack([states[0, 1], states[0, 2], states[1, 0]]).argmax(-1)
    assert found.correct.tolist() == (best == torch.tensor([3, 4, 2])).tolist()
    assert found.turn.tolist() == [7, 7, 8]
    assert found.balance.item() == 0.5
    assert found.tokens == 6


def test_losses_are_at_least_float32() -> None:
    for given_, expected in (
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ):
        assert at_least_float32(torch.zeros(1, dtype=given_)).dtype == expected


def test_the_memory_target_is_a_weighted_mean() -> None:
    new = torch.tensor([[[[1.0, 0.0], [0.0, 3.0]]]])  # (L, B, S, D) = (1, 1, 2, 2)
    old = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])
    encoded = torch.tensor([[[[0.0, 1.0], [0.0, 0.0]]]])
    weight = torch.tensor(0.75)
    # Slot 0: target (0.25, 0.75) against (1, 0); slot 1: target (0.25, 0) against (0, 3).
    expected = -(0.25 / math.hypot(0.25, 0.75) + 0.0) / 2
    assert memory_target_loss(new, old, encoded, weight).item() == pytest.approx(expected)
    assert memory_target_loss(old, old, encoded, torch.tensor(0.0)).item() == pytest.approx(-1)


def test_an_encoded_interaction_fits_the_slots() -> None:
    encoded = torch.arange(1.0, 13.0).reshape(1, 2, 3, 2)
    assert torch.equal(fit_to_slots(encoded, 3), encoded)
    assert torch.equal(fit_to_slots(encoded, 2), encoded[:, :, :2])
    longer = fit_to_slots(encoded, 5)
    assert torch.equal(longer[:, :, :3], encoded)
    assert longer.shape == (1, 2, 5, 2)
    assert not longer[:, :, 3:].any()


def test_noise_has_its_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.full((100, 100), 5.0)
    assert torch.equal(noisy(x, 0.0, generator), x)
    difference = noisy(x, 0.3, generator) - x
    assert difference.std().item() == pytest.approx(0.3, rel=0.02)
    assert abs(difference.mean().item()) < 0.01


def test_stage_3_weights_follow_the_turns() -> None:
    """0.9, then 0.5 − 0.05·t, at least 0.05, each within ±15 %; and the whole loss of a batch, by hand."""
    config = replace(PRETRAIN, jitter=0.15, noise=0.0)
    stage = MemoryPretrainStage(None, None, config)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    for turn, weight in ((0, 0.9), (1, 0.45), (2, 0.4), (8, 0.1), (9, 0.05), (30, 0.05)):
        drawn = [float(stage.weight(turn, generator)) for _ in range(200)]
        assert weight * 0.85 <= min(drawn) < weight * 0.9
        assert weight * 1.1 < max(drawn) <= weight * 1.15

    stage = MemoryPretrainStage(None, None, replace(config, jitter=0.0, difference_penalty=0.5))  # type: ignore[arg-type]
    subject = learner(double=True)
    batch = random_batch([3, 2])
    slots = fresh_slots(subject, 2, torch.Generator().manual_seed(5))
    found = stage.loss(subject, batch, [batch], torch.Generator().manual_seed(5))
    expected = cosines = torch.zeros((), dtype=torch.double)
    model = subject.model
    for turn, rows in enumerate(batch.turns()):
        part = batch.rows[rows]
        slots = slots[:, : len(part)]
        encoded = model.encoder(part.ids, part.mask)
        new = model.memory_attention(slots, encoded, part.mask)
        weight = (0.9, 0.45, 0.4)[turn]
        for row in range(len(part)):  # 5 updates in all
            target = (1 - weight) * slots[:, row] + weight * fit_to_slots(encoded, slots.shape[2])[:, row]
            cosine = torch.cosine_similarity(new[:, row], target, dim=-1).mean()
            cosines = cosines + cosine / 5
            expected = (
                expected + (-cosine + 0.5 * (turn + 1) ** 0.5 * (new[:, row] - slots[:, row]).square().mean()) / 5
            )
        slots = new
    torch.testing.assert_close(found.loss, expected)
    torch.testing.assert_close(found.metrics["cosine"], cosines)
    assert found.tokens == batch.rows.tokens


def test_stage_3_sends_no_gradient_through_the_turns() -> None:
    stage = MemoryPretrainStage(None, None, replace(PRETRAIN, jitter=0.0, noise=0.0))  # type: ignore[arg-type]
    subject = learner(double=True)
    subject.learn_only(("memory_attention",))
    batch = random_batch([2])
    inputs: list[Tensor] = []
    subject.model.memory_attention.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    stage.loss(subject, batch, [batch], torch.Generator())
    assert [slots.requires_grad for slots in inputs] == [False, False]


def test_fresh_slots_are_the_models_own_where_it_has_one() -> None:
    drawn = fresh_slots(learner(), 2, torch.Generator().manual_seed(1))
    assert not torch.equal(drawn[:, 0], drawn[:, 1])
    assert torch.equal(drawn, fresh_slots(learner(), 2, torch.Generator().manual_seed(1)))
    assert not torch.equal(drawn, fresh_slots(learner(), 2, torch.Generator().manual_seed(2)))
    fixed = learner(replace(MODEL, memory_seed=3))
    first = fresh_slots(fixed, 2, torch.Generator().manual_seed(1))
    assert torch.equal(first, fresh_slots(fixed, 2, torch.Generator().manual_seed(2)))
    assert torch.equal(first[:, 0], first[:, 1])
