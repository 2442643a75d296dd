"""What is played is what the trainer computes anew: memories, log-probabilities, gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from micro import MODEL, MOE_MODEL, assert_same_gradients, gradients, template
from reinforcing import CONFIG, Letters, episodes, played, reinforcement_learner
from torch import Tensor

from factories import ATTENTION
from rxt.config import RxTConfig
from rxt.errors import UserError
from rxt.generation.scored import generate_scored
from rxt.model.memory import Memory
from rxt.model.reactive import ReactiveTransformer
from rxt.training.reinforcement.config import GroupConfig
from rxt.training.reinforcement.policy import token_scores, walk
from rxt.training.reinforcement.rollout import Rollout

READS_MEMORY = replace(MODEL, encoder=replace(MODEL.encoder, cross_attention=ATTENTION))
MODELS = {"plain": MODEL, "moe": MOE_MODEL, "encoder reads memory": READS_MEMORY}
GROUPS = replace(CONFIG, group=GroupConfig(answers=3))
SINGLE = replace(CONFIG, algorithm="ppo")


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("teacher_forcing", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_the_trainer_finds_the_samplers_log_probabilities(
    model: RxTConfig, teacher_forcing: bool, temperature: float
) -> None:
    config = replace(GROUPS, temperature=temperature)
    subject = reinforcement_learner(config, model, double=True)
    rollout = played(subject, config, teacher_forcing).rollout
    subject.train()
    memories = walk(subject.model, rollout)
    torch.testing.assert_close(torch.cat(memories, dim=1), rollout.before, rtol=1e-9, atol=1e-9)
    found = token_scores(subject.model, rollout.answers, rollout.source, memories, temperature)
    torch.testing.assert_close(found.log_probabilities, rollout.log_probabilities, rtol=1e-8, atol=1e-8)
    assert len(found.log_probabilities) == int(rollout.lengths.sum())
    assert found.log_probabilities.std() > 0.1, "the tokens are not all alike"


def test_in_float32_too() -> None:
    subject = reinforcement_learner(GROUPS)
    rollout = played(subject, GROUPS).rollout
    subject.train()
    found = token_scores(subject.model, rollout.answers, rollout.source, walk(subject.model, rollout)).log_probabilities
    torch.testing.assert_close(found, rollout.log_probabilities, rtol=1e-4, atol=1e-4)


def naive_log_probabilities(model: ReactiveTransformer, rollout: Rollout, temperature: float) -> tuple[Tensor, Tensor]:
    """One episode at a time, one turn at a time, one answer at a time, no padding: log-probabilities and entropies."""
    by_answer: dict[int, Tensor] = {}
    entropy: dict[int, Tensor] = {}
    starts = [turn.start for turn in rollout.said.turns()]
    for episode in range(rollout.said.size):
        memory = Memory(rollout.initial[:, episode : episode + 1])
        for turn, alive in enumerate(rollout.said.alive):
            if episode >= alive:
                break
            row = starts[turn] + episode
            for answer in (rollout.source == row).nonzero()[:, 0].tolist():
                ids = rollout.answers.ids[answer][rollout.answers.mask[answer]]
                scores = (model.decode(ids[None], memory)[0] / temperature).log_softmax(-1)
                places = rollout.answers.targets[answer].nonzero()[:, 0].tolist()
                by_answer[answer] = torch.stack([scores[at - 1, ids[at]] for at in places])
                entropy[answer] = torch.stack([-(scores[at - 1].exp() * scores[at - 1]).sum() for at in places])
            memory = model.memorize(memory, rollout.said.rows.ids[row][rollout.said.rows.mask[row]][None])
    order = range(len(rollout.answers))
    return torch.cat([by_answer[answer] for answer in order]), torch.cat([entropy[answer] for answer in order])


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_turn_by_turn_it_is_the_same_gradients_included(model: RxTConfig) -> None:
    subject = reinforcement_learner(GROUPS, model, double=True)
    rollout = played(subject, GROUPS).rollout
    subject.train()
    found = token_scores(subject.model, rollout.answers, rollout.source, walk(subject.model, rollout), 0.8)
    expected, entropy = naive_log_probabilities(subject.model, rollout, 0.8)
    torch.testing.assert_close(found.log_probabilities, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.entropy, entropy, rtol=1e-9, atol=1e-9)
    weights = torch.linspace(-1, 2, len(expected), dtype=torch.double)
    wanted = gradients((weights * expected).sum() + entropy.sum(), subject.model)
    assert_same_gradients(
        gradients((weights * found.log_probabilities).sum() + found.entropy.sum(), subject.model), wanted, atol=1e-9
    )
    for part in ("decoder.layers", "encoder.layers", "memory_attention"):
        assert any(gradient.abs().sum() > 1e-6 for name, gradient in wanted.items() if name.startswith(part)), part


def test_a_window_of_one_stops_the_gradient_after_one_update() -> None:
    subject = reinforcement_learner(GROUPS, double=True)
    rollout = played(subject, GROUPS).rollout
    slots = rollout.before.clone().requires_grad_()
    reached = {}
    for window in (None, 1):
        memories = walk(subject.model, replace(rollout, before=slots), window)
        scores = token_scores(subject.model, rollout.answers, rollout.source, memories).log_probabilities
        reached[window] = torch.autograd.grad(scores.sum(), slots, allow_unused=True)[0]
    first = rollout.said.size
    assert reached[None] is not None
    assert reached[None][:, :first].abs().sum() > 0, "through all updates to the initial memory"
    late = rollout.source >= 2 * first  # asked after two updates or more
    scores = token_scores(
        subject.model, rollout.answers, rollout.source, walk(subject.model, replace(rollout, before=slots), 1)
    )
    kept = scores.log_probabilities[late[rollout.answer_of_token]]
    assert len(kept)
    gradient = torch.autograd.grad(kept.sum(), slots, allow_unused=True)[0]
    assert gradient is None or not gradient.any()


def said_in(rollout: Rollout, row: int) -> list[int]:
    return rollout.said.rows.ids[row][rollout.said.rows.mask[row]].tolist()


@pytest.mark.parametrize("teacher_forcing", [False, True])
def test_what_is_memorized(teacher_forcing: bool) -> None:
    """The first answer to each question, or the reference; everything else as the conversation has it."""
    reward, subject = Letters(), reinforcement_learner(GROUPS)
    found = played(subject, GROUPS, teacher_forcing, reward=reward)
    rollout, steps = found.rollout, episodes(GROUPS)
    assert (
        [step.answered for episode in steps for step in episode].count(True) * 3
        == len(rollout.answers)
        == len(reward.heard)
    )
    starts, own = [turn.start for turn in rollout.said.turns()], 0
    for index, episode in enumerate(steps):
        for turn, step in enumerate(episode):
            row = starts[turn] + index
            memorized = said_in(rollout, row)
            answers = (rollout.source == row).nonzero()[:, 0].tolist()
            assert bool(answers) == step.answered
            if not answers or teacher_forcing:
                assert memorized == step.reference.ids
                continue
            own += 1
            ids = rollout.answers.ids[answers[0]][rollout.answers.mask[answers[0]]].tolist()
            prompt = ids[: int(rollout.answers.targets[answers[0]].int().argmax())]
            assert step.interaction is not None
            assert prompt == template().prompt(step.interaction.query)
            assert memorized == template().complete(prompt, ids[len(prompt) :])
            heard = reward.heard[answers[0]]
            assert heard.answer == template().answer_text(ids[len(prompt) :])
            assert (heard.query, heard.reference) == (step.interaction.query, step.interaction.answer)
            before = said_in(rollout, starts[turn - 1] + index)
            previous, memorized_before = (
                "".join(text.split()) for text in (heard.previous, template().tokenizer.decode(before))
            )
            assert previous[:8] + previous[-8:] == memorized_before[:8] + memorized_before[-8:], (
                "what did not fit was cut in between"
            )
    assert bool(own) != teacher_forcing


def test_rewards_and_distances_stand_with_their_answers() -> None:
    reward, subject = Letters(), reinforcement_learner(GROUPS)
    rollout = played(subject, GROUPS, reward=reward).rollout
    assert rollout.rewards.tolist() == pytest.approx(Letters()(reward.heard))
    distances = [
        0 if each.question is None or each.question.told_turn is None else each.question.turn - each.question.told_turn
        for each in reward.heard
    ]
    assert rollout.distance.tolist() == distances
    assert max(distances) > 0
    assert rollout.wanted_source.repeat_interleave(3).tolist() == rollout.source.tolist()


def test_the_memories_left_are_those_after_the_last_turn() -> None:
    subject = reinforcement_learner(SINGLE)
    found = played(subject, SINGLE)
    rollout = found.rollout
    last = rollout.said.rows[slice(len(rollout.said.rows) - rollout.said.size, None)]
    expected = subject.model.memorize(Memory(rollout.before[:, -rollout.said.size :]), last.ids, last.mask).slots
    torch.testing.assert_close(found.left, expected)
    assert not torch.allclose(found.left, rollout.before[:, -rollout.said.size :])


def test_the_same_seed_says_the_same() -> None:
    subject = reinforcement_learner(GROUPS)
    first, same, other = (played(subject, GROUPS, seed=seed).rollout for seed in (5, 5, 6))
    assert torch.equal(first.answers.ids, same.answers.ids)
    assert torch.equal(first.log_probabilities, same.log_probabilities)
    assert first.answers.ids.shape != other.answers.ids.shape or not torch.equal(first.answers.ids, other.answers.ids)


def test_answers_are_drawn_from_the_models_own_distribution() -> None:
    """First tokens of many answers to one question: as frequent as their probabilities say."""
    subject = reinforcement_learner(GROUPS)
    subject.eval()
    prompt = torch.tensor([template().prompt("Who are you?")]).repeat(4_000, 1)
    memory = subject.model.init_memory(1, 3).take([0] * 4_000)
    sampled = generate_scored(subject.model, prompt, memory, 1, 1.0, seed=1)
    expected = subject.model.decode(prompt[:1], memory.select(0))[0, -1].softmax(-1).detach()
    counts = torch.bincount(sampled.tokens[:, 0], minlength=len(expected)) / 4_000
    assert (counts - expected).abs().sum() < 0.25
    likeliest = int(expected.argmax())
    assert counts[likeliest] == pytest.approx(float(expected[likeliest]), abs=0.03)
    torch.testing.assert_close(
        sampled.log_probabilities[:, 0], expected.log()[sampled.tokens[:, 0]], rtol=1e-4, atol=1e-4
    )


def test_greedy_answers_are_nothing_to_learn_from() -> None:
    subject = reinforcement_learner(GROUPS)
    prompt = torch.tensor([template().prompt("Who are you?")])
    with pytest.raises(UserError, match="temperature must be above 0"):
        generate_scored(subject.model, prompt, subject.model.init_memory(1, 3), 4, 0.0, seed=1)
