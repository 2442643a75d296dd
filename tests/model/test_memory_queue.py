"""Memory as a queue: what is newest stands first, what is older moves on, what is oldest falls out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from factories import tiny_config
from rxt.config import (
    AttentionConfig,
    BaseModel,
    DecoderConfig,
    FeedForwardConfig,
    GateConfig,
    MemoryAttentionConfig,
    PoolConfig,
    QueueConfig,
)
from rxt.config.on_base import memory_on, queue_of
from rxt.errors import UserError
from rxt.model.decoder import Decoder, DecoderLayer
from rxt.model.grow import grow
from rxt.model.layers import rotate, rotation_of
from rxt.model.memory import Memory
from rxt.model.memory_attention import MemoryAttention
from rxt.model.memory_queue import SHARPNESS, LearnedQueue, TokenQueue
from rxt.model.reactive import ReactiveTransformer

WIDTH, LAYERS, SLOTS, PLACES, SIZE = 32, 2, 15, 3, 4
CONFIG = MemoryAttentionConfig(
    WIDTH,
    LAYERS,
    SLOTS,
    replace(AttentionConfig.mha(1), rotated=False),
    variant="queue",
    gate=GateConfig("linear", status="linear", longest=4.0),
    queue=QueueConfig(PLACES, SIZE),
)


def made(config: MemoryAttentionConfig = CONFIG) -> MemoryAttention:
    """One in which everything has learned something."""
    torch.manual_seed(0)
    memory_attention = MemoryAttention(config)
    for parameter in memory_attention.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return memory_attention


def layers_of(memory_attention: MemoryAttention) -> list[LearnedQueue]:
    return [layer for layer in memory_attention.layers if isinstance(layer, LearnedQueue)]


def looked_up(layer: LearnedQueue, encoded: Tensor) -> Tensor:
    """What the queries find in one encoded interaction (T, D): (R + open slots, D)."""
    attention, normed = layer.attention, layer.input_norm(encoded) if layer.input_norm else encoded
    scores = attention.q_proj(layer.queries) @ attention.k_proj(normed).T / WIDTH**0.5
    return attention.out_proj(scores.softmax(-1) @ attention.v_proj(normed))


def by_hand(layer: LearnedQueue, memory: Tensor, encoded: Tensor) -> Tensor:
    """One layer's new memory (S, D), slot after slot."""
    found, new = looked_up(layer, encoded), list[Tensor]()
    for slot in range(PLACES * SIZE):
        place = slot // SIZE
        new.append(found[slot] if place == 0 else memory[slot - SIZE] + layer.age[place - 1])
    open_slots = slice(PLACES * SIZE, SLOTS)
    kept, offered = memory[open_slots], found[SIZE:]
    opened = torch.sigmoid(layer.gate.linear(layer.gate.status(kept + offered).squeeze(-1)))
    return torch.stack([*new, *(opened[:, None] * offered + (1 - opened[:, None]) * kept)])


def test_it_is_what_is_computed_slot_after_slot_gradients_too() -> None:
    memory_attention = made()
    slots = torch.randn(LAYERS, 2, SLOTS, WIDTH, requires_grad=True)
    encoded = torch.randn(LAYERS, 2, 7, WIDTH, requires_grad=True)
    parameters = list(memory_attention.parameters())
    parts = [
        torch.stack([by_hand(layer, slots[index, row], encoded[index, row]) for row in range(2)])
        for index, layer in enumerate(layers_of(memory_attention))
    ]
    found, expected = memory_attention(slots, encoded), torch.stack(parts)
    torch.testing.assert_close(found, expected)
    direction = torch.randn_like(found)
    ours = torch.autograd.grad(found, [slots, encoded, *parameters], direction)
    theirs = torch.autograd.grad(expected, [slots, encoded, *parameters], direction)
    torch.testing.assert_close(ours, theirs)


@torch.no_grad()
def test_what_was_told_stands_where_its_age_says_until_it_falls_out() -> None:
    memory_attention = made()
    slots = torch.randn(LAYERS, 1, SLOTS, WIDTH)
    told = [torch.randn(LAYERS, 1, 5, WIDTH) for _ in range(6)]
    for turn, encoded in enumerate(told):
        slots = memory_attention(slots, encoded)
        for layer, memory, words in zip(
            layers_of(memory_attention), slots, zip(*[each.unbind() for each in told], strict=True), strict=True
        ):
            for age in range(min(turn + 1, PLACES)):
                place = memory[0, age * SIZE : (age + 1) * SIZE]
                expected = looked_up(layer, words[turn - age][0])[:SIZE] + layer.age[:age].sum(0)
                torch.testing.assert_close(place, expected)


