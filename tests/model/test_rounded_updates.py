"""Memory updates that multiply in bfloat16: each part against the plain one, and what is remembered of it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from naive_twins import randomize
from torch import Tensor, nn

import rxt
from factories import tiny_config, tiny_model
from rxt.config import AttentionConfig, GateConfig, MemoryNormConfig, MoEConfig, QueueConfig, RxTConfig
from rxt.data.template import Template
from rxt.errors import UserError
from rxt.evaluation.retention import Plan, measure_retention
from rxt.evaluation.subject import Reactive
from rxt.model import rounded
from rxt.model.attention import Attention
from rxt.model.encoder import Encoder
from rxt.model.layers import RMSNorm
from rxt.model.memory_attention import MemoryAttention
from rxt.model.rounded import RoundedEncoder, RoundedNorm, RoundedWeights
from rxt.model.rounded_updates import round_updates, with_updates
from rxt.model.stacked import StackedMemoryAttention, can_stack
from rxt.pretrained import ReactiveTransformer, load_model

ROUNDED = 0.02
"""By how much of what an update changes, in root mean squares, a rounded update may be off."""
GATED = replace(AttentionConfig.sqa(4), gated=True, output_bias=False)
NORMED = replace(AttentionConfig.mha(2), qk_norm=True, output_bias=False, input_bias=True)
TANH = GateConfig("linear", "tanh", own_status=2.0)
MEMORIES = {
    "self-interlayer": {},
    "simple": {"variant": "simple"},
    "simple, one gate, learned status": {"variant": "simple", "gate": GateConfig(per_slot=True, status="linear")},
    "self, ungated": {"variant": "self", "self_gate": False},
    "interlayer": {"variant": "interlayer"},
    "groups": {"variant": "grouped-self-interlayer", "groups": 2},
    "elementwise gates": {"gate": GateConfig("elementwise")},
    "tanh gates": {"gate": TANH},
    "replaced": {"variant": "simple", "gate": GateConfig("replace")},
    "layer norms": {"norm": MemoryNormConfig("layer")},
    "mixed norms": {"norm": MemoryNormConfig(mixed=True)},
    "no input norm": {"input_norm": False},
    "gated heads, normed consolidation": {"attention": GATED, "consolidation": NORMED},
    "reversed heads": {"attention": AttentionConfig(4, 2, 4)},
}


def model_with(**memory: object) -> ReactiveTransformer:
    """A random model whose memory attention differs from the usual one."""
    config = tiny_config(layers=4)
    changed = replace(config.memory_attention, **memory)  # type: ignore[arg-type]
    return random_model(replace(config, memory_attention=changed))


def random_model(config: RxTConfig) -> ReactiveTransformer:
    torch.manual_seed(0)
    model = tiny_model(config)
    randomize(model, 0.3)
    return model.float()


def interaction(padded: bool) -> tuple[Tensor, Tensor | None]:
    ids = torch.randint(5, 300, (3, 9), generator=torch.Generator().manual_seed(1))
    return ids, torch.arange(9) < torch.tensor([[9], [4], [6]]) if padded else None


def off(found: Tensor, exact: Tensor, before: Tensor) -> float:
    """The error as a share of the change, in root mean squares."""
    return ((found - exact).square().mean() / (exact - before).square().mean()).sqrt().item()


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("name", MEMORIES)
def test_stacked_layers_write_what_they_write_one_by_one(name: str, padded: bool) -> None:
    model = model_with(**MEMORIES[name]).double()
    assert can_stack(model.memory_attention)
    ids, mask = interaction(padded)
    memory, encoded = model.init_memory(3, seed=0), model.encode(ids, mask)
    stacked = StackedMemoryAttention(model.memory_attention, torch.float64)
    exact = model.memory_attention(memory.slots, encoded, mask)
    torch.testing.assert_close(stacked(memory.slots, encoded, mask), exact, rtol=1e-10, atol=1e-10)
    rounded_slots = StackedMemoryAttention(model.float().memory_attention, torch.bfloat16)
    found = rounded_slots(memory.slots.float(), encoded.float(), mask)
    assert found.dtype == torch.float32
    assert 0 < off(found.double(), exact, memory.slots) < ROUNDED


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("rows", [1, 2])
def test_many_conversations_are_written_in_parts(rows: int, padded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_with().double()
    ids, mask = interaction(padded)
    memory, encoded = model.init_memory(3, seed=0), model.encode(ids, mask)
    stacked = StackedMemoryAttention(model.memory_attention, torch.float64)
    whole = stacked(memory.slots, encoded, mask)
    monkeypatch.setattr("rxt.model.stacked.AT_ONCE", rows * memory.slots[:, 0].numel() + 1)
    torch.testing.assert_close(stacked(memory.slots, encoded, mask), whole, rtol=1e-12, atol=1e-12)


CROSS = AttentionConfig.sqa(4)
ENCODERS = {
    "usual": {},
    "reads memory": {"cross_attention": CROSS},
    "gated heads": {"self_attention": GATED},
    "normed heads": {"self_attention": replace(NORMED, output_bias=True)},
    "reversed heads": {"self_attention": AttentionConfig(4, 2, 4)},
    "layer norms": {"norm": "layer"},
    "experts": {"feed_forward": MoEConfig(dim=24, experts=4, top_k=2)},
}


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("name", ENCODERS)
def test_a_rounded_encoder_says_the_same(name: str, padded: bool) -> None:
    config = tiny_config()
    encoder = replace(config.encoder, **ENCODERS[name])  # type: ignore[arg-type]
    model = random_model(replace(config, encoder=encoder))
    (ids, mask), memory = interaction(padded), model.init_memory(3, seed=0)
    assert isinstance(model.encoder, Encoder)
    exact, found = model.encode(ids, mask, memory), RoundedEncoder(model.encoder)(ids, mask, memory.slots)
    embedded = model.encoder.embedding(ids) * (1 if mask is None else mask.unsqueeze(-1))
    assert found.dtype == torch.float32
    assert 0 < off(found, exact, embedded) < ROUNDED


@pytest.mark.parametrize("packs", [False, True])
def test_products_that_read_the_same_are_one(packs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounded, "PACKS", packs and rounded.PACKS)
    one, other, scale = nn.Linear(24, 16), nn.Linear(24, 40), torch.rand(24)
    x = torch.randn(2, 5, 24).bfloat16()
    found = RoundedWeights(one, other, scale=scale).multiply(x)
    exact = torch.cat([linear(x.float() * scale) for linear in (one, other)], dim=-1)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), exact, rtol=0.03, atol=0.03)


def test_a_norm_leaves_its_scale_to_the_product() -> None:
    norm, x = RMSNorm(24).double(), torch.randn(2, 5, 24, dtype=torch.float64)
    nn.init.uniform_(norm.weight)
    torch.testing.assert_close(
        RoundedNorm(rounded.eps_of(norm), torch.float64)(x) * norm.weight, norm(x), rtol=1e-12, atol=1e-12
    )


def test_a_model_with_rounded_updates_is_the_same_model() -> None:
    model = model_with()
    weights, small = deepcopy(model.state_dict()), round_updates(model)
    (ids, _), fresh = interaction(False), model.init_memory(3, seed=0)
    exact, found = model.memorize(fresh, ids), small.memorize(fresh, ids)
    assert 0 < off(found.slots, exact.slots, fresh.slots) < ROUNDED
    assert torch.equal(small.decode(ids, exact), model.decode(ids, exact))
    assert (found.fingerprint, found.turns) == (exact.fingerprint, exact.turns)
    model.memorize(found, ids)  # each takes the other's memories
    again = round_updates(rxt.quantize(model))
    assert torch.equal(again.memorize(fresh, ids).slots, found.slots)
    assert torch.equal(rxt.quantize(small).memorize(fresh, ids).slots, found.slots)
    assert all(torch.equal(model.state_dict()[name], weight) for name, weight in weights.items())
    assert type(model.encoder) is Encoder
    assert type(model.memory_attention) is MemoryAttention
    with pytest.raises(UserError, match="nor one with rounded updates"):
        small.save_pretrained("nowhere")


def test_what_comes_of_it_can_be_learned_through() -> None:
    """A memory of a rounded update is a memory like any other: a loss may follow."""
    small = round_updates(model_with())
    ids, _ = interaction(False)
    small.decode(ids, small.memorize(small.init_memory(3, seed=0), ids)).mean().backward()
    assert small.decoder.embedding.weight.grad is not None


def test_layers_that_cannot_be_stacked_are_rounded_one_by_one() -> None:
    model = model_with(variant="queue", queue=QueueConfig(2, 2))
    small, (ids, mask), fresh = round_updates(model), interaction(True), model.init_memory(3, seed=0)
    assert not isinstance(small.memory_attention, StackedMemoryAttention)
    rounds = [isinstance(each, rounded.RoundedAttention) for each in small.memory_attention.modules()]
    assert sum(rounds) == sum(isinstance(each, Attention) for each in model.memory_attention.modules()) == 4
    exact, found = model.memorize(fresh, ids, mask), small.memorize(fresh, ids, mask)
    assert 0 < off(found.slots, exact.slots, fresh.slots) < ROUNDED


def test_only_float32_on_a_processor_is_rounded() -> None:
    with pytest.raises(UserError, match="found float64 on cpu"):
        round_updates(model_with().double())


def test_what_is_asked_for_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_with()
    assert with_updates(model, "float32") is model
    assert with_updates(model, "bfloat16") is not model
    monkeypatch.setattr("rxt.model.rounded_updates.WIDENS", False)
    assert with_updates(model, "auto") is model
    monkeypatch.setattr("rxt.model.rounded_updates.WIDENS", True)
    for seconds, taken in ((1.0, False), (2.0, True)):
        times = iter((1.0, seconds))
        monkeypatch.setattr("rxt.model.rounded_updates._seconds", lambda _model, times=times: next(times))
        assert (with_updates(model, "auto") is not model) == taken


def test_the_bundled_model_recalls_as_much_with_rounded_updates() -> None:
    model, tokenizer = load_model()
    template = Template.of_model(model.config, tokenizer)
    plan = Plan((1, 4, 8, 16), 16, ())
    right = [measure_retention(Reactive(each, template), "test", plan, 1) for each in (model, round_updates(model))]
    exact, found = ([score.right for score in each.by_distance.values()] for each in right)
    assert sum(exact) >= 60
    assert abs(sum(found) - sum(exact)) <= 1
