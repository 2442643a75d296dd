"""DMPO as one computation is the naive loop over conversations and turns, and with a memory held fixed it is DPO."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from random import Random

import pytest
import torch
from micro import assert_same_gradients, gradients
from test_unroll import MODELS, PLAIN, READS_MEMORY, VOCABULARY, make, slots_for
from torch import Tensor

from rxt.config import MemoryNormConfig, RxTConfig
from rxt.data.collate import Preferences, Ways, collate_preferences
from rxt.data.template import Encoded
from rxt.model.encoder import Encoder
from rxt.model.memory import Memory
from rxt.pretrained import ReactiveTransformer
from rxt.training.preference.losses import anchor_loss, margins, preference_loss
from rxt.training.preference.scores import PolicyScores, policy_scores, score_answers
from rxt.training.unroll import conversation_memories

TURNS = [3, 1, 4, 3, 2]
SHAPES = {**MODELS, "encoder reads memory": READS_MEMORY}


def random_ways(turns: list[int], seed: int = 0) -> list[list[Ways]]:
    """Conversations in which the last turn has a pair, and others have one or none, and some have a neutral answer."""
    rng = Random(seed)

    def encoded() -> Encoded:
        length = rng.randint(3, 9)
        return Encoded(
            [rng.randrange(VOCABULARY) for _ in range(length)],
            [False] + [rng.random() < 0.5 for _ in range(length - 2)] + [True],
        )

    def ways(last: bool) -> Ways:
        return Ways(
            encoded(), encoded() if last or rng.random() < 0.6 else None, encoded() if rng.random() < 0.4 else None
        )

    return [[ways(turn == count - 1) for turn in range(count)] for count in turns]


@dataclass(frozen=True)
class Numbers:
    """Of one set of answers, in the order of ``collate_preferences``."""

    accepted: Tensor
    rejected: Tensor
    neutral: Tensor


def scored(model: ReactiveTransformer, batch: Preferences, slots: Tensor, window: int | None = None) -> PolicyScores:
    return policy_scores(model, batch, conversation_memories(model, batch.accepted, slots, window))


def together(
    model: ReactiveTransformer,
    reference: ReactiveTransformer,
    ways: list[list[Ways]],
    slots: Tensor,
    window: int | None = None,
):
    """Numbers of policy and reference as the stage computes them."""
    batch = collate_preferences(ways, pad=0)
    policy = scored(model, batch, slots, window)
    with torch.no_grad():
        same = score_answers(reference.decoder, batch.answers, policy.before.detach()).log_probs
    sizes = [batch.pairs, batch.pairs, batch.neutral]
    return Numbers(*policy.answers.log_probs.split(sizes)), Numbers(*same.split(sizes)), policy


def naive(
    model: ReactiveTransformer,
    reference: ReactiveTransformer,
    ways: list[list[Ways]],
    slots: Tensor,
    window: int | None = None,
):
    """One conversation, one turn, one answer at a time, without padding."""
    found: dict[str, list[tuple[int, int, Tensor, Tensor]]] = {"accepted": [], "rejected": [], "neutral": []}
    for index, conversation in enumerate(sorted(ways, key=len, reverse=True)):
        start = Memory(slots[:, index : index + 1])
        for turn, way in enumerate(conversation):
            memory = start
            for earlier in range(turn):
                if window is not None and earlier == max(0, turn - window):
                    memory = memory.detach()
                memory = model.memorize(memory, torch.tensor([conversation[earlier].accepted.ids]))
            for name, answer in (
                ("accepted", way.accepted if way.rejected else None),
                ("rejected", way.rejected),
                ("neutral", way.neutral),
            ):
                if answer is not None:
                    own, other = (
                        naive_log_prob(model, answer, memory),
                        naive_log_prob(reference, answer, memory.detach()).detach(),
                    )
                    found[name].append((turn, index, own, other))
    ordered = {name: sorted(values, key=lambda value: value[:2]) for name, values in found.items()}
    return (
        Numbers(*(torch.stack([value[2] for value in values]) for values in ordered.values())),
        Numbers(*(torch.stack([value[3] for value in values]) for values in ordered.values())),
    )


def naive_log_prob(model: ReactiveTransformer, answer: Encoded, memory: Memory) -> Tensor:
    """Mean log-probability of the answer's tokens."""
    ids = torch.tensor([answer.ids])
    logits = model.decode(ids, memory)[0]
    chosen = [
        (logits[at - 1] - logits[at - 1].logsumexp(0))[ids[0, at]] for at in range(1, ids.shape[1]) if answer.loss[at]
    ]
    return torch.stack(chosen).mean()


