"""Weights in 4 bits: each against the plain product with the same weights, and which matrices they are for."""

from __future__ import annotations

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
    RxTConfig,
)
from rxt.generation.generate import generate
from rxt.model.int4 import GROUP, MANY, Int4Linear, is_of_4_bits, to_int4
from rxt.model.int8 import Int8Linear
from rxt.model.low_rank import LowRankLinear
from rxt.pretrained import ReactiveTransformer

gguf = pytest.importorskip("gguf")
INPUTS, OUTPUTS = 2 * GROUP, 48
ATTENTION = AttentionConfig(4, 4, 2)
CONFIG = RxTConfig(
    DecoderConfig(64, GROUP, 2, ATTENTION, ATTENTION, FeedForwardConfig(GROUP), 24),
    EncoderConfig(64, GROUP, 2, ATTENTION, FeedForwardConfig(GROUP), 24),
    MemoryAttentionConfig(GROUP, 2, 6, ATTENTION),
)


def of_4_bits(weight: Tensor) -> Tensor:
    """A matrix as it comes out of a file that has it in 4 bits."""
    kind = gguf.GGMLQuantizationType.Q4_1
    stored = gguf.quants.quantize(weight.detach().numpy(), kind)
    return torch.from_numpy(gguf.quants.dequantize(stored, kind).copy())


def make_linear(bias: bool = True) -> nn.Linear:
    linear = nn.Linear(INPUTS, OUTPUTS, bias=bias)
    linear.weight = nn.Parameter(of_4_bits(linear.weight))
    return linear


def test_a_matrix_out_of_a_file_of_4_bits_is_known_and_kept() -> None:
    weight = torch.randn(OUTPUTS, INPUTS)
    assert not is_of_4_bits(weight)
    stored = of_4_bits(weight)
    assert is_of_4_bits(stored)
    assert not is_of_4_bits(stored.double())
    assert not is_of_4_bits(stored[:, : INPUTS - 1])
    integers, step, lowest = to_int4(stored)
    assert (integers.min(), integers.max()) == (0, 15)
    again = lowest.unsqueeze(-1) + step.unsqueeze(-1) * integers.unflatten(1, (-1, GROUP))
    torch.testing.assert_close(again.flatten(1), stored, rtol=0, atol=2e-3 * float(step.max()))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, MANY - 1, MANY])
@pytest.mark.parametrize("widens", [False, True])
def test_a_product_is_that_of_the_matrix(rows: int, bias: bool, widens: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rxt.model.int4.WIDENS", widens)
    linear, x = make_linear(bias), torch.randn(rows, INPUTS).bfloat16().float()
    small = Int4Linear(linear)
    expected = linear(x)
    torch.testing.assert_close(small(x), expected, rtol=0.01, atol=0.01)
    torch.testing.assert_close(small(x.unsqueeze(0)), small(x).unsqueeze(0))


def test_the_matrix_widened_is_the_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rxt.model.int4.WIDENS", True)
    linear = make_linear()
    torch.testing.assert_close(Int4Linear(linear).widened().float(), linear.weight.detach(), rtol=0.01, atol=1e-3)


@torch.no_grad()
def test_an_adapter_stays_beside_it() -> None:
    adapted, x = LowRankLinear(make_linear(), 3), torch.randn(2, INPUTS).bfloat16().float()
    plain = adapted(x)
    nn.init.normal_(adapted.lora_up)
    small = Int4Linear(adapted)
    torch.testing.assert_close(small(x), adapted(x), rtol=0.02, atol=0.02)
    adapted.active = False
    torch.testing.assert_close(Int4Linear(adapted)(x), plain, rtol=0.02, atol=0.02)


@torch.no_grad()
def test_a_model_has_4_bits_where_its_file_has() -> None:
    model = ReactiveTransformer(CONFIG).eval()
    stored = [layer.feed_forward.fc2 for layer in model.decoder.layers]  # type: ignore[union-attr]
    for linear in stored:
        linear.weight = nn.Parameter(of_4_bits(linear.weight))  # type: ignore[union-attr]
    small = quantize(model, bits=4)
    kinds = {name: type(module) for name, module in small.decoder.named_modules()}
    assert [name for name, kind in kinds.items() if kind is Int4Linear] == [
        f"layers.{i}.feed_forward.fc2" for i in (0, 1)
    ]
    assert sum(kind is Int8Linear for kind in kinds.values()) > 4
    assert nn.Linear not in kinds.values()
    ids, memory = torch.randint(5, 64, (1, 6)), model.init_memory(1, seed=1)
    exact = model.decode(ids, memory)
    assert 0 < (small.decode(ids, memory) - exact).abs().max() < 0.1 * exact.abs().max()
    assert torch.equal(small.memorize(memory, ids).slots, model.memorize(memory, ids).slots)
    found = generate(small, ids, memory, 8, stop_at_eos=False)
    logits = small.decode(found[:, :-1], memory)[:, ids.shape[1] - 1 :]
    chosen = logits.gather(2, found[:, ids.shape[1] :, None]).squeeze(2)
    torch.testing.assert_close(chosen, logits.amax(-1), rtol=0, atol=0.05)  # rounding may turn near ties
