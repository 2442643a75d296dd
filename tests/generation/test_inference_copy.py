"""The decoder laid out for inference: the same logits, what it shares, and when it is made anew."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from rxt.config import (
    AttentionConfig,
    DecoderConfig,
    EncoderConfig,
    FeedForwardConfig,
    MemoryAttentionConfig,
    MoEConfig,
    RxTConfig,
)
from rxt.generation.inference_copy import RowwiseLinear, inference_decoder
from rxt.model.decoder import Decoder
from rxt.pretrained import ReactiveTransformer

ATTENTION = AttentionConfig(4, 4, 2, gated=True)
CONFIG = RxTConfig(
    DecoderConfig(30, 16, 2, ATTENTION, ATTENTION, MoEConfig(8, experts=4, top_k=2), 12, head_norm="rms"),
    EncoderConfig(30, 16, 2, ATTENTION, FeedForwardConfig(24), 12),
    MemoryAttentionConfig(16, 2, 5, ATTENTION),
)


def logits(decoder: Decoder, model: ReactiveTransformer) -> Tensor:
    ids = torch.arange(20).view(2, 10)
    with torch.no_grad():
        return decoder(ids, model.init_memory(2, seed=1).slots)


def test_it_computes_the_same_and_copies_linear_weights_alone() -> None:
    model = ReactiveTransformer(CONFIG).double().eval()
    names = list(model.state_dict())
    copy = inference_decoder(model)
    torch.testing.assert_close(logits(copy, model), logits(model.decoder, model), rtol=1e-12, atol=1e-12)
    assert list(model.state_dict()) == names
    linear = {f"{name}.weight" for name, module in copy.named_modules() if isinstance(module, nn.Linear)}
    assert "head.weight" in linear
    originals = dict(model.decoder.named_parameters())
    for name, parameter in copy.named_parameters():
        assert (parameter.data_ptr() == originals[name].data_ptr()) == (name not in linear), name
        if name in linear:
            assert parameter.stride() == (1, parameter.shape[0]), "column by column"
            assert originals[name].is_contiguous()


@torch.no_grad()
def test_bfloat16_stays_row_by_row_and_a_single_row_is_a_vector() -> None:
    model = ReactiveTransformer(CONFIG).bfloat16().eval()
    copy = inference_decoder(model)
    for (name, mine), original in zip(copy.named_parameters(), model.decoder.parameters(), strict=True):
        assert mine is original, name
    for bias in (False, True):
        linear, row = nn.Linear(64, 40, bias=bias).bfloat16(), torch.randn(1, 1, 64).bfloat16()
        expected = nn.functional.linear(row.double(), linear.weight.double(), linear.bias.double() if bias else None)
        found = RowwiseLinear(linear)(row)
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.double(), expected, rtol=0.02, atol=0.02)
        both = RowwiseLinear(linear)(row.expand(2, 1, 64))
        torch.testing.assert_close(both, found.expand(2, 1, 40), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("bias", ["local", "off"])
@pytest.mark.parametrize("tokens", [1, 2])
@torch.no_grad()
def test_what_is_compiled_computes_the_same_and_shares_all_but_experts(
    bias: Literal["local", "off"], tokens: int
) -> None:
    experts = MoEConfig(8, experts=4, top_k=2, bias=bias, shared_experts=2)
    model = ReactiveTransformer(replace(CONFIG, decoder=replace(CONFIG.decoder, feed_forward=experts))).double().eval()
    for parameter in model.parameters():
        parameter.normal_(std=0.4)
    slots, ids = model.init_memory(1, seed=1).slots, torch.arange(tokens)[None] + 5
    copy = inference_decoder(model, compiled=True)
    run = torch.compile(Decoder.forward, dynamic=False, backend="eager", fullgraph=True)
    torch.testing.assert_close(run(copy, ids, slots), model.decoder(ids, slots), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(copy(ids, slots), model.decoder(ids, slots), rtol=1e-12, atol=1e-12)
    originals = {parameter.data_ptr() for parameter in model.decoder.parameters()}
    own = {name.rsplit(".", 2)[-2] for name, tensor in copy.state_dict().items() if tensor.data_ptr() not in originals}
    assert own == {"w1", "w2"}
    assert inference_decoder(model, compiled=True) is copy
    assert inference_decoder(model) is not copy
    model.decoder.head.weight.mul_(2)
    assert inference_decoder(model, compiled=True) is not copy


def test_it_is_made_anew_after_a_weight_has_changed_and_not_before() -> None:
    model = ReactiveTransformer(CONFIG).eval()
    copy = inference_decoder(model)
    assert inference_decoder(model) is copy
    with torch.no_grad():
        model.decoder.head.weight.mul_(2)
    assert inference_decoder(model) is not copy
    copy = inference_decoder(model)
    assert inference_decoder(model.train()) is model.decoder, "training reads the weights themselves"
    for parameter in model.parameters():
        parameter.data.mul_(1.5)  # as fused optimisers do, without a trace
    model.eval()
    assert inference_decoder(model) is not copy
    torch.testing.assert_close(
        logits(inference_decoder(model), model), logits(model.decoder, model), rtol=1e-4, atol=1e-4
    )
    model.double()
    assert logits(inference_decoder(model), model).dtype == torch.float64
