"""One attention module against a naive twin: every kind of the family, every option, values and gradients."""

from __future__ import annotations

from dataclasses import replace

import naive_twins
import pytest
import torch
from naive_twins import EXACT, ROTATED, assert_twins, randomize

from rxt.config import AttentionConfig
from rxt.model.attention import Attention, look_up_in_parts
from rxt.model.layers import Rotation, rotate, rotation_at
from rxt.model.summed import SummedAttention

WIDTH = 16
"""Four heads of size 4: two pairs each, so that RoPE turns at two speeds."""
KINDS = {
    "MHA": AttentionConfig.mha(4),
    "GQA": AttentionConfig.gqa(4, 2),
    "MQA": AttentionConfig.mqa(4),
    "symmetric SQA": AttentionConfig.sqa(4),
    "SQA": AttentionConfig.sqa(4, 2, 1),
    "reversed SQA": AttentionConfig.sqa(4, 2, 4),
    "reversed SQA, one query head": AttentionConfig(4, 1, 2),
}
HEADS = {"MHA": (4, 4), "GQA": (4, 2), "MQA": (4, 1), "symmetric SQA": (2, 2), "SQA": (2, 1), "reversed SQA": (2, 4)}
OPTIONS = {
    "plain": (False, False, True),
    "gated": (True, False, True),
    "q/k norm": (False, True, True),
    "gated, q/k norm, no output bias": (True, True, False),
}
ROTATIONS = {  # queries, keys, causal, padding: the rows of the table of where RoPE is applied
    "decoder self-attention": (True, True, True, False),
    "encoder self-attention": (True, True, False, True),
    "memory cross-attention": (True, False, False, False),
    "memory write": (False, True, False, True),
    "memory consolidation": (False, False, False, False),
}


def make(config: AttentionConfig, options: str = "plain") -> Attention:
    gated, qk_norm, output_bias = OPTIONS[options]
    config = AttentionConfig(
        config.heads, config.query_heads, config.kv_heads, gated=gated, qk_norm=qk_norm, output_bias=output_bias
    )
    module = Attention(WIDTH, config)
    randomize(module)
    return module


def rotation(length: int, module: Attention) -> Rotation:
    return rotation_at(torch.arange(length), module.head_dim, module.config.rope_base)


def assert_attends(module: Attention, place: str) -> None:
    queries, keys, causal, padded = ROTATIONS[place]
    own = place.endswith("self-attention")
    x = torch.randn(2, 4, WIDTH, dtype=torch.float64, requires_grad=True)
    source = x if own else torch.randn(2, 3, WIDTH, dtype=torch.float64, requires_grad=True)
    padding = torch.ones(2, source.shape[1], dtype=torch.bool)
    padding[1, 2:] = not padded
    found = module(
        x,
        module.keys_values(source, rotation(source.shape[1], module) if keys else None),
        rotation(4, module) if queries else None,
        mask=padding[:, None, None, :] if padded else None,
        causal=causal,
    )
    expected = naive_twins.attention(module, x, source, queries, keys, causal, padding if padded else None)
    inputs = [x, *([] if own else [source]), *module.parameters()]
    assert_twins(found, expected, inputs, ROTATED if queries or keys else EXACT)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["decoder self-attention", "memory consolidation"])
def test_every_kind(kind: str, place: str) -> None:
    assert_attends(make(KINDS[kind]), place)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("place", ROTATIONS)
def test_every_option_in_every_place(options: str, place: str) -> None:
    assert_attends(make(KINDS["GQA"], options), place)


@pytest.mark.parametrize("kind", ["SQA", "reversed SQA"])
def test_sparse_heads_with_every_option(kind: str) -> None:
    assert_attends(make(KINDS[kind], "gated, q/k norm, no output bias"), "memory write")


@pytest.mark.parametrize("activation", ["silu", "relu", "gelu", "sigmoid", "linear"])
def test_gate_activations(activation: str) -> None:
    module = Attention(WIDTH, AttentionConfig(4, 2, 2, gated=True, gate_activation=activation))  # type: ignore[arg-type]
    randomize(module)
    assert_attends(module, "memory consolidation")


@pytest.mark.parametrize("kind", HEADS)
def test_projections_have_the_heads_of_their_kind(kind: str) -> None:
    queries, keys = HEADS[kind]
    module = make(KINDS[kind], "gated")
    assert module.gate_proj is not None
    shapes = {
        name: tuple(getattr(module, name).weight.shape)
        for name in ("q_proj", "k_proj", "v_proj", "gate_proj", "out_proj")
    }
    out = max(queries, keys) * 4
    assert shapes == {
        "q_proj": (queries * 4, WIDTH),
        "k_proj": (keys * 4, WIDTH),
        "v_proj": (keys * 4, WIDTH),
        "gate_proj": (out, WIDTH),
        "out_proj": (WIDTH, out),
    }
    assert module.q_proj.bias is module.k_proj.bias is module.v_proj.bias is module.gate_proj.bias is None
    assert module.out_proj.bias is not None


def test_rope_is_relative() -> None:
    """Queries and keys moved by the same number of positions score the same."""
    q, k = torch.randn(2, 1, 1, 5, 6, dtype=torch.float64)
    scores = [
        rotate(q, rotation_at(at, 6, 100.0)) @ rotate(k, rotation_at(at, 6, 100.0)).mT
        for at in (torch.arange(5), torch.arange(5) + 7)
    ]
    torch.testing.assert_close(scores[0], scores[1], rtol=0, atol=1e-5)
    assert (scores[0] - q @ k.mT).abs().max() > 1e-2


