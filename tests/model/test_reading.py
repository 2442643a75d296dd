"""The decoder as generation reads it: the same logits, what it shares, and when it is made anew."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rxt.config import AttentionConfig, DecoderConfig, EncoderConfig, FeedForwardConfig, MemoryAttentionConfig, MoEConfig, RxTConfig
from rxt.model.decoder import Decoder
from rxt.model.reactive import ReactiveTransformer

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
    reader = model.reader()
    torch.testing.assert_close(logits(reader, model), logits(model.decoder, model), rtol=1e-12, atol=1e-12)
    assert list(model.state_dict()) == names
    linear = {f"{name}.weight" for name, module in reader.named_modules() if isinstance(module, nn.Linear)}
    assert "head.weight" in linear
    originals = dict(model.decoder.named_parameters())
    for name, parameter in reader.named_parameters():
        assert (parameter.data_ptr() == originals[name].data_ptr()) == (name not in linear), name
        if name in linear:
            assert parameter.stride() == (1, parameter.shape[0]), "column by column"
            assert originals[name].is_contiguous()


def test_it_is_made_anew_after_a_weight_has_changed_and_not_before() -> None:
    model = ReactiveTransformer(CONFIG).eval()
    reader = model.reader()
    assert model.reader() is reader
    with torch.no_grad():
        model.decoder.head.weight.mul_(2)
    assert model.reader() is not reader
    reader = model.reader()
    assert model.train().reader() is model.decoder, "training reads the weights themselves"
    for parameter in model.parameters():
        parameter.data.mul_(1.5)  # as fused optimisers do, without a trace
    model.eval()
    assert model.reader() is not reader
    torch.testing.assert_close(logits(model.reader(), model), logits(model.decoder, model), rtol=1e-4, atol=1e-4)
    model.double()
    assert logits(model.reader(), model).dtype == torch.float64
