"""Parameters counted on paper are those that the modules have, whatever the options."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch

from rxt.config import (
    VARIANTS,
    AttentionConfig,
    BiasMode,
    DecoderConfig,
    EncoderConfig,
    FeedForward,
    FeedForwardConfig,
    GateConfig,
    GateKind,
    MemoryAttentionConfig,
    MemoryNormConfig,
    MoEConfig,
    QueueConfig,
    RxTConfig,
)
from rxt.model.parameters import parameter_counts
from rxt.pretrained import ReactiveTransformer

ATTENTION = AttentionConfig(4, 4, 2, gated=True, qk_norm=True, output_bias=False)
DENSE = FeedForwardConfig(8)
WRITE = MemoryAttentionConfig(width=16, layers=2, slots=6, attention=AttentionConfig.sqa(4))


def tiny(
    feed_forward: FeedForward = DENSE, attention: AttentionConfig = ATTENTION, memory: MemoryAttentionConfig = WRITE
) -> RxTConfig:
    decoder = DecoderConfig(
        vocab_size=20,
        width=16,
        layers=2,
        self_attention=attention,
        cross_attention=AttentionConfig(4, 1, 2),
        feed_forward=feed_forward,
        max_length=8,
        stateless=(FeedForwardConfig(12, gated=False),),
        final_stateless=(feed_forward,),
        norm="layer",
        head_norm="layer",
    )
    encoder = EncoderConfig(
        vocab_size=20,
        width=16,
        layers=2,
        self_attention=attention,
        feed_forward=feed_forward,
        max_length=8,
        cross_attention=attention,
    )
    return RxTConfig(decoder, encoder, memory)


def assert_counted(config: RxTConfig) -> None:
    with torch.device("meta"):
        model = ReactiveTransformer(config)
    counts = parameter_counts(config)
    for part in ("decoder", "encoder", "memory_attention"):
        assert sum(parameter.numel() for parameter in model.get_submodule(part).parameters()) == getattr(
            counts, part
        ), part


@pytest.mark.parametrize(
    "attention", [ATTENTION, AttentionConfig.mha(4), AttentionConfig.mqa(2), AttentionConfig(4, 1, 4, gated=True)]
)
def test_attentions(attention: AttentionConfig) -> None:
    assert_counted(tiny(attention=attention))


@pytest.mark.parametrize("bias", get_args(BiasMode))
@pytest.mark.parametrize("shared", [0, 1, 3])
@pytest.mark.parametrize("gated", [True, False])
def test_mixtures(bias: BiasMode, shared: int, gated: bool) -> None:
    assert_counted(
        tiny(MoEConfig(8, 4, 2, gated=gated, bias=bias, shared_experts=shared, shared_dim=5, shared_bias=bias))
    )


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "tokens"])  # that one goes with a base
@pytest.mark.parametrize("self_gate", [True, False])
def test_memory_variants(variant: str, self_gate: bool) -> None:
    groups = 2 if VARIANTS[variant].needs_groups else None
    memory = replace(
        WRITE,
        variant=variant,
        groups=groups,
        queue=QueueConfig(2, 2) if VARIANTS[variant].needs_queue else None,
        self_gate=self_gate,
        consolidation=AttentionConfig.mha(4),
    )
    assert_counted(tiny(memory=memory))


@pytest.mark.parametrize("kind", get_args(GateKind))
@pytest.mark.parametrize("per_slot", [True, False])
@pytest.mark.parametrize("status", ["mean", "linear"])
def test_gates(kind: GateKind, per_slot: bool, status: str) -> None:
    gate = GateConfig(kind, per_slot=per_slot, status="mean" if status == "mean" else "linear")
    assert_counted(tiny(memory=replace(WRITE, gate=gate)))


@pytest.mark.parametrize("kind", ["rms", "layer", "ema-rms"])
@pytest.mark.parametrize("mixed", [True, False])
def test_memory_norms(kind: str, mixed: bool) -> None:
    norms = {
        "rms": MemoryNormConfig("rms", mixed),
        "layer": MemoryNormConfig("layer", mixed),
        "ema-rms": MemoryNormConfig("ema-rms", mixed),
    }
    assert_counted(tiny(memory=replace(WRITE, norm=norms[kind])))
