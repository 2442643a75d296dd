"""A conversation as one computation: both ways are the naive loop, and the window cuts the gradient where it says."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from micro import assert_same_gradients, gradients, random_batch, random_conversations
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rxt.config import (
    AttentionConfig,
    DecoderConfig,
    EncoderConfig,
    FeedForwardConfig,
    GateConfig,
    MemoryAttentionConfig,
    MoEConfig,
    QueueConfig,
    RxTConfig,
)
from rxt.data.collate import Conversations, collate_conversations
from rxt.data.template import Encoded
from rxt.generation.scoring import AnswerScores
from rxt.model.encoder import Encoder
from rxt.model.memory import Memory
from rxt.pretrained import ReactiveTransformer
from rxt.training.unroll import (
    all_turns_at_once,
    answers_at_once,
    conversation_scores,
    encode_and_write,
    memories_before,
    read_and_write,
    turn_by_turn,
)

VOCABULARY = 13
ATTENTION, DENSE = AttentionConfig.sqa(4), FeedForwardConfig(6)
PLAIN = RxTConfig(
    DecoderConfig(VOCABULARY, 8, 2, ATTENTION, ATTENTION, DENSE, 12),
    EncoderConfig(VOCABULARY, 8, 2, ATTENTION, DENSE, 12),
    MemoryAttentionConfig(8, 2, 3, ATTENTION),
)
MODELS = {
    "plain": PLAIN,
    "moe": replace(
        PLAIN, decoder=replace(PLAIN.decoder, feed_forward=MoEConfig(4, experts=4, top_k=2), stateless=(DENSE,))
    ),
    "queue": replace(
        PLAIN,
        decoder=replace(PLAIN.decoder, cross_attention=replace(ATTENTION, qk_norm=True), slot_norm=False),
        memory_attention=replace(
            PLAIN.memory_attention, slots=7, variant="queue", gate=GateConfig("linear"), queue=QueueConfig(3, 2)
        ),
    ),
    "static gates": replace(
        PLAIN, memory_attention=replace(PLAIN.memory_attention, variant="simple", gate=GateConfig("static", init=0.3))
    ),
}
READS_MEMORY = replace(PLAIN, encoder=replace(PLAIN.encoder, cross_attention=ATTENTION))
TURNS = [3, 1, 5, 3, 2]


class AsksForNoNumber(TorchDispatchMode):
    """Refuses what would have a GPU's host wait: numbers of tensors, and tensors whose size depends on them."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        assert func not in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default), func
        return func(*args, **(kwargs or {}))


Way = Callable[..., AnswerScores]
WAYS = {"all turns at once": all_turns_at_once, "turn by turn": turn_by_turn}
EVERY_WAY = {
    **{f"{name} {way}": (config, take) for name, config in MODELS.items() for way, take in WAYS.items()},
    "encoder reads memory turn by turn": (READS_MEMORY, turn_by_turn),
    "encoder reads memory answers at once": (READS_MEMORY, answers_at_once),
    "plain answers at once": (PLAIN, answers_at_once),
}


def make(config: RxTConfig = PLAIN) -> ReactiveTransformer:
    model = ReactiveTransformer(config).double().train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.4)
    return model


def slots_for(model: ReactiveTransformer, batch: int) -> Tensor:
    layers, slots, width = model.config.memory_shape
    return torch.randn(layers, batch, slots, width, dtype=torch.double)


def loss_of(scores: AnswerScores, batch: Conversations) -> Tensor:
    return scores.loss_over_turns(batch.targets_by_turn(len(batch.alive)))


def naive_loss(model: ReactiveTransformer, conversations: list[list[Encoded]], slots: Tensor) -> Tensor:
    """One conversation at a time, one turn at a time, no padding: the mean over a turn's answer tokens, summed over
    turns."""
    by_turn: dict[int, list[Tensor]] = {}
    for index, conversation in enumerate(sorted(conversations, key=len, reverse=True)):
        memory = Memory(slots[:, index : index + 1])
        for turn, interaction in enumerate(conversation):
            ids = torch.tensor([interaction.ids])
            logits = model.decode(ids, memory)[0].log_softmax(-1)
            by_turn.setdefault(turn, [])
            by_turn[turn] += [-logits[at - 1, ids[0, at]] for at in range(1, ids.shape[1]) if interaction.loss[at]]
            memory = model.memorize(memory, ids)
    return torch.stack([torch.stack(tokens).mean() for tokens in by_turn.values() if tokens]).sum()


