"""A memory that starts as a queue takes one interaction after the other into other slots."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from factories import tiny_config
from rxt.config import AttentionConfig, GateConfig, MemoryAttentionConfig, RxTConfig
from rxt.errors import UserError
from rxt.model.memory_attention import MemoryAttention
from rxt.model.memory_gate import ResidualGate
from rxt.model.queue_start import start_as_queue
from rxt.model.reactive import ReactiveTransformer

WIDTH, LAYERS, SLOTS, GROUPS, SIZE = 256, 2, 18, 3, 4
QUEUE = GateConfig("linear", status="linear", longest=4.0, queue=GROUPS)
CONFIG = MemoryAttentionConfig(
    WIDTH,
    LAYERS,
    SLOTS,
    replace(AttentionConfig.mha(1), rotated=False),
    variant="simple",
    gate=QUEUE,
    input_norm=False,
    slot_address=2.0,
)


def gates(memory_attention: MemoryAttention, slots: Tensor, encoded: Tensor) -> Tensor:
    """(L, S): how open every slot is for an interaction."""
    found = list[Tensor]()

    def hear(gate: ResidualGate, inputs: tuple[Tensor, Tensor], _: object) -> None:
        found.append(torch.sigmoid(gate._gate(inputs[0] + inputs[1]))[0, :, 0])

    heard = [layer.gate.register_forward_hook(hear) for layer in memory_attention._layers()]
    memory_attention(slots, encoded)
    for each in heard:
        each.remove()
    return torch.stack(found)


@torch.no_grad()
def test_each_interaction_opens_the_next_group() -> None:
    torch.manual_seed(0)
    memory_attention = MemoryAttention(CONFIG)
    fresh = 0.1 * torch.randn(LAYERS, SLOTS, WIDTH)
    start_as_queue(memory_attention, fresh)
    slots = fresh[:, None]
    for turn in range(5):
        encoded = 0.33 * torch.randn(LAYERS, 1, 12, WIDTH)
        found = gates(memory_attention, slots, encoded)
        for group in range(GROUPS):
            here = found[:, group * SIZE : (group + 1) * SIZE]
            if group == turn:
                assert here.mean() > 0.6
            else:
                assert here.mean() < 0.15, (turn, group)
        free = found[:, GROUPS * SIZE :]
        torch.testing.assert_close(
            free, torch.full_like(free, 1) / (1 + torch.linspace(1, 4, SLOTS)[[0, 3, 6, 10, 13, 17]])
        )
        slots = memory_attention(slots, encoded)


def test_the_address_is_added_to_the_query() -> None:
    torch.manual_seed(0)
    memory_attention, slots, encoded = (
        MemoryAttention(CONFIG),
        torch.randn(LAYERS, 3, SLOTS, WIDTH),
        torch.randn(LAYERS, 3, 7, WIDTH),
    )
    written = memory_attention(slots, encoded)
    for layer, old, said, new in zip(memory_attention._layers(), slots, encoded, written, strict=True):
        attention, address = layer.attention, layer.address
        assert address is not None
        queries = attention.q_proj(layer.norm(old) + address)
        scores = queries @ attention.k_proj(said).transpose(1, 2) / WIDTH**0.5
        looked_up = attention.out_proj(scores.softmax(-1) @ attention.v_proj(said))
        torch.testing.assert_close(new, layer.gate(old, looked_up))
        assert abs(float(address.detach().std()) - 2.0) < 0.1


def test_without_an_address_nothing_is_added() -> None:
    torch.manual_seed(0)
    plain = MemoryAttention(replace(CONFIG, slot_address=None))
    zero = MemoryAttention(replace(CONFIG, slot_address=0.0))
    zero.load_state_dict(plain.state_dict(), strict=False)
    slots, encoded = torch.randn(LAYERS, 1, SLOTS, WIDTH), torch.randn(LAYERS, 1, 7, WIDTH)
    torch.testing.assert_close(zero(slots, encoded), plain(slots, encoded))


def queued(config: RxTConfig, **changes: object) -> RxTConfig:
    memory = replace(config.memory_attention, gate=replace(QUEUE, queue=2), slot_address=1.0)
    return replace(config, memory_attention=memory, memory_init="learned", **changes)


def test_a_whole_model_starts_so_and_comes_back_from_its_file(tmp_path) -> None:
    from rxt.pretrained import ReactiveTransformer as Pretrained

    config = queued(tiny_config())
    torch.manual_seed(0)
    model = Pretrained(config).eval()
    assert model.fresh_memory is not None
    for layer, empty in zip(model.memory_attention._layers(), model.fresh_memory, strict=True):
        assert layer.gate.status(empty).mean() > 0.5
    model.save_pretrained(tmp_path / "model")
    again = Pretrained.from_pretrained(tmp_path / "model")
    assert again.fingerprint() == model.fingerprint()
    with torch.device("meta"):
        ReactiveTransformer(config)


def test_a_queue_needs_what_it_is_made_of() -> None:
    with pytest.raises(UserError, match=r"gate.queue"):
        GateConfig("static", queue=2)
    with pytest.raises(UserError, match=r"own_status is what a queue sets, so leave it out"):
        replace(QUEUE, own_status=2.0)
    with pytest.raises(UserError, match=r"gate.queue of 18 groups needs more slots than 18"):
        replace(CONFIG, gate=replace(QUEUE, queue=18))
    with pytest.raises(UserError, match=r"memory_init must be learned where slots start as a queue"):
        replace(queued(tiny_config()), memory_init="standard")
    with pytest.raises(UserError, match=r"slot_address cannot be negative, found -1"):
        replace(CONFIG, slot_address=-1.0)
