"""How memory is written: every variant, gate and norm against a naive twin, and what must not matter."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import naive_twins
import pytest
import torch
from naive_twins import EXACT, ROTATED, assert_twins, randomize
from tiny_reactive import assert_near
from torch import Tensor

from rxt.config import AttentionConfig, GateConfig, MemoryAttentionConfig, MemoryNormConfig
from rxt.errors import UserError
from rxt.model.attention import Attention
from rxt.model.memory_attention import MemoryAttention, Projected
from rxt.model.memory_gate import ResidualGate
from rxt.model.memory_norm import MemoryNorm

LAYERS, SLOTS, WIDTH, LENGTH = 2, 3, 8, 3
BASE = MemoryAttentionConfig(WIDTH, LAYERS, SLOTS, AttentionConfig.sqa(2, 1, 1))
VARIANTS = {
    "simple": replace(BASE, variant="simple"),
    "self": replace(BASE, variant="self"),
    "interlayer": replace(BASE, variant="interlayer"),
    "self-interlayer": BASE,
    "grouped-self-interlayer": replace(BASE, variant="grouped-self-interlayer", groups=2, layers=4),
}
ALONE = {
    f"{kind} {activation} {'per slot' if per_slot else 'per layer'} {status}": GateConfig(
        kind,  # type: ignore[arg-type]
        activation,  # type: ignore[arg-type]
        per_slot,
        status,  # type: ignore[arg-type]
    )
    for kind, activation, per_slot, status in product(
        ["static", "elementwise", "linear"], ["sigmoid", "tanh"], [True, False], ["mean", "linear"]
    )
    if not (kind == "static" and status == "linear")
}
GATES = {**ALONE, "ungated": GateConfig("ungated"), "replace": GateConfig("replace")}
EACH = [
    *product(VARIANTS, ["linear sigmoid per slot mean", "static tanh per layer mean"]),
    *product(["self-interlayer"], GATES),
]
"""Every variant and every gate, not every pair of them."""
NORMS = {
    f"{kind}{' mixed' if mixed else ''}": MemoryNormConfig(kind, mixed)  # type: ignore[arg-type]
    for kind, mixed in product(["rms", "layer", "ema-rms"], [False, True])
}


def make(config: MemoryAttentionConfig) -> MemoryAttention:
    module = MemoryAttention(config).eval()
    randomize(module)
    for name, buffer in module.named_buffers():
        assert name.endswith("mean_square")
        buffer.uniform_(0.5, 2)
    return module


def values(batch_size: int, layers: int = LAYERS) -> tuple[Tensor, Tensor]:
    """An old memory (L, B, S, D) and an encoded interaction (L, B, T, D)."""
    slots = torch.randn(layers, batch_size, SLOTS, WIDTH, dtype=torch.float64)
    encoded = torch.randn(layers, batch_size, LENGTH, WIDTH, dtype=torch.float64)
    return slots.requires_grad_(), encoded.requires_grad_()


def assert_writes(config: MemoryAttentionConfig, padded: bool = False) -> None:
    module = make(config)
    slots, encoded = values(2, config.layers)
    padding = torch.tensor([[True] * 3, [True, False, False]]) if padded else None
    expected = naive_twins.memory_attention(module, slots, encoded, padding)
    assert_twins(module(slots, encoded, padding), expected, [slots, encoded, *module.parameters()], ROTATED)


def test_interactions_read_together_are_written_as_if_alone() -> None:
    module = make(BASE)
    slots, encoded = values(4)
    padding = torch.tensor([[True] * 3, [True, False, False], [True, True, False], [True, False, False]])
    source = module.project(encoded, padding)
    for rows, longest in ((slice(0, 2), 3), (slice(1, 2), 1), (slice(2, 4), 2)):
        alone = module(slots[:, rows], encoded[:, rows, :longest], padding[rows, :longest])
        assert source[rows].keys.shape[-2] == longest
        assert_twins(module.write(slots[:, rows], source[rows]), alone, [slots, encoded, *module.parameters()], EXACT)
    assert_twins(
        module.write(slots, module.project(encoded)),
        module(slots, encoded),
        [slots, encoded, *module.parameters()],
        EXACT,
    )


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_with_every_gate(variant: str, gate: str) -> None:
    assert_writes(replace(VARIANTS[variant], gate=GATES[gate]))


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_with_padding(variant: str) -> None:
    assert_writes(VARIANTS[variant], padded=True)


@pytest.mark.parametrize("variant", VARIANTS)
def test_consolidation_without_a_gate_of_its_own(variant: str) -> None:
    assert_writes(replace(VARIANTS[variant], self_gate=False))


@pytest.mark.parametrize("norm", NORMS)
def test_every_norm(norm: str) -> None:
    assert_writes(replace(BASE, norm=NORMS[norm]))


@pytest.mark.parametrize(
    "attention", [AttentionConfig.mha(2), AttentionConfig(2, 1, 2, gated=True), AttentionConfig(1, 1, 1, qk_norm=True)]
)
def test_consolidation_may_have_other_heads_than_the_write(attention: AttentionConfig) -> None:
    assert_writes(replace(BASE, consolidation=attention))
    assert_writes(replace(BASE, attention=attention, consolidation=BASE.attention))


def test_groups_of_several_layers() -> None:
    assert_writes(replace(VARIANTS["grouped-self-interlayer"], layers=4, groups=2))
    assert_writes(replace(VARIANTS["grouped-self-interlayer"], layers=3, groups=1))
    assert_writes(replace(VARIANTS["grouped-self-interlayer"], layers=2, groups=2))


@pytest.mark.parametrize("gate", GATES)
def test_gate_alone(gate: str) -> None:
    module = ResidualGate(GATES[gate], WIDTH, SLOTS)
    randomize(module)
    old, new = torch.randn(2, 2, SLOTS, WIDTH, dtype=torch.float64).unbind()
    old.requires_grad_()
    new.requires_grad_()
    assert_twins(module(old, new), naive_twins.gate(module, old, new), [old, new, *module.parameters()], EXACT)


@pytest.mark.parametrize("kind", ["static", "elementwise", "linear"])
@pytest.mark.parametrize(("per_slot", "gates"), [(True, SLOTS), (False, 1)])
def test_gate_shapes(kind: str, per_slot: bool, gates: int) -> None:
    module = ResidualGate(GateConfig(kind, per_slot=per_slot, status="linear"), WIDTH, SLOTS)  # type: ignore[arg-type]
    shapes = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
    weight = {"weight": (SLOTS, 1) if per_slot else (1,)}
    status = {"status.weight": (1, WIDTH), "status.bias": (1,)}
    expected = {
        "static": weight,
        "elementwise": weight | status,
        "linear": {"linear.weight": (gates, SLOTS), "linear.bias": (gates,)} | status,
    }
    assert shapes == expected[kind]


@pytest.mark.parametrize(("activation", "expected"), [("sigmoid", 0.25), ("tanh", 0.5)])
def test_gates_start_where_the_configuration_says(activation: str, expected: float) -> None:
    """g = 1/4 mixes new and old 1 : 3; tanh g = −1/2 weighs them 1/2 and 3/2."""
    start = torch.tensor(1 / 3).log().item() if activation == "sigmoid" else torch.tensor(-0.5).atanh().item()
    module = ResidualGate(GateConfig("static", activation, init=start), WIDTH, SLOTS)  # type: ignore[arg-type]
    old, new = torch.zeros(1, SLOTS, WIDTH), torch.ones(1, SLOTS, WIDTH)
    torch.testing.assert_close(module(old, new), torch.full_like(new, expected))
    torch.testing.assert_close(module(new, old), torch.full_like(new, 1 - expected if activation == "sigmoid" else 1.5))
    assert ResidualGate(GateConfig("linear", init=1), WIDTH, SLOTS).linear.bias.tolist() == [1.0] * SLOTS


def test_spread_gates_start_with_a_time_of_their_own() -> None:
    """Of S = 3 slots and at most 5 turns: shares 1/2, 1/4 and 1/6 of the new, which last about 1, 3 and 5 turns."""
    bias = ResidualGate(GateConfig("linear", longest=5), WIDTH, SLOTS).linear.bias
    torch.testing.assert_close(torch.sigmoid(bias.detach()), torch.tensor([1 / 2, 1 / 4, 1 / 6]))
    assert ResidualGate(GateConfig("linear", per_slot=False, longest=5), WIDTH, SLOTS).linear.bias.shape == (1,)


def test_a_gate_may_start_with_its_own_slot_alone() -> None:
    """Only the slot whose old and new content change sees its gate change."""
    gate = ResidualGate(GateConfig("linear", own_status=2.0), WIDTH, SLOTS)
    assert torch.equal(gate.linear.weight, 2 * torch.eye(SLOTS))
    old, new = -torch.ones(1, SLOTS, WIDTH), torch.ones(1, SLOTS, WIDTH)
    new[:, 1] = 4.0
    half, share = 0.5, torch.sigmoid(torch.tensor(2.0 * (4 - 1))).item()
    expected = [-1 + half * 2, -1 + share * 5, -1 + half * 2]
    torch.testing.assert_close(gate(old, new), torch.tensor(expected)[None, :, None].expand(1, SLOTS, WIDTH))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"longest": 0.5}, "at least one turn"),
        ({"longest": 4.0, "kind": "static"}, "linear"),
        ({"own_status": 1.0, "kind": "static"}, "linear"),
        ({"own_status": 1.0, "per_slot": False}, "each slot"),
    ],
)
def test_starts_of_a_gate_need_a_gate_that_has_them(config: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        GateConfig(**config)


HEADS = {
    "mha": AttentionConfig.mha(2),
    "gqa": AttentionConfig.gqa(4, 2),
    "mqa": AttentionConfig.mqa(4),
    "sqa": AttentionConfig.sqa(4),
    "reversed sqa": AttentionConfig.sqa(4, 1, 2),
}


@pytest.mark.parametrize("heads", HEADS)
def test_an_untrained_write_copies_what_its_slot_looks_at(heads: str) -> None:
    """Of a single token nothing is lost but the dimensions that its value heads do not span."""
    layer = MemoryAttention(replace(VARIANTS["simple"], attention=HEADS[heads])).layers[0]
    write = layer.get_submodule("attention")
    assert isinstance(write, Attention)
    token, slots = torch.randn(2, 1, WIDTH), torch.randn(2, SLOTS, WIDTH)
    spanned = HEADS[heads].kv_heads * WIDTH // HEADS[heads].heads
    kept = torch.where(torch.arange(WIDTH) < spanned, token, 0.0)
    torch.testing.assert_close(write(slots, write.keys_values(token)), kept.expand(2, SLOTS, WIDTH))
    assert ResidualGate(GateConfig("static", init=1), WIDTH, SLOTS).weight.dtype == torch.float32


def test_mixed_norms_start_where_the_configuration_says() -> None:
    module = MemoryNorm(MemoryNormConfig(mixed=True, mix_init=0), WIDTH)
    x = torch.randn(2, WIDTH)
    torch.testing.assert_close(module(x), (x + torch.nn.functional.rms_norm(x, (WIDTH,))) / 2)


@pytest.mark.parametrize("double", [False, True], ids=["float32", "float64"])
def test_ema_norm_follows_the_data_in_training_only(double: bool) -> None:
    module = MemoryNorm(MemoryNormConfig("ema-rms", decay=0.75), WIDTH)
    x = torch.full((2, 3, WIDTH), 3.0)
    if double:
        module, x = module.double(), x.double()
    module.eval()(x)
    assert module.mean_square.item() == 1
    found = module.train()(x)
    assert module.mean_square.item() == pytest.approx(0.75 * 1 + 0.25 * 9)
    torch.testing.assert_close(found, x / 3**0.5)
    module(x)
    assert module.mean_square.item() == pytest.approx(0.75 * 3 + 0.25 * 9)
    assert found.grad_fn is not None
    assert not module.mean_square.requires_grad


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_padding_of_the_interaction_is_ignored(variant: str, norm: str) -> None:
    """A padded batch leaves the memories that its rows alone would; what stands in the padding does not matter."""
    config = replace(VARIANTS[variant], norm=NORMS[norm])
    module = make(config)
    slots, encoded = values(3, config.layers)
    lengths = [3, 1, 2]
    mask = torch.arange(LENGTH) < torch.tensor(lengths).unsqueeze(1)
    found = module(slots, encoded, mask)
    for b, length in enumerate(lengths):
        assert_near(found[:, b : b + 1], module(slots[:, b : b + 1], encoded[:, b : b + 1, :length]))
    assert torch.equal(module(slots, torch.where(mask[None, :, :, None], encoded, 100.0), mask), found)
    assert (module(slots, encoded) - found)[:, 1].abs().max() > 1e-4


@pytest.mark.parametrize(("variant", "gate"), EACH)
@torch.no_grad()
def test_a_batch_is_its_conversations_one_at_a_time(variant: str, gate: str) -> None:
    config = replace(VARIANTS[variant], gate=GATES[gate])
    module = make(config)
    slots, encoded = values(3, config.layers)
    alone = [module(slots[:, b : b + 1], encoded[:, b : b + 1]) for b in range(3)]
    assert_near(module(slots, encoded), torch.cat(alone, 1))


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_means_are_of_the_memory_before_the_update(variant: str) -> None:
    """What another layer writes changes nothing: each layer's new memory depends on the old memory alone."""
    module = make(VARIANTS[variant])
    slots, encoded = values(2, module.config.layers)
    before = module(slots, encoded)
    randomize(module.layers[0])
    changed = encoded.clone()
    changed[0] = 7.0
    after = module(slots, changed)
    assert torch.equal(after[1:], before[1:])
    assert (after[0] - before[0]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("variant", "groups", "reach"),
    [
        ("simple", None, [[0], [1], [2], [3]]),
        ("self", None, [[0], [1], [2], [3]]),
        ("interlayer", None, [[0, 1, 2, 3]] * 4),
        ("self-interlayer", None, [[0, 1, 2, 3]] * 4),
        ("grouped-self-interlayer", 2, [[0, 1], [0, 1], [2, 3], [2, 3]]),
        ("grouped-self-interlayer", 4, [[0], [1], [2], [3]]),
    ],
)
def test_which_layers_a_layer_looks_at(variant: str, groups: int | None, reach: list[list[int]]) -> None:
    module = make(replace(BASE, variant=variant, groups=groups, layers=4))  # type: ignore[arg-type]
    slots, encoded = values(1, 4)
    written = module(slots, encoded)
    for layer, expected in enumerate(reach):
        (gradient,) = torch.autograd.grad(written[layer].square().sum(), slots, retain_graph=True)
        assert [other for other in range(4) if gradient[other].any()] == expected