@pytest.mark.parametrize(("config", "way"), EVERY_WAY.values(), ids=EVERY_WAY)
def test_both_ways_are_the_naive_loop(config: RxTConfig, way: Way) -> None:
    model = make(config)
    conversations = random_conversations(TURNS, VOCABULARY)
    batch = collate_conversations(conversations, pad=0)
    slots = slots_for(model, batch.size)
    loss = loss_of(way(model, batch, slots), batch)
    expected = naive_loss(model, conversations, slots)
    torch.testing.assert_close(loss, expected, rtol=1e-11, atol=1e-11)
    found, wanted = gradients(loss, model), gradients(expected, model)
    assert_same_gradients(found, wanted)
    for part in ("decoder.layers", "encoder.layers", "memory_attention", "decoder.embedding"):
        assert any(gradient.abs().sum() > 1e-6 for name, gradient in wanted.items() if name.startswith(part)), part


def test_scores_are_those_of_the_right_tokens() -> None:
    model, batch = make(), random_batch(TURNS, VOCABULARY)
    slots = slots_for(model, batch.size)
    at_once, by_turn = all_turns_at_once(model, batch, slots), turn_by_turn(model, batch, slots)
    for name in ("nll", "correct", "turn"):
        found, expected = getattr(at_once, name).double(), getattr(by_turn, name).double()
        key = at_once.turn.double() * 1e3 + at_once.nll.detach()
        other = by_turn.turn.double() * 1e3 + by_turn.nll.detach()
        torch.testing.assert_close(found[key.argsort()], expected[other.argsort()])
    assert at_once.tokens == by_turn.tokens == batch.rows.tokens
    assert torch.bincount(by_turn.turn).tolist() == batch.targets_by_turn(len(batch.alive)).tolist()


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_batch_is_its_conversations_alone(way: Way) -> None:
    model = make()
    conversations = sorted(random_conversations(TURNS, VOCABULARY), key=len, reverse=True)
    batch = collate_conversations(conversations, pad=0)
    slots = slots_for(model, batch.size)
    total = way(model, batch, slots).nll.sum()
    alone = torch.stack(
        [
            way(model, collate_conversations([each], pad=0), slots[:, index : index + 1]).nll.sum()
            for index, each in enumerate(conversations)
        ]
    ).sum()
    torch.testing.assert_close(total, alone, rtol=1e-12, atol=1e-12)
    assert_same_gradients(gradients(total, model), gradients(alone, model))


@pytest.mark.parametrize("window", [None, 2])
@pytest.mark.parametrize("config", [PLAIN, MODELS["moe"], READS_MEMORY], ids=["plain", "moe", "encoder reads memory"])
def test_checkpointing_changes_nothing(config: RxTConfig, window: int | None) -> None:
    model, batch = make(config), random_batch(TURNS, VOCABULARY)
    slots = slots_for(model, batch.size)
    plain = turn_by_turn(model, batch, slots, window)
    saving = turn_by_turn(model, batch, slots, window, checkpointing=True)
    assert torch.equal(plain.nll, saving.nll)
    assert torch.equal(plain.balance, saving.balance)
    wanted = gradients(loss_of(plain, batch) + plain.balance, model)
    assert_same_gradients(gradients(loss_of(saving, batch) + saving.balance, model), wanted, atol=0)