def test_a_whole_model_comes_back_from_its_file(tmp_path) -> None:
    from rxt.pretrained import ReactiveTransformer as Pretrained

    config = tiny_config()
    memory = replace(config.memory_attention, variant="queue", queue=QueueConfig(1, 2), consolidation=None, groups=None)
    torch.manual_seed(0)
    model = Pretrained(replace(config, memory_attention=memory)).eval()
    model.save_pretrained(tmp_path / "model")
    again = Pretrained.from_pretrained(tmp_path / "model")
    assert again.config == model.config
    ids = torch.arange(5)[None]
    one, other = (each.memorize(each.init_memory(1, 0), ids) for each in (model, again))
    torch.testing.assert_close(one.slots, other.slots, rtol=0, atol=0)


TOKENS = replace(CONFIG, slots=PLACES * SIZE, variant="tokens", input_norm=False)


def of_tokens(layer: TokenQueue, encoded: Tensor) -> Tensor:
    """What a place takes in of one encoded interaction (T, D), slot after slot: (R, D)."""
    encoded = encoded[layer.skipped :]
    found, last = list[Tensor](), len(encoded) - 1
    stretch = max(1.0, last / (SIZE - 1))
    for slot, query in enumerate(layer.queries):
        away = (slot * stretch - torch.arange(len(encoded), dtype=encoded.dtype)) / stretch
        if last < 0:
            found.append(torch.zeros_like(query))
            continue
        weights = (encoded @ query / WIDTH**0.5 - SHARPNESS * away**2).softmax(-1)
        found.append(weights @ encoded if slot * stretch <= last else torch.zeros_like(query))
    return torch.stack(found)


@pytest.mark.parametrize("skipped", [0, 2])
@pytest.mark.parametrize("length", [1, 2, SIZE, SIZE + 1, 11])
def test_tokens_are_what_is_computed_slot_after_slot_gradients_too(length: int, skipped: int) -> None:
    memory_attention = made(replace(TOKENS, queue=QueueConfig(PLACES, SIZE, skipped))).double()
    slots = torch.randn(LAYERS, 2, PLACES * SIZE, WIDTH, dtype=torch.double, requires_grad=True)
    encoded = torch.randn(LAYERS, 2, length, WIDTH, dtype=torch.double, requires_grad=True)
    layers = [layer for layer in memory_attention.layers if isinstance(layer, TokenQueue)]
    found = memory_attention(slots, encoded)
    newest = [torch.stack([of_tokens(layer, words) for words in encoded[index]]) for index, layer in enumerate(layers)]
    expected = torch.cat((torch.stack(newest), slots[:, :, :-SIZE]), 2)
    torch.testing.assert_close(found, expected)
    direction, inputs = torch.randn_like(found), [slots, encoded, *memory_attention.parameters()]
    ours, theirs = (
        torch.autograd.grad(each, inputs, direction, allow_unused=True, materialize_grads=True)
        for each in (found, expected)
    )
    torch.testing.assert_close(ours, theirs)


@torch.no_grad()
def test_what_fits_into_a_place_stands_there_token_by_token() -> None:
    memory_attention = MemoryAttention(TOKENS)
    encoded = torch.randn(LAYERS, 1, SIZE - 1, WIDTH)
    slots = memory_attention(torch.zeros(LAYERS, 1, PLACES * SIZE, WIDTH), encoded)
    torch.testing.assert_close(slots[:, :, : SIZE - 1], encoded, atol=5e-3, rtol=0)
    assert not slots[:, :, SIZE - 1 :].any()


def test_tokens_need_no_matrices() -> None:
    parameters = dict(MemoryAttention(TOKENS).layers[0].named_parameters())
    assert list(parameters) == ["queries"]


@torch.no_grad()
@pytest.mark.parametrize("config", [CONFIG, TOKENS], ids=["queue", "tokens"])
def test_padding_is_not_taken_in(config: MemoryAttentionConfig) -> None:
    memory_attention = made(config)
    slots, encoded = torch.randn(LAYERS, 2, config.slots, WIDTH), torch.randn(LAYERS, 2, 6, WIDTH)
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    padded = memory_attention(slots, encoded, mask)
    torch.testing.assert_close(padded[:, :1], memory_attention(slots[:, :1], encoded[:, :1]))
    torch.testing.assert_close(padded[:, 1:], memory_attention(slots[:, 1:], encoded[:, 1:, :4]))