def test_rope_in_parts_is_rope_as_a_complex_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compiled turns as what is not, and its gradient too."""
    complex_x = torch.randn(2, 3, 5, 8, requires_grad=True)
    parts_x = complex_x.detach().clone().requires_grad_()
    rotation, weight = rotation_at(torch.arange(5), 8, 100.0), torch.randn(2, 3, 5, 8)
    as_complex = rotate(complex_x, rotation)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    in_parts = rotate(parts_x, rotation)
    torch.testing.assert_close(in_parts, as_complex)
    (as_complex * weight).sum().backward()
    (in_parts * weight).sum().backward()
    torch.testing.assert_close(parts_x.grad, complex_x.grad)


def test_rope_at_position_zero_changes_nothing() -> None:
    x = torch.randn(1, 2, 1, 6)
    assert torch.equal(rotate(x, rotation_at(torch.zeros(1), 6, 100.0)), x)


def test_rope_with_positions_of_their_own_for_each_row() -> None:
    x = torch.randn(2, 1, 3, 4)
    positions = torch.tensor([[0, 5, 2], [7, 1, 3]])
    rows = [rotate(x[b : b + 1], rotation_at(positions[b], 4, 10_000.0)) for b in range(2)]
    torch.testing.assert_close(rotate(x, rotation_at(positions, 4, 10_000.0)), torch.cat(rows))


def test_rope_in_half_precision_turns_as_in_float32() -> None:
    """Angles are computed in float32: in bfloat16 position 1001 would not even exist."""
    x = torch.ones(1, 1, 1, 4)
    exact = rotate(x, rotation_at(torch.tensor([1001]), 4, 10_000.0))
    rough = rotate(x.bfloat16(), rotation_at(torch.tensor([1001]), 4, 10_000.0))
    assert rough.dtype == torch.bfloat16
    torch.testing.assert_close(rough.float(), exact, rtol=0, atol=0.02)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_one_query_looked_up_in_sums_is_the_same_lookup(
    kind: str, masked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    attention = make(KINDS[kind])
    x, source = torch.randn(3, 1, WIDTH, dtype=torch.float64), torch.randn(3, 7, WIDTH, dtype=torch.float64)
    mask = (torch.arange(7) <= torch.tensor([0, 3, 6])[:, None])[:, None, None] if masked else None
    expected = attention(x, attention.keys_values(source), mask=mask)
    names = list(attention.state_dict())
    summed = SummedAttention(attention)
    monkeypatch.setattr("torch.nn.functional.scaled_dot_product_attention", lambda *_, **__: pytest.fail("not in sums"))
    torch.testing.assert_close(summed(x, summed.keys_values(source), mask=mask), expected, rtol=1e-11, atol=1e-11)
    assert list(summed.state_dict()) == names


@pytest.mark.parametrize("kind", ["MHA", "GQA"])
def test_without_a_matrix_after_the_heads_they_are_the_output(kind: str) -> None:
    whole = make(replace(KINDS[kind], output_bias=False), "gated, q/k norm, no output bias")
    bare = Attention(WIDTH, replace(whole.config, output_projection=False)).double()
    bare.load_state_dict({name: tensor for name, tensor in whole.state_dict().items() if name != "out_proj.weight"})
    x = torch.randn(2, 5, WIDTH, dtype=torch.double)
    with torch.no_grad():
        whole.out_proj.get_parameter("weight").copy_(torch.eye(WIDTH))
        expected = whole(x, whole.keys_values(x))
        torch.testing.assert_close(bare(x, bare.keys_values(x)), expected)
        torch.testing.assert_close(SummedAttention(bare)(x, bare.keys_values(x)), expected)


@pytest.mark.parametrize("kind", ["MHA", "GQA", "reversed SQA"])
@pytest.mark.parametrize("seen", ["all", "causal", "padding"])
@pytest.mark.parametrize("itself", [True, False])
@pytest.mark.parametrize("wide", [4, 64])
def test_attention_that_learns_in_bfloat16_is_the_fused_one(
    kind: str, seen: str, itself: bool, wide: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rxt.model.attention.WIDE_HEAD", wide)
    module, x = make(KINDS[kind]).float(), torch.randn(2, 5, WIDTH, requires_grad=True)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])[:, None, None, :] if seen == "padding" else None
    inputs, weights = [x, *module.parameters()], torch.randn(2, 5, WIDTH)

    def run() -> list[torch.Tensor]:
        found = module(x, None if itself else module.keys_values(x), mask=mask, causal=seen == "causal")
        return [found.detach(), *torch.autograd.grad((found.float() * weights).sum(), inputs)]

    expected = run()
    with torch.autocast("cpu", torch.bfloat16):
        for found, wanted in zip(run(), expected, strict=True):
            torch.testing.assert_close(found.float(), wanted, atol=0.06 * float(wanted.abs().max()), rtol=0)
        with torch.no_grad():  # the fused kernel
            fused = module(x, module.keys_values(x), mask=mask, causal=seen == "causal")
    torch.testing.assert_close(fused.float(), expected[0], atol=0.06 * float(expected[0].abs().max()), rtol=0)


def test_parts_are_exact_in_float32() -> None:
    queries, keys, values = (torch.randn(2, heads, 5, 8, requires_grad=True) for heads in (4, 2, 2))
    found = look_up_in_parts(queries, keys, values)
    expected = torch.nn.functional.scaled_dot_product_attention(queries, keys, values, enable_gqa=True)
    torch.testing.assert_close(found, expected)
    slopes = (torch.autograd.grad(y.square().sum(), (queries, keys, values)) for y in (found, expected))
    for each, wanted in zip(*slopes, strict=True):
        torch.testing.assert_close(each, wanted, atol=1e-5, rtol=1e-4)