def test_checkpointing_keeps_one_turn_of_activations() -> None:
    model, batch = make(), random_batch([6, 6], VOCABULARY)
    slots = slots_for(model, batch.size)

    def kept(checkpointing: bool) -> int:
        sizes: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            sizes[tensor.data_ptr()] = tensor.numel()
            return tensor

        weights = {parameter.data_ptr() for parameter in model.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            turn_by_turn(model, batch, slots, None, checkpointing)
        return sum(size for pointer, size in sizes.items() if pointer not in weights)

    assert kept(True) < kept(False) / 5


TURN_TOKEN = 5
"""Turn u of the poked conversations holds only the token TURN_TOKEN + u."""


def reach(way: Way, window: int | None, turns: int, checkpointing: bool = False) -> list[list[bool]]:
    """For turns t and u: whether a gradient of turn t's loss reaches what the encoder read at turn u."""
    model = make()
    assert isinstance(model.encoder, Encoder)
    model.encoder.embedding = deepcopy(model.encoder.embedding)  # so that only the encoder's reading counts
    rows = [Encoded([TURN_TOKEN + turn] * (3 + turn % 2), [False] + [True] * (2 + turn % 2)) for turn in range(turns)]
    batch = collate_conversations([rows, rows[: turns - 1]], pad=0)
    options = {"checkpointing": True} if checkpointing else {}
    scores = way(model, batch, slots_for(model, 2), window, **options)
    found = []
    for turn in range(turns):
        loss = scores.nll[scores.turn == turn].sum()
        gradient = torch.autograd.grad(loss, model.encoder.embedding.weight, retain_graph=True, allow_unused=True)[0]
        gradient = torch.zeros(VOCABULARY, 1) if gradient is None else gradient
        found.append((gradient[TURN_TOKEN : TURN_TOKEN + turns].abs().sum(1) > 0).tolist())
    return found


@pytest.mark.parametrize("window", [None, 1, 2, 3, 5, 9])
@pytest.mark.parametrize("way", ["all turns at once", "turn by turn", "checkpointing"])
def test_a_gradient_reaches_as_far_as_the_window_says(way: str, window: int | None) -> None:
    turns = 6
    found = reach(WAYS.get(way, turn_by_turn), window, turns, way == "checkpointing")
    farthest = turns if window is None else window
    assert found == [[1 <= turn - earlier <= farthest for earlier in range(turns)] for turn in range(turns)]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_window_changes_gradients_and_not_values(way: Way) -> None:
    model, batch = make(), random_batch(TURNS, VOCABULARY)
    slots = slots_for(model, batch.size)
    whole = way(model, batch, slots)
    everything = gradients(loss_of(whole, batch), model)
    for window in (1, 2, max(TURNS) - 1, max(TURNS), 99):
        cut = way(model, batch, slots, window)
        torch.testing.assert_close(cut.nll, whole.nll, rtol=1e-13, atol=1e-13)
        found = gradients(loss_of(cut, batch), model)
        if window >= max(TURNS) - 1:
            assert_same_gradients(found, everything)
        else:
            assert not torch.allclose(
                found["encoder.layers.0.attention.v_proj.weight"],
                everything["encoder.layers.0.attention.v_proj.weight"],
            )


@pytest.mark.parametrize("window", [None, 2])
def test_both_ways_have_the_same_gradients_balance_included(window: int | None) -> None:
    model, batch = make(MODELS["moe"]), random_batch(TURNS, VOCABULARY)
    slots = slots_for(model, batch.size)
    first, second = (way(model, batch, slots, window) for way in WAYS.values())
    assert first.balance > 0.5
    torch.testing.assert_close(first.balance, second.balance)
    found, expected = (gradients(loss_of(scores, batch) + scores.balance, model) for scores in (first, second))
    assert_same_gradients(found, expected)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_first_turn_without_targets_is_memorized_and_not_scored(way: Way) -> None:
    model = make()
    conversations = random_conversations([3, 3], VOCABULARY)
    conversations[0][0] = replace(conversations[0][0], loss=[False] * len(conversations[0][0].ids))
    conversations[1][0] = replace(conversations[1][0], loss=[False] * len(conversations[1][0].ids))
    batch = collate_conversations(conversations, pad=0)
    slots = slots_for(model, 2)
    scores = way(model, batch, slots)
    assert batch.targets_by_turn(3)[0] == 0
    assert sorted(set(scores.turn.tolist())) == [1, 2]
    torch.testing.assert_close(loss_of(scores, batch), naive_loss(model, conversations, slots))
    other = deepcopy(conversations)
    for conversation in other:
        conversation[0] = replace(conversation[0], ids=[(token + 1) % VOCABULARY for token in conversation[0].ids])
    assert not torch.allclose(way(model, collate_conversations(other, pad=0), slots).nll, scores.nll), (
        "the prompt was not memorized"
    )


@pytest.mark.parametrize(
    ("config", "way"),
    [(PLAIN, all_turns_at_once), (READS_MEMORY, answers_at_once)],
    ids=["plain", "encoder reads memory"],
)
def test_turns_without_targets_are_memorized_and_not_decoded(config: RxTConfig, way: Way) -> None:
    model, decoded = make(config), list[int]()
    conversations = random_conversations(TURNS, VOCABULARY)
    for conversation in conversations:
        for turn in range(0, len(conversation), 2):
            conversation[turn] = replace(conversation[turn], loss=[False] * len(conversation[turn].ids))
    batch = collate_conversations(conversations, pad=0)
    slots = slots_for(model, batch.size)
    hidden = model.decoder.hidden

    def counted(ids: Tensor, *rest: Tensor) -> object:
        decoded.append(len(ids))
        return hidden(ids, *rest)

    model.decoder.hidden = counted  # type: ignore[method-assign]
    scores = way(model, batch, slots)
    assert sum(decoded) == sum(turns // 2 for turns in TURNS)
    del model.decoder.hidden
    loss, expected = loss_of(scores, batch), naive_loss(model, conversations, slots)
    torch.testing.assert_close(loss, expected, rtol=1e-11, atol=1e-11)
    assert_same_gradients(gradients(loss, model), gradients(expected, model))


def test_the_way_follows_from_the_model_and_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = random_batch([2, 2], VOCABULARY)
    used: list[str] = []
    for name in ("all_turns_at_once", "answers_at_once", "turn_by_turn"):
        monkeypatch.setattr(f"rxt.training.unroll.{name}", lambda *_, name=name: used.append(name))
    for config, checkpointing in ((PLAIN, False), (PLAIN, True), (READS_MEMORY, False)):
        model = make(config)
        conversation_scores(model, batch, slots_for(model, 2), None, checkpointing)
    assert used == ["all_turns_at_once", "turn_by_turn", "answers_at_once"]


def test_the_graph_is_cut_in_one_place_and_only_under_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def counted(slots: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return slots.detach()

    monkeypatch.setattr("rxt.training.unroll.cut_graph", counted)
    model, batch = make(), random_batch([4, 4], VOCABULARY)
    conversation_scores(model, batch, slots_for(model, 2))
    assert calls == 0
    conversation_scores(model, batch, slots_for(model, 2), 2)
    assert calls == 3, "once for every turn that has a memory"


def test_the_initial_memory_is_reached_without_a_window() -> None:
    model, batch = make(), random_batch([4, 2], VOCABULARY)
    slots = slots_for(model, 2).requires_grad_()
    scores = all_turns_at_once(model, batch, slots)
    for turn in range(4):
        gradient = torch.autograd.grad(scores.nll[scores.turn == turn].sum(), slots, retain_graph=True)[0]
        assert gradient[:, 0].abs().sum() > 0
        assert (gradient[:, 1].abs().sum() > 0) == (turn < 2), "a conversation that has ended"


def test_conversations_of_one_turn_have_nothing_to_remember() -> None:
    batch = collate_conversations([[Encoded([1, 3, 6, 4, 7, 2], [False] * 4 + [True] * 2)]] * 3, pad=0)
    model = make()
    slots = model.init_memory(3).slots
    together, apart = conversation_scores(model, batch, slots), turn_by_turn(model, batch, slots)
    torch.testing.assert_close(together.nll, apart.nll)


@pytest.mark.parametrize(
    ("config", "way"), [(PLAIN, read_and_write), (READS_MEMORY, encode_and_write)], ids=["at once", "turn by turn"]
)
@pytest.mark.parametrize("window", [None, 2])
def test_the_walk_over_turns_asks_for_no_number(config: RxTConfig, way: Any, window: int | None) -> None:
    """On a GPU each would wait until all that was begun is done."""
    model, batch = make(config), random_batch(TURNS)
    update = way(model, batch)
    slots = model.init_memory(batch.size, seed=1).slots
    with AsksForNoNumber():
        memories = memories_before(update, batch, slots, window)
    assert [memory.shape[1] for memory in memories] == list(batch.alive)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    ("config", "way"), [(PLAIN, read_and_write), (READS_MEMORY, encode_and_write)], ids=["at once", "turn by turn"]
)
def test_the_walk_over_turns_waits_for_no_gpu(config: RxTConfig, way: Any) -> None:
    device = torch.device("cuda")
    model, batch = make(config).float().to(device), random_batch(TURNS).to(device)
    update, slots = way(model, batch), model.init_memory(batch.size, seed=1).slots
    torch.cuda.set_sync_debug_mode("error")
    try:
        memories_before(update, batch, slots, None)
    finally:
        torch.cuda.set_sync_debug_mode("default")