@pytest.mark.parametrize("slots", [2, 3, 8, 48, 320, 912])
def test_any_number_of_slots_makes_a_queue(slots: int) -> None:
    queue = queue_of(slots)
    assert queue.places >= 1
    assert 0 < slots - queue.places * queue.slots <= max(1, slots // 20) + queue.slots


def test_a_queue_of_the_bundled_size() -> None:
    assert queue_of(912) == QueueConfig(18, 48)


def test_a_queue_needs_what_it_is_made_of() -> None:
    with pytest.raises(UserError, match=r"queue is needed by the variant queue"):
        replace(CONFIG, queue=None)
    with pytest.raises(UserError, match=r"queue only goes with the variant queue, not simple"):
        replace(CONFIG, variant="simple")
    with pytest.raises(UserError, match=r"queue of 5 times 3 slots leaves none of 15 open"):
        replace(CONFIG, queue=QueueConfig(5, 3))
    with pytest.raises(UserError, match=r"queue of 3 times 4 slots must be all 15"):
        replace(CONFIG, variant="tokens")
    with pytest.raises(UserError, match=r"queue.places must be at least 1, found 0"):
        QueueConfig(0, 4)


def test_a_model_whose_slots_hold_tokens_is_all_of_a_piece() -> None:
    attention = AttentionConfig.gqa(4, 2)
    plain = DecoderConfig(13, WIDTH, 4, attention, attention, FeedForwardConfig(48), 64, memory_layers=())
    config = memory_on(plain, BaseModel("tiny", "0"), slots=9, tokens_as_slots=True)
    assert (config.decoder.reading, config.decoder.place) == ((1, 2, 3), 2)
    assert config.memory_attention.queue == QueueConfig(4, 2, 2)
    assert config.memory_shape == (3, 8, WIDTH)
    with pytest.raises(UserError, match=r"decoder.place is None, but a place of memory_attention holds 2 tokens"):
        replace(config, decoder=replace(config.decoder, place=None))
    replace(config, pool=PoolConfig(8))
    with pytest.raises(UserError, match=r"pool must have fragments of all 8 slots, one for a turn"):
        replace(config, pool=PoolConfig(4))


@torch.no_grad()
@pytest.mark.parametrize("length", [1, 5])
def test_self_attention_looks_at_memory_and_itself_token_after_token(length: int) -> None:
    torch.manual_seed(3)
    attention = AttentionConfig.gqa(4, 2)
    layer = DecoderLayer(WIDTH, attention, None, FeedForwardConfig(48), "rms", place=SIZE).double()
    x, slots = torch.randn(1, length, WIDTH).double(), torch.randn(1, 2 * SIZE, WIDTH).double()
    slots[0, 1] = slots[0, SIZE:] = 0  # the older place is empty, and one slot of the newer
    positions = torch.arange(length)
    rotation = rotation_of(attention, WIDTH, positions)
    found, _ = layer(x, layer.project_memory(slots), rotation, None, None, None, None)

    normed, held = layer.norm1(x), [0, 2, 3]
    stands = torch.cat((torch.tensor(held) - SIZE, positions))
    own, size = layer.attention, WIDTH // 4
    looked = torch.cat((slots[:, held], normed), 1)

    def heads(projection: torch.nn.Module, what: Tensor, at: Tensor | None) -> Tensor:
        split = projection(what).unflatten(-1, (-1, size)).transpose(1, 2)
        turns = None if at is None else rotation_of(attention, WIDTH, at)
        return split if turns is None else rotate(split, turns)

    keys, values = heads(own.k_proj, looked, stands), heads(own.v_proj, looked, None)
    queries, merged = heads(own.q_proj, normed, positions), list[Tensor]()
    for token in range(length):
        seen = len(held) + token + 1
        for head in range(4):
            scores = keys[0, head // 2, :seen] @ queries[0, head, token] / size**0.5
            merged.append(scores.softmax(0) @ values[0, head // 2, :seen])
    after = x + own.out_proj(torch.cat(merged).view(1, length, WIDTH))
    torch.testing.assert_close(found, after + layer.feed_forward(layer.norm3(after))[0])


@torch.no_grad()
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-6), (torch.float32, 1e-5), (torch.bfloat16, 0.05)])
def test_tokens_projected_once_and_turned_on_are_where_all_of_them_projected_anew_would_be(
    dtype: torch.dtype, close: float
) -> None:
    """Over more turns than there are places, of conversations that began apart."""
    torch.manual_seed(1)
    attention = AttentionConfig.gqa(4, 2)
    plain = DecoderConfig(13, WIDTH, 4, attention, attention, FeedForwardConfig(48), 64, memory_layers=())
    config = memory_on(plain, BaseModel("tiny", "0"), slots=9, tokens_as_slots=True)
    model = grow(Decoder(plain, nn.Embedding(13, WIDTH)), config, ReactiveTransformer).to(dtype).eval()
    memory = model.init_memory(2)
    memory = Memory(memory.slots.to(dtype), memory.turns, memory.fingerprint)
    read = model.decoder.project_filled(memory.slots)
    for length in (9, 3, 1, 7, 9, 4, 8, 6, 5):
        ids = torch.randint(3, 13, (2, length))
        mask = torch.ones_like(ids, dtype=torch.bool)
        mask[1, min(length, 4) :] = False
        memory = model.memorize(memory, ids, mask)
        read, anew = model.decoder.project_next(read, memory.slots), model.decoder.project_filled(memory.slots)
        assert [pair.keys.shape for pair in read] == [pair.keys.shape for pair in anew]
        torch.testing.assert_close(read, anew, rtol=close, atol=close)
        assert read[0].keys.any()
    assert read[0].keys.shape[2] == memory.slots.shape[2]
