"""How many parameters a configuration has, worked out on paper: no torch, no weights, any size in microseconds."""

from __future__ import annotations

from dataclasses import dataclass

from rxt.config import (
    AttentionConfig,
    BiasMode,
    DecoderConfig,
    EncoderConfig,
    FeedForward,
    GateConfig,
    MemoryAttentionConfig,
    MoEConfig,
    Norm,
    RxTConfig,
)


@dataclass(frozen=True)
class Counts:
    """Parameters by part. ``decoder`` and ``encoder`` each include the embedding table that they share."""

    decoder: int
    decoder_active: int
    """What one token uses: the decoder without the routed experts that its router did not choose."""
    encoder: int
    memory_attention: int
    mlm_head: int
    """Used in training only, and in no total."""
    embedding: int
    memory: int
    """L * S * D: the numbers of one conversation's memory. A value, not parameters."""

    @property
    def total(self) -> int:
        """The whole model, the shared embedding once."""
        return self.decoder + self.encoder - self.embedding + self.memory_attention


def parameter_counts(config: RxTConfig) -> Counts:
    """Count the parameters of every part of ``config``."""
    decoder, width = config.decoder, config.decoder.width
    return Counts(
        decoder=_decoder(decoder, active=False),
        decoder_active=_decoder(decoder, active=True),
        encoder=_encoder(config.encoder),
        memory_attention=_memory_attention(config.memory_attention),
        mlm_head=_linear(width, width) + 2 * width + _linear(width, decoder.vocab_size),
        embedding=decoder.vocab_size * width,
        memory=config.memory_attention.layers * config.memory_attention.slots * width,
    )


def attention_projections(config: AttentionConfig, width: int) -> tuple[int, int]:
    """Weights that every query goes through (q, gate, out), and those that everything looked up goes through (k, v)."""
    head = width // config.heads
    asking = config.query_heads + config.output_heads * (2 if config.gated else 1)
    return width * head * asking, 2 * width * head * config.kv_heads


def feed_forward_parameters(config: FeedForward, width: int) -> int:
    """Parameters of one feed-forward that a token uses."""
    return _feed_forward(config, width, active=True)


def routed_expert(config: MoEConfig, width: int) -> int:
    """Parameters of one routed expert, with biases of its own."""
    return _experts(1, config.dim, config.gated, config.bias if config.bias == "local" else "off", width, 1)


def _linear(inputs: int, outputs: int, bias: bool = True) -> int:
    return inputs * outputs + (outputs if bias else 0)


def _norm(kind: Norm, width: int) -> int:
    return 2 * width if kind == "layer" else width


def _attention(config: AttentionConfig, width: int) -> int:
    head = width // config.heads
    output = config.output_heads * head
    projections = width * head * (config.query_heads + 2 * config.kv_heads)
    gate = width * output if config.gated else 0
    return projections + gate + _linear(output, width, config.output_bias) + (2 * head if config.qk_norm else 0)


def _cross_attention(config: AttentionConfig, norm: Norm, width: int) -> int:
    """The memory cross-attention block: the attention, the norm of its queries and the norm of the memory."""
    return _attention(config, width) + 2 * _norm(norm, width)


def _experts(experts: int, dim: int, gated: bool, bias: BiasMode, width: int, active: int) -> int:
    inner = 2 * dim if gated else dim
    one = inner * width + dim * width + (inner + width if bias == "local" else 0)
    return min(experts, active) * one + (width if bias == "global" and experts else 0)


def _feed_forward(config: FeedForward, width: int, active: bool) -> int:
    """Parameters of one feed-forward; with ``active`` those that one token uses."""
    if not isinstance(config, MoEConfig):
        inner = 2 * config.dim if config.gated else config.dim
        return _linear(width, inner) + _linear(config.dim, width)
    shared = config.shared_experts
    routed = _experts(
        config.experts, config.dim, config.gated, config.bias, width, config.top_k if active else config.experts
    )
    always_on = _experts(shared, config.shared_dim or config.dim, config.gated, config.shared_bias, width, shared)
    shared_gate = shared * width if shared > 1 else 0
    return config.experts * width + routed + always_on + shared_gate


def _decoder(config: DecoderConfig, active: bool) -> int:
    width = config.width
    stateless_part = _attention(config.self_attention, width) + 2 * _norm(config.norm, width)
    memory_layer = (
        stateless_part
        + _cross_attention(config.cross_attention, config.norm, width)
        + _feed_forward(config.feed_forward, width, active)
    )
    stateless = (*config.stateless, *config.final_stateless)
    return (
        config.vocab_size * width
        + config.layers * memory_layer
        + sum(stateless_part + _feed_forward(feed_forward, width, active) for feed_forward in stateless)
        + (_norm(config.head_norm, width) if config.head_norm else 0)
        + _linear(width, config.vocab_size)
    )


def _encoder(config: EncoderConfig) -> int:
    width = config.width
    layer = (
        _attention(config.self_attention, width)
        + 2 * _norm(config.norm, width)
        + _feed_forward(config.feed_forward, width, active=False)
    )
    if config.cross_attention is not None:
        layer += _cross_attention(config.cross_attention, config.norm, width)
    return config.vocab_size * width + config.layers * layer


def _gate(config: GateConfig, slots: int, width: int) -> int:
    if config.kind in ("ungated", "replace"):
        return 0
    gates = slots if config.per_slot else 1
    weights = _linear(slots, gates) if config.kind == "linear" else gates
    reads_status = config.kind != "static" and config.status == "linear"
    return weights + (_linear(width, 1) if reads_status else 0)


def _memory_attention(config: MemoryAttentionConfig) -> int:
    width = config.width
    norm = (2 * width if config.norm.kind == "layer" else width) + (1 if config.norm.mixed else 0)
    gate = _gate(config.gate, config.slots, width)
    layer = _attention(config.attention, width) + 2 * norm + gate
    if config.variant != "simple":
        layer += _attention(config.consolidation or config.attention, width) + norm + (gate if config.self_gate else 0)
    if config.variant in ("self-interlayer", "grouped-self-interlayer"):
        layer += gate
    mean_norm = 0 if config.variant in ("simple", "self") else norm
    return config.layers * layer + mean_norm
