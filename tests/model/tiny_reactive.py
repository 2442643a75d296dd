"""Tiny models that between them use every option."""

from __future__ import annotations

from dataclasses import replace

import torch
from naive_twins import randomize
from torch import Tensor

from rxt.config import (
    AttentionConfig,
    DecoderConfig,
    EncoderConfig,
    FeedForwardConfig,
    GateConfig,
    MemoryAttentionConfig,
    MemoryNormConfig,
    MoEConfig,
    RxTConfig,
)
from rxt.pretrained import ReactiveTransformer

VOCABULARY, WIDTH, LAYERS, SLOTS, LENGTH = 13, 16, 2, 3, 16
ATTENTION = AttentionConfig.sqa(4)
DENSE = FeedForwardConfig(6)
MOE = MoEConfig(4, experts=5, top_k=2)
SHARED_MOE = MoEConfig(
    4, experts=5, top_k=2, bias="global", shared_experts=2, shared_dim=6, shared_bias="global", weighted_shared=True
)

DECODER = DecoderConfig(VOCABULARY, WIDTH, LAYERS, ATTENTION, ATTENTION, DENSE, LENGTH)
ENCODER = EncoderConfig(VOCABULARY, WIDTH, LAYERS, ATTENTION, DENSE, LENGTH)
MEMORY = MemoryAttentionConfig(WIDTH, LAYERS, SLOTS, ATTENTION)
GATED = AttentionConfig(4, 4, 2, gated=True, qk_norm=True, output_bias=False, rope_base=100.0)

DECODERS = {
    "plain": DECODER,
    "moe": replace(DECODER, feed_forward=MOE),
    "stateless": replace(DECODER, stateless=(DENSE, MOE), final_stateless=(MOE, DENSE)),
    "head rms": replace(DECODER, head_norm="rms"),
    "head layer": replace(DECODER, head_norm="layer", norm="layer"),
    "other heads": replace(DECODER, self_attention=GATED, cross_attention=AttentionConfig(2, 1, 2, rope_base=50.0)),
    "beta-like": replace(
        DECODER,
        self_attention=GATED,
        cross_attention=GATED,
        feed_forward=SHARED_MOE,
        stateless=(DENSE,),
        final_stateless=(SHARED_MOE,) * 2,
        head_norm="rms",
    ),
}
ENCODERS = {
    "plain": ENCODER,
    "layer norm": replace(ENCODER, norm="layer", self_attention=GATED),
    "reads memory": replace(ENCODER, cross_attention=AttentionConfig(2, 2, 1, rope_base=50.0)),
    "moe": replace(ENCODER, feed_forward=MOE),
}
REACTIVE = {
    "plain": RxTConfig(DECODER, ENCODER, MEMORY),
    "moe": RxTConfig(
        DECODERS["moe"], ENCODERS["moe"], replace(MEMORY, variant="interlayer", gate=GateConfig("static", init=0.5))
    ),
    "mixed norms": RxTConfig(
        DECODERS["head layer"],
        ENCODERS["layer norm"],
        replace(MEMORY, variant="self", norm=MemoryNormConfig("ema-rms", mixed=True)),
    ),
    "encoder reads memory": RxTConfig(
        DECODER, ENCODERS["reads memory"], replace(MEMORY, variant="simple", gate=GateConfig("ungated"))
    ),
    "beta-like": RxTConfig(
        DECODERS["beta-like"],
        ENCODERS["plain"],
        replace(
            MEMORY,
            variant="grouped-self-interlayer",
            groups=2,
            gate=GateConfig("elementwise", status="linear"),
            attention=GATED,
        ),
    ),
}


def make(config: RxTConfig = REACTIVE["plain"], double: bool = True) -> ReactiveTransformer:
    """A random model in evaluation mode, every weight drawn; float64 unless told otherwise."""
    model = ReactiveTransformer(config).eval()
    randomize(model, 0.4)
    return model if double else model.float()


def tokens(*shape: int) -> Tensor:
    return torch.randint(VOCABULARY, shape)


def ragged(lengths: list[int]) -> tuple[Tensor, Tensor]:
    """Random ids (B, T) of rows with these lengths, padded on the right, and their mask."""
    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
    return tokens(len(lengths), max(lengths)) * mask, mask


def assert_near(found: Tensor, expected: Tensor, atol: float = 1e-11) -> None:
    torch.testing.assert_close(found, expected, rtol=atol, atol=atol)
