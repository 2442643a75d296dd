"""What a computation takes at least, worked out from the configuration: no torch, no weights.

A multiply–add counts as two operations. Norms, activations, rotations and softmax are left out: they are next to
nothing beside the matrix products. So a bound made of these numbers is a little too high, never too low.
"""

from __future__ import annotations

from dataclasses import dataclass

from rxt.config import AttentionConfig, MemoryAttentionConfig, MoEConfig, RxTConfig
from rxt.parameters import attention_projections, feed_forward_parameters, parameter_counts, routed_expert

BACKWARD = 3
"""A training step costs so many forward passes: the backward pass makes two products for each one."""
ADAMW_PASSES = 11
"""Times that a float of every trained parameter is read or written: the gradient written, read for its norm, scaled in
place (2); then AdamW reads weight, gradient and both moments and writes all but the gradient (7)."""


@dataclass(frozen=True)
class Work:
    """Operations, and bytes that must be read or written at least once."""

    flops: float
    bytes: float

    def __add__(self, other: Work) -> Work:
        return Work(self.flops + other.flops, self.bytes + other.bytes)

    def __mul__(self, times: float) -> Work:
        return Work(self.flops * times, self.bytes * times)


def decode_step(
    config: RxTConfig, batch_size: int, length: float, number_bytes: float = 4, weight_bytes: float = 4
) -> Work:
    """One token for each of B conversations that hold ``length`` tokens of their turns; their memories have been
    projected.

    Weights are read once for all; of the routed experts those that some conversation's token chooses, on average, when
    every expert is as likely as another. ``weight_bytes`` are those of one weight, ``number_bytes`` of all other
    numbers.
    """
    decoder, counts = config.decoder, parameter_counts(config)
    layers = [*decoder.stateless, *[decoder.feed_forward] * decoder.layers, *decoder.final_stateless]
    active = counts.decoder_active - counts.embedding
    others = sum(
        _more_experts(layer, batch_size) * routed_expert(layer, decoder.width)
        for layer in layers
        if isinstance(layer, MoEConfig)
    )
    own, cross, slots = decoder.self_attention, decoder.cross_attention, config.memory_attention.slots
    looked_up = len(layers) * length * _head(own, decoder.width) * own.kv_heads
    looked_up += decoder.layers * slots * _head(cross, decoder.width) * cross.kv_heads
    scores = len(layers) * _look_up(own, decoder.width, 1, length) + decoder.layers * _look_up(
        cross, decoder.width, 1, slots
    )
    return Work(
        batch_size * (2 * active + scores),
        weight_bytes * (active + others) + number_bytes * batch_size * (decoder.width + 2 * looked_up),
    )


def memorize(config: RxTConfig, batch_size: int, tokens: int, number_bytes: float = 4) -> Work:
    """Encode B interactions of ``tokens`` and write them into their memories."""
    counts = parameter_counts(config)
    weights = counts.encoder - counts.embedding + counts.memory_attention
    read = weights + batch_size * (tokens * config.encoder.width + 2 * counts.memory)
    return Work(batch_size * (_encode(config, tokens) + _write(config, tokens)), number_bytes * read)


def joint_step(config: RxTConfig, rows: int, tokens: int, masked: float, number_bytes: float = 4) -> Work:
    """One update of joint training on rows of ``tokens``: all but the first are targets, and a share of them is
    masked."""
    counts = parameter_counts(config)
    width, vocab_size = config.decoder.width, config.decoder.vocab_size
    guesses = 2 * masked * (width * width + width * vocab_size)
    forward = _encode(config, tokens) + guesses + _decode(config, tokens, tokens, tokens - 1)
    trained = counts.decoder + counts.encoder - counts.embedding + counts.mlm_head
    return Work(BACKWARD * rows * forward, ADAMW_PASSES * number_bytes * trained)


def memory_aware_step(
    config: RxTConfig, conversations: int, turns: int, tokens: int, targets: int, number_bytes: float = 4
) -> Work:
    """One update of memory-aware training: every turn decoded, every turn but the last memorized, the gradient through
    all."""
    counts = parameter_counts(config)
    decoded = _decode(config, tokens, config.memory_attention.slots, targets)
    forward = turns * decoded + (turns - 1) * (_encode(config, tokens) + _write(config, tokens))
    return Work(BACKWARD * conversations * forward, ADAMW_PASSES * number_bytes * counts.total)


def _more_experts(layer: MoEConfig, tokens: int) -> float:
    """Routed experts that several tokens are expected to choose, beyond those that one of them does."""
    return layer.experts * (1 - (1 - layer.top_k / layer.experts) ** tokens) - layer.top_k


def _head(config: AttentionConfig, width: int) -> int:
    return width // config.heads


def _look_up(config: AttentionConfig, width: int, queries: float, sources: float) -> float:
    """Scores and weighted sums."""
    return 4 * queries * sources * config.output_heads * _head(config, width)


def _attention(config: AttentionConfig, width: int, queries: float, sources: float) -> float:
    asking, offering = attention_projections(config, width)
    return 2 * (queries * asking + sources * offering) + _look_up(config, width, queries, sources)


def _encode(config: RxTConfig, tokens: int) -> float:
    encoder, width = config.encoder, config.encoder.width
    layer = _attention(encoder.self_attention, width, tokens, tokens)
    layer += 2 * tokens * feed_forward_parameters(encoder.feed_forward, width)
    if encoder.cross_attention is not None:
        layer += _attention(encoder.cross_attention, width, tokens, config.memory_attention.slots)
    return encoder.layers * layer


def _decode(config: RxTConfig, tokens: int, slots: int, targets: int) -> float:
    """A whole text at once, each token looking at those before it."""
    decoder, width = config.decoder, config.decoder.width
    own = decoder.self_attention
    reading = _attention(own, width, tokens, tokens) - _look_up(own, width, tokens, tokens) / 2
    stateless = sum(
        reading + 2 * tokens * feed_forward_parameters(each, width)
        for each in (*decoder.stateless, *decoder.final_stateless)
    )
    layer = reading + _attention(decoder.cross_attention, width, tokens, slots)
    layer += 2 * tokens * feed_forward_parameters(decoder.feed_forward, width)
    return stateless + decoder.layers * layer + 2 * targets * width * decoder.vocab_size


def _write(config: RxTConfig, tokens: int) -> float:
    memory: MemoryAttentionConfig = config.memory_attention
    slots, width = memory.slots, memory.width
    layer, gates = _attention(memory.attention, width, slots, tokens), 1
    if memory.variant != "simple":
        layer += _attention(memory.consolidation or memory.attention, width, slots, slots)
        gates += 1 if memory.self_gate else 0
    if memory.variant in ("self-interlayer", "grouped-self-interlayer"):
        gates += 1
    if memory.gate.kind == "linear":
        layer += gates * 2 * slots * (slots if memory.gate.per_slot else 1)
    return memory.layers * layer