BY_SLOT = {
    name
    for name, gate in GATES.items()
    if gate.kind == "linear" or (gate.per_slot and gate.kind in ("static", "elementwise"))
}
"""Gates with weights for each slot: they know one slot from another."""


@pytest.mark.parametrize(("variant", "gate"), EACH)
@torch.no_grad()
def test_slots_have_no_order_but_for_gates_with_weights_by_slot(variant: str, gate: str) -> None:
    config = replace(VARIANTS[variant], gate=GATES[gate])
    module = make(config)
    slots, encoded = values(2, config.layers)
    order = torch.tensor([2, 0, 1])
    difference = (module(slots[:, :, order], encoded) - module(slots, encoded)[:, :, order]).abs().max().item()
    assert difference > 1e-4 if gate in BY_SLOT else difference < 1e-11


@torch.no_grad()
def test_the_order_of_the_interactions_tokens_is_seen() -> None:
    module = make(BASE)
    slots, encoded = values(1)
    assert (module(slots, encoded.flip(2)) - module(slots, encoded)).abs().max() > 1e-4


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_old_memory_is_left_as_it_was(variant: str) -> None:
    module = make(VARIANTS[variant])
    slots, encoded = values(2, module.config.layers)
    copies = slots.clone(), encoded.clone()
    written = module(slots, encoded)
    assert torch.equal(slots, copies[0])
    assert torch.equal(encoded, copies[1])
    assert written.untyped_storage().data_ptr() != slots.untyped_storage().data_ptr()


