"""The whole model: turns are its components called in order, memories are checked, nothing is remembered outside
them."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from tiny_reactive import LAYERS, REACTIVE, SLOTS, VOCABULARY, WIDTH, assert_near, make, ragged, tokens
from torch import Tensor, nn

from rxt.config import RxTConfig
from rxt.errors import UserError
from rxt.model.memory import Memory
from rxt.pretrained import ReactiveTransformer

every_model = pytest.mark.parametrize("name", REACTIVE)


def turns_of(count: int, batch_size: int = 2) -> list[tuple[Tensor, Tensor]]:
    """Ids and masks of turns of different lengths, every row with a length of its own."""
    return [ragged([3 + (turn + row) % 4 for row in range(batch_size)]) for turn in range(count)]


@every_model
@torch.no_grad()
def test_turns_are_the_components_called_in_order(name: str) -> None:
    model = make(REACTIVE[name])
    memory = model.init_memory(2, seed=1)
    slots = memory.slots
    for ids, mask in turns_of(4):
        encoded = model.encoder(ids, mask, slots)
        assert torch.equal(model.decode(ids, memory, mask), model.decoder(ids, slots, mask))
        assert torch.equal(model.encode(ids, mask, memory), encoded)
        memory, slots = model.memorize(memory, ids, mask), model.memory_attention(slots, encoded, mask)
        assert torch.equal(memory.slots, slots)
    assert memory.turns == (4, 4)


@every_model
@torch.no_grad()
def test_padded_turns_are_the_conversations_alone(name: str) -> None:
    """Three turns of a padded batch: logits and memories are those of each conversation held by itself."""
    model = make(REACTIVE[name])
    together = model.init_memory(3, seed=1)
    alone = [together.select(b) for b in range(3)]
    for ids, mask in turns_of(3, 3):
        logits = model.decode(ids, together, mask)
        together = model.memorize(together, ids, mask)
        for b, length in enumerate(mask.sum(1).tolist()):
            row = ids[b : b + 1, :length]
            assert_near(logits[b, :length], model.decode(row, alone[b])[0])
            alone[b] = model.memorize(alone[b], row)
        assert_near(together.slots, Memory.stack(alone).slots)
    assert together.turns == (3, 3, 3)


@every_model
@torch.no_grad()
def test_conversations_may_change_places(name: str) -> None:
    model = make(REACTIVE[name])
    memory, (ids, mask) = model.init_memory(3, seed=1), turns_of(1, 3)[0]
    order = [2, 0, 1]
    shuffled = Memory.stack([memory.select(b) for b in order])
    assert_near(model.decode(ids[order], shuffled, mask[order]), model.decode(ids, memory, mask)[order])
    assert_near(
        model.memorize(shuffled, ids[order], mask[order]).slots, model.memorize(memory, ids, mask).slots[:, order]
    )


@every_model
@torch.no_grad()
def test_a_reset_is_a_new_conversation(name: str) -> None:
    """After any number of turns, a fresh memory of the same seed gives what a model gives that has done nothing yet."""
    model = make(REACTIVE[name])
    fresh = copy.deepcopy(model)
    memory = model.init_memory(2, seed=7)
    for ids, mask in turns_of(3):
        model.decode(ids, memory, mask)
        memory = model.memorize(memory, ids, mask)
    ids, mask = turns_of(1)[0]
    used = model.decode(ids, model.init_memory(2, seed=7), mask)
    assert torch.equal(used, fresh.decode(ids, fresh.init_memory(2, seed=7), mask))
    assert (model.decode(ids, memory, mask) - used).abs().max() > 1e-3, (
        "turns must leave a trace, or a reset proves nothing"
    )


@every_model
@torch.no_grad()
def test_memorize_leaves_the_old_memory_untouched(name: str) -> None:
    model = make(REACTIVE[name])
    memory, ids = model.init_memory(2, seed=1), tokens(2, 4)
    slots = memory.slots.clone()
    new = model.memorize(memory, ids)
    model.decode(ids, memory)
    assert torch.equal(memory.slots, slots)
    assert memory.turns == (0, 0)
    new.slots.zero_()
    assert torch.equal(memory.slots, slots), "the new memory must not share storage with the old one"


@every_model
def test_gradients_reach_back_through_every_turn(name: str) -> None:
    """Through memory alone: the last turn's logits depend on the first turn's memory, and detaching cuts there."""
    model = make(REACTIVE[name]).train()
    start = Memory(model.init_memory(1, seed=1).slots.requires_grad_())
    memory, ids = start, tokens(1, 4)
    for _ in range(3):
        memory = model.memorize(memory, ids)
    model.decode(ids, memory).square().sum().backward()
    assert start.slots.grad is not None
    assert start.slots.grad.abs().max() > 1e-9
    assert not memory.detach().slots.requires_grad


@every_model
def test_every_weight_of_the_reply_and_of_the_memory_learns(name: str) -> None:
    model = make(REACTIVE[name]).train()
    ids = tokens(2, 16)
    memory = model.memorize(model.init_memory(2, seed=1), ids)
    model.decode(ids, memory).square().sum().backward()
    still = [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    # the last encoder layer is read; only experts that no token chose may stay where they are
    assert all(any(part in name for part in ("w1", "w2", "b1", "b2")) and "shared" not in name for name in still), still


@torch.no_grad()
def test_the_embedding_is_one_table() -> None:
    model = make()
    assert model.decoder.embedding is model.encoder.embedding
    names = [name for name, _ in model.named_parameters()]
    assert "decoder.embedding.weight" in names
    assert "encoder.embedding.weight" not in names


@torch.no_grad()
def test_fresh_memories() -> None:
    model = make(double=False)
    memory = model.init_memory(3, seed=5)
    assert memory.slots.shape == (LAYERS, 3, SLOTS, WIDTH)
    assert (memory.turns, memory.fingerprint) == ((0, 0, 0), model.fingerprint())
    assert torch.equal(memory.slots, model.init_memory(3, seed=5).slots)
    assert torch.equal(memory.select(0).slots, model.init_memory(seed=5).slots)
    assert not torch.equal(model.init_memory().slots, model.init_memory().slots)
    assert model.bfloat16().init_memory().slots.dtype == torch.bfloat16


@torch.no_grad()
def test_a_memory_seed_makes_every_fresh_memory_the_same() -> None:
    model = make(replace(REACTIVE["plain"], memory_seed=9), double=False)
    memory = model.init_memory(3)
    expected = make(double=False).init_memory(seed=9).slots
    assert all(torch.equal(memory.select(b).slots, expected) for b in range(3))
    assert torch.equal(model.init_memory(3, seed=4).slots, memory.slots), "whatever seed is asked for"
    memory.slots[:, 0].zero_()
    assert torch.equal(memory.select(1).slots, expected), "conversations share no storage"


@pytest.mark.parametrize("init", ["zeros", "ones"])
@torch.no_grad()
def test_the_configured_kind_of_fresh_memory(init: str) -> None:
    slots = make(replace(REACTIVE["plain"], memory_init=init)).init_memory(2).slots  # type: ignore[arg-type]
    assert torch.equal(slots, torch.full_like(slots, float(init == "ones")))


@pytest.mark.parametrize(
    "shape", [(LAYERS + 1, 2, SLOTS, WIDTH), (LAYERS, 2, SLOTS + 1, WIDTH), (LAYERS, 2, SLOTS, WIDTH + 2)]
)
def test_a_memory_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    model, ids, memory = make(), tokens(2, 3), Memory(torch.zeros(shape).double())
    expected = rf"\(L, S, D\) = \({LAYERS}, {SLOTS}, {WIDTH}\), found \({shape[0]}, {shape[2]}, {shape[3]}\)"
    for use in (
        lambda: model.decode(ids, memory),
        lambda: model.memorize(memory, ids),
        lambda: model.check_memory(memory),
    ):
        with pytest.raises(UserError, match=expected):
            use()


def test_a_memory_that_other_weights_made_is_refused() -> None:
    model, other, ids = make(), make(), tokens(2, 3)
    memory = other.init_memory(2)
    for use in (lambda: model.decode(ids, memory), lambda: model.memorize(memory, ids)):
        with pytest.raises(
            UserError, match=f"other weights: it has fingerprint {other.fingerprint()}, the model {model.fingerprint()}"
        ):
            use()
    model.decode(ids, Memory(memory.slots))  # of unknown origin: accepted
    model.load_state_dict(other.state_dict())
    model.decode(ids, memory)


@pytest.mark.parametrize(("conversations", "rows"), [(1, 2), (2, 1), (3, 2)])
def test_a_memory_of_another_number_of_conversations_is_refused(conversations: int, rows: int) -> None:
    """A single one must not be spread over a batch in silence."""
    model = make()
    memory, ids = model.init_memory(conversations), tokens(rows, 3)
    for use in (lambda: model.decode(ids, memory), lambda: model.memorize(memory, ids)):
        with pytest.raises(
            UserError, match=f"memory of {conversations} conversations does not go with the tokens of {rows}"
        ):
            use()


def test_in_training_memories_are_of_no_particular_weights() -> None:
    """Weights change between turns; what a step remembers must survive the optimizer."""
    model, ids = make().train(), tokens(2, 3)
    memory = model.memorize(model.init_memory(2), ids)
    assert memory.fingerprint is None
    assert memory.turns == (1, 1)
    made_before = make().init_memory(2)
    model.decode(ids, made_before)
    assert model.eval().memorize(memory, ids).fingerprint == model.fingerprint()


@every_model
def test_built_on_the_meta_device(name: str) -> None:
    with torch.device("meta"):
        model = ReactiveTransformer(REACTIVE[name])
    assert all(parameter.is_meta for parameter in model.parameters())
    assert sum(p.numel() for p in model.parameters()) == sum(
        p.numel() for p in ReactiveTransformer(REACTIVE[name]).parameters()
    )


def test_shapes_propagate_on_the_meta_device() -> None:
    with torch.device("meta"):
        model = ReactiveTransformer(REACTIVE["plain"])
        ids, slots = torch.zeros(2, 5, dtype=torch.long), torch.zeros(LAYERS, 2, SLOTS, WIDTH)
        assert model.decoder(ids, slots).shape == (2, 5, VOCABULARY)
        assert model.memory_attention(slots, model.encoder(ids)).shape == slots.shape


def randomly(config: RxTConfig) -> ReactiveTransformer:
    """Weights as a new model draws them, float32."""
    return ReactiveTransformer(config).eval()


@every_model
@torch.no_grad()
def test_float32_is_close_to_float64(name: str) -> None:
    model = randomly(REACTIVE[name])
    exact = copy.deepcopy(model).double()
    memory, ids = model.init_memory(2, seed=1), tokens(2, 6)
    memory_64 = Memory(memory.slots.double())
    for _ in range(2):
        assert_near(model.decode(ids, memory).double(), exact.decode(ids, memory_64), 1e-4)
        memory, memory_64 = model.memorize(memory, ids), exact.memorize(memory_64, ids)
        assert_near(memory.slots.double(), memory_64.slots, 1e-4)


@every_model
@torch.no_grad()
def test_half_precision_stays_half(name: str) -> None:
    model = randomly(REACTIVE[name]).bfloat16()
    memory = model.memorize(model.init_memory(2, seed=1), tokens(2, 6))
    logits = model.decode(tokens(2, 6), memory)
    assert logits.dtype == memory.slots.dtype == torch.bfloat16
    assert logits.isfinite().all()
    assert memory.slots.isfinite().all()


def test_a_new_models_embedding_has_unit_length_rows() -> None:
    embedding = ReactiveTransformer(REACTIVE["plain"]).decoder.embedding
    assert isinstance(embedding, nn.Embedding)
    assert embedding.weight.std().item() == pytest.approx(WIDTH**-0.5, rel=0.2)