def loss_of(own: Numbers, other: Numbers) -> Tensor:
    margin = margins(own.accepted, own.rejected, other.accepted, other.rejected)
    return preference_loss(margin, 0.7, 0.1).mean() + 0.3 * anchor_loss(own.neutral, other.neutral).mean()


def naive_loss_of(own: Numbers, other: Numbers) -> Tensor:
    """By the definition, pair by pair."""
    losses = []
    for pair in range(len(own.accepted)):
        x = 0.7 * ((own.accepted[pair] - other.accepted[pair]) - (own.rejected[pair] - other.rejected[pair]))
        losses.append(-0.9 * torch.log(1 / (1 + torch.exp(-x))) - 0.1 * torch.log(1 - 1 / (1 + torch.exp(-x))))
    anchors = [torch.sqrt((mine - theirs) ** 2) for mine, theirs in zip(own.neutral, other.neutral, strict=True)]
    return torch.stack(losses).mean() + 0.3 * torch.stack(anchors).mean()


@pytest.mark.parametrize("window", [None, 1, 2])
@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_all_answers_together_are_the_naive_loop(config: RxTConfig, window: int | None) -> None:
    model, reference = make(config), make(config)
    ways = random_ways(TURNS)
    slots = slots_for(model, len(ways))
    own, other, policy = together(model, reference, ways, slots, window)
    expected_own, expected_other = naive(model, reference, ways, slots, window)
    for name in ("accepted", "rejected", "neutral"):
        torch.testing.assert_close(getattr(own, name), getattr(expected_own, name), rtol=1e-11, atol=1e-11)
        torch.testing.assert_close(getattr(other, name), getattr(expected_other, name), rtol=1e-11, atol=1e-11)
    assert len(own.neutral) > 1
    loss, expected = loss_of(own, other), naive_loss_of(expected_own, expected_other)
    torch.testing.assert_close(loss, expected, rtol=1e-11, atol=1e-11)
    wanted = gradients(expected, model)
    assert_same_gradients(gradients(loss, model), wanted)
    for part in ("decoder.layers", "encoder.layers", "memory_attention"):
        assert any(gradient.abs().sum() > 1e-7 for name, gradient in wanted.items() if name.startswith(part)), part
    assert policy.before.requires_grad
    assert all(parameter.grad is None for parameter in reference.parameters())


def test_a_norm_that_counts_every_pass_counts_each_once() -> None:
    config = replace(PLAIN, memory_attention=replace(PLAIN.memory_attention, norm=MemoryNormConfig("ema-rms")))
    first, second = make(config), make(config)
    second.load_state_dict(first.state_dict())
    ways = random_ways([3, 3])
    slots = slots_for(first, 2)
    together(first, first, ways, slots)
    with torch.no_grad():
        memory = Memory(slots)
        rows = collate_preferences(ways, 0).accepted
        for where in list(rows.turns())[:-1]:
            memory = second.memorize(memory, rows.rows[where].ids, rows.rows[where].mask)
    found, expected = dict(first.named_buffers()), dict(second.named_buffers())
    assert found
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_with_a_memory_held_fixed_it_is_dpo() -> None:
    """Conversations of one turn read the memory they start from, whatever it is; what is left is DPO on (memory,
    query)."""
    model, reference = make(), make()
    ways = random_ways([1] * 5, seed=3)
    slots = slots_for(model, 5)
    own, other, policy = together(model, reference, ways, slots)
    found = preference_loss(margins(own.accepted, own.rejected, other.accepted, other.rejected), beta=0.1).mean()
    losses = []
    for index, (way,) in enumerate(ways):
        ratios = []
        for answer in (way.accepted, way.rejected):
            assert answer is not None
            ids = torch.tensor([answer.ids])
            scored = torch.tensor(answer.loss)[1:]
            logs = [
                each.decoder(ids, slots[:, index : index + 1]).log_softmax(-1)[0, :-1] for each in (model, reference)
            ]
            mine, theirs = (log.gather(1, ids[0, 1:, None])[scored].mean() for log in logs)
            ratios.append(mine - theirs.detach())
        losses.append(-torch.log(torch.sigmoid(0.1 * (ratios[0] - ratios[1]))))
    expected = torch.stack(losses).mean()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    wanted = gradients(expected, model)
    assert_same_gradients(gradients(found, model), wanted)
    assert not any(
        gradient.any() for name, gradient in wanted.items() if name.startswith(("memory_attention", "encoder.layers"))
    )
    assert policy.memory_change == 0