def test_modules_hold_no_memory() -> None:
    """Nothing but weights, and the running mean squares of the one norm that has them."""
    for norm, buffers in (("rms", set()), ("ema-rms mixed", {"mean_square"})):
        module = make(replace(BASE, norm=NORMS[norm]))
        assert {name.rsplit(".", 1)[-1] for name, _ in module.named_buffers()} == buffers


def test_interactions_written_part_by_part_are_those_of_slices() -> None:
    torch.manual_seed(0)
    attention = MemoryAttention(BASE)
    randomize(attention)
    encoded = torch.randn(LAYERS, 5, LENGTH, WIDTH, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 0], [1, 0, 0]], dtype=torch.bool)
    slots, sizes = torch.randn(LAYERS, 3, SLOTS, WIDTH, dtype=torch.float64), (3, 2)

    def gradient(parts: list[Projected]) -> tuple[list[Tensor], Tensor]:
        written = [attention.write(slots[:, :size], part) for size, part in zip(sizes, parts, strict=True)]
        return written, torch.autograd.grad(torch.stack([each.square().sum() for each in written]).sum(), encoded)[0]

    parts = attention.project(encoded, mask).split(sizes)
    split, of_split = gradient([part[:size] for size, part in zip(sizes, parts, strict=True)])
    whole = attention.project(encoded, mask)
    sliced, of_slices = gradient([whole[0:3], whole[3:5]])
    for part, twin in zip(split, sliced, strict=True):
        assert_near(part, twin)
    assert_near(of_split, of_slices)
