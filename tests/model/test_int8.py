"""Weights in 8 bits: each against the plain product with the rounded weights, and what a whole quantized model
keeps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from rxt import quantize
from rxt.config import (
    AttentionConfig,
    DecoderConfig,
    EncoderConfig,
    FeedForwardConfig,
    MemoryAttentionConfig,
    MoEConfig,
    RxTConfig,
)
from rxt.errors import UserError
from rxt.generation.compiled import compile_step
from rxt.generation.generate import generate
from rxt.model.int8 import MANY, Int8Linear, Int8Stack, to_int8
from rxt.pretrained import ReactiveTransformer

ENDS = torch.tensor([2, 2, 5], dtype=torch.int32)
TOLERANCE = {torch.float32: 0.05, torch.float64: 1e-12}
"""In float32 inputs and outputs have 8 bits."""
ATTENTION = AttentionConfig(4, 4, 2, gated=True)
CONFIG = RxTConfig(
    DecoderConfig(
        64,
        32,
        2,
        ATTENTION,
        ATTENTION,
        MoEConfig(16, experts=6, top_k=2, shared_experts=2),
        24,
        (FeedForwardConfig(48),),
    ),
    EncoderConfig(64, 32, 2, ATTENTION, FeedForwardConfig(48), 24),
    MemoryAttentionConfig(32, 2, 6, ATTENTION),
)


def widened(weight: Tensor, scale: Tensor) -> Tensor:
    return weight.to(scale.dtype) * scale.unsqueeze(-1)


def test_rounding_is_to_the_nearest_step() -> None:
    weight = torch.randn(3, 5, 7)
    weight[1, 2] = 0
    rounded, scale = to_int8(weight)
    assert (rounded.dtype, rounded.shape, scale.shape) == (torch.int8, (3, 5, 7), (3, 5))
    assert ((widened(rounded, scale) - weight).abs() <= 0.5001 * scale.unsqueeze(-1)).all()
    assert (rounded.abs().amax(-1)[scale > 1e-9] == 127).all()
    assert not rounded[1, 2].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("inputs", [16, 24, 48])
def test_linear(dtype: torch.dtype, bias: bool, inputs: int) -> None:
    linear = nn.Linear(inputs, 9, bias=bias).to(dtype)
    quantized, x = Int8Linear(linear), torch.randn(2, 3, inputs, dtype=dtype)
    expected = x @ widened(quantized.weight, quantized.scale).T + (linear.bias if linear.bias is not None else 0)
    torch.testing.assert_close(quantized(x), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("rows", [1, MANY - 1, MANY, 70])
@pytest.mark.parametrize("widens", [False, True])
def test_many_rows_are_multiplied_as_few_are(rows: int, widens: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rxt.model.int8.WIDENS", widens)
    quantized, x = Int8Linear(nn.Linear(64, 9)), torch.randn(rows, 64).bfloat16().float()
    assert quantized.bias is not None
    expected = x @ widened(quantized.weight, quantized.scale).T + quantized.bias
    torch.testing.assert_close(quantized(x), expected, rtol=0.01, atol=0.01)  # outputs have 8 bits


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("inputs", [24, 32])
def test_stack_reads_only_matrices_that_have_rows(dtype: torch.dtype, inputs: int) -> None:
    stack, rows = Int8Stack(torch.randn(3, inputs, 10, dtype=dtype)), torch.randn(5, inputs, dtype=dtype)
    matrices = widened(stack.weight, stack.scale)  # (E, F, D)
    expected = torch.cat([rows[:2] @ matrices[0].T, rows[2:] @ matrices[2].T])
    stack.scale[1] = torch.nan
    torch.testing.assert_close(stack(rows, ENDS), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    operands = (rows, stack.weight, stack.scale, stack.ones, ENDS)
    torch.library.opcheck(torch.ops.rxt.int8_groups, operands, test_utils="test_faketensor")


def make(dtype: torch.dtype = torch.float32) -> ReactiveTransformer:
    return ReactiveTransformer(CONFIG).to(dtype).eval()


def stored_bytes(module: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in [*module.parameters(), *module.buffers()])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@torch.no_grad()
def test_a_quantized_model_answers_nearly_the_same_and_remembers_the_same(dtype: torch.dtype) -> None:
    model = make(dtype)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    small = quantize(model)
    assert not [
        name
        for name, module in small.decoder.named_modules()
        if isinstance(module, nn.Linear) and "router" not in name and "shared_gate" not in name
    ]
    ids, memory = torch.randint(5, 64, (2, 9)), model.init_memory(2, seed=1)
    exact, found = model.decode(ids, memory), small.decode(ids, memory)
    assert 0 < (found - exact).abs().max() < 0.1 * exact.abs().max()
    again = small.memorize(memory, ids)
    assert torch.equal(again.slots, model.memorize(memory, ids).slots)
    model.check_memory(again)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), f"{name} of the original has changed"
    assert small.encoder.embedding.weight is small.decoder.embedding.weight is model.decoder.embedding.weight
    assert stored_bytes(small.decoder) < 0.6 * stored_bytes(model.decoder)


def test_a_quantized_models_cached_and_compiled_steps_say_what_it_says_without_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.compiler.reset()
    monkeypatch.setattr("rxt.generation.decode.compiled_step", lambda decoder: compile_step(decoder, "eager"))
    small = quantize(make())
    ids, memory = torch.randint(5, 64, (2, 4)), small.init_memory(2, seed=1)
    found = generate(small, ids, memory, 12, stop_at_eos=False)
    assert torch.equal(generate(small, ids, memory, 12, stop_at_eos=False, compiled=True), found)
    for length in range(4, 15):
        logits = small.decode(found[:, :length], memory)[:, -1]
        chosen = logits.gather(1, found[:, length, None]).squeeze(1)
        torch.testing.assert_close(chosen, logits.amax(-1), rtol=0, atol=0.05)  # rounding may turn near ties


def test_a_quantized_model_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a quantized model is not saved"):
        quantize(make()).save_pretrained(tmp_path / "x")
    assert not (tmp_path / "x").exists()