def test_the_loss_by_hand() -> None:
    margin = margins(
        torch.tensor([-1.0, -2.0]), torch.tensor([-3.0, -1.0]), torch.tensor([-1.5, -2.0]), torch.tensor([-3.0, -2.0])
    )
    assert margin.tolist() == [0.5, -1.0]
    plain = [math.log(1 + math.exp(-0.2 * 0.5)), math.log(1 + math.exp(0.2))]
    torch.testing.assert_close(preference_loss(margin, 0.2), torch.tensor(plain))
    turned = [math.log(1 + math.exp(0.2 * 0.5)), math.log(1 + math.exp(-0.2))]
    smooth = [0.75 * right + 0.25 * wrong for right, wrong in zip(plain, turned, strict=True)]
    torch.testing.assert_close(preference_loss(margin, 0.2, label_smoothing=0.25), torch.tensor(smooth))
    assert anchor_loss(torch.tensor([-1.0, -2.0]), torch.tensor([-1.5, -1.0])).tolist() == [0.5, 1.0]


def test_no_preference_yet_is_one_bit() -> None:
    assert preference_loss(torch.zeros(1), 0.1).item() == pytest.approx(math.log(2))


TURN_TOKEN = 5
"""Turn u of the poked conversations holds only the token TURN_TOKEN + u."""


@pytest.mark.parametrize("window", [None, 1, 2, 3, 9])
def test_a_preference_reaches_as_far_back_as_the_window_says(window: int | None) -> None:
    turns, model = 5, make()
    assert isinstance(model.encoder, Encoder)
    model.encoder.embedding = torch.nn.Embedding.from_pretrained(
        model.encoder.embedding.weight.detach().clone(), freeze=False
    )
    said = [Encoded([TURN_TOKEN + turn] * (3 + turn % 2), [False] + [True] * (2 + turn % 2)) for turn in range(turns)]
    ways = [Ways(each, replace(each, ids=[each.ids[0], *[1] * (len(each.ids) - 1)])) for each in said]
    batch = collate_preferences([ways, ways[:-1]], pad=0)
    policy = scored(model, batch, slots_for(model, 2), window)
    turn_of_pair = batch.accepted.turn_of_row()[batch.turn_row[: batch.pairs]]
    margin = policy.answers.log_probs[: batch.pairs] - policy.answers.log_probs[batch.pairs :]
    for turn in range(turns):
        gradient = torch.autograd.grad(
            margin[turn_of_pair == turn].sum(), model.encoder.embedding.weight, retain_graph=True, allow_unused=True
        )
        reached = (
            torch.zeros(turns) if gradient[0] is None else gradient[0][TURN_TOKEN : TURN_TOKEN + turns].abs().sum(1)
        )
        farthest = turns if window is None else window
        assert (reached > 0).tolist() == [1 <= turn - earlier <= farthest for earlier in range(turns)]


def test_only_accepted_interactions_are_memorized() -> None:
    model = make()
    ways = random_ways([4, 4], seed=1)
    slots = slots_for(model, 2)

    def last_memories(conversations: list[list[Ways]]) -> Tensor:
        return scored(model, collate_preferences(conversations, 0), slots).before[:, -1]

    def poked(way: Ways, name: str) -> Ways:
        answer = getattr(way, name)
        return (
            way
            if answer is None
            else replace(way, **{name: replace(answer, ids=[(token + 1) % VOCABULARY for token in answer.ids])})
        )

    before = last_memories(ways)
    for name, changes in (("rejected", False), ("neutral", False), ("accepted", True)):
        after = last_memories([[poked(way, name) for way in conversation] for conversation in ways])
        assert torch.equal(before, after) != changes, name


def test_turns_without_a_pair_are_not_decoded() -> None:
    model, decoded = make(), list[int]()
    ways = random_ways(TURNS)
    hidden = model.decoder.hidden

    def counted(ids: Tensor, *rest: Tensor) -> object:
        decoded.append(len(ids))
        return hidden(ids, *rest)

    model.decoder.hidden = counted  # type: ignore[method-assign]
    scored(model, collate_preferences(ways, 0), slots_for(model, len(ways)))
    every = [way for conversation in ways for way in conversation]
    assert sum(decoded) == sum(2 * (way.rejected is not None) + (way.neutral is not None) for way in every)


def test_the_memory_change_is_the_mean_over_turns() -> None:
    model = make()
    ways = random_ways([3, 2], seed=5)
    slots = slots_for(model, 2)
    changes = []
    for index, conversation in enumerate(ways):
        memory = Memory(slots[:, index : index + 1])
        for way in conversation[:-1]:
            new = model.memorize(memory, torch.tensor([way.accepted.ids]))
            changes.append((new.slots - memory.slots).square().mean())
            memory = new
    found = scored(model, collate_preferences(ways, 0), slots).memory_change
    torch.testing.assert_close(found, torch.stack(changes).mean().detach())
