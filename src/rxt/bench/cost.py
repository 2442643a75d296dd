"""What a computation takes at least. Its matrix products are counted by PyTorch, on modules that have shapes alone.

A multiply–add counts as two operations. Norms, biases, activations, rotations and softmax are left out: they are next
to nothing beside the matrix products. So a bound made of these numbers is a little too high, never too low.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from rxt.config import AttentionConfig, FeedForward, FeedForwardConfig, MoEConfig, RxTConfig
from rxt.model.decoder import Decoder
from rxt.model.encoder import make_encoder
from rxt.model.heads import MLMHead
from rxt.model.layers import make_embedding
from rxt.model.memory_attention import MemoryAttention
from rxt.model.parameters import feed_forwards, parameter_counts, routed_expert

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
    layers = feed_forwards(decoder)
    active = counts.decoder_active - counts.embedding
    others = sum(
        _more_experts(layer, batch_size) * routed_expert(layer, decoder.width)
        for layer in layers
        if isinstance(layer, MoEConfig)
    )
    own, cross, slots = decoder.self_attention, decoder.cross_attention, config.memory_attention.slots
    looked_up = len(layers) * length * _head(own, decoder.width) * own.kv_heads
    looked_up += len(decoder.reading) * slots * _head(cross, decoder.width) * cross.kv_heads
    return Work(
        batch_size * _step(config, length),
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
    forward = _encode(config, tokens) + masked * _guess(config) + _decode(config, tokens, tokens, tokens - 1)
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
    return config.head_size(width)


def _products(run: Callable[[], object]) -> int:
    """Operations of the matrix products in ``run``."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def _active(config: FeedForward) -> FeedForwardConfig:
    """The dense block that makes as many products for a token as a mixture does, but for its router."""
    if isinstance(config, FeedForwardConfig):
        return config
    shared = config.shared_experts * (config.shared_dim or config.dim)
    return FeedForwardConfig(config.top_k * config.dim + shared, config.activation, config.gated)


def _routing(layers: list[FeedForward], width: int) -> int:
    """Operations with which the mixtures among ``layers`` weigh their experts, for one token."""
    mixtures = [layer for layer in layers if isinstance(layer, MoEConfig)]
    gates = sum(mixture.experts + (mixture.shared_experts if mixture.shared_experts > 1 else 0) for mixture in mixtures)
    return 2 * width * gates


def _embedding(config: RxTConfig) -> nn.Embedding:
    return make_embedding(config.decoder.vocab_size, config.decoder.width)


def _decoder(config: RxTConfig) -> Decoder:
    """A decoder of shapes, in which every token uses all there is."""
    decoder = config.decoder
    dense = replace(
        decoder,
        feed_forward=_active(decoder.feed_forward),
        stateless=tuple(map(_active, decoder.stateless)),
        final_stateless=tuple(map(_active, decoder.final_stateless)),
    )
    return Decoder(dense, _embedding(config))


def _ids(tokens: int) -> Tensor:
    return torch.zeros(1, tokens, dtype=torch.long)


def _slots(config: RxTConfig, slots: int | None = None) -> Tensor:
    """One conversation's memory (L, 1, S, D), or as many encoded tokens in its stead."""
    layers, own, width = config.memory_shape
    return torch.empty(layers, 1, own if slots is None else slots, width)


def _encode(config: RxTConfig, tokens: int) -> float:
    layer = config.encoder.feed_forward
    with torch.device("meta"):
        decoder = _decoder(config)
        encoder = make_encoder(replace(config.encoder, feed_forward=_active(layer)), decoder)
        slots = _slots(config) if encoder.reads_memory else None
        products = _products(lambda: encoder(_ids(tokens), slots=slots))
    return products + tokens * _routing([layer] * config.encoder.layers, config.encoder.width)


def _write(config: RxTConfig, tokens: int) -> float:
    with torch.device("meta"):
        memory_attention = MemoryAttention(config.memory_attention).eval()
        return _products(lambda: memory_attention(_slots(config), _slots(config, tokens)))


def _guess(config: RxTConfig) -> float:
    """One masked token."""
    with torch.device("meta"):
        head = MLMHead(config.decoder.width, config.decoder.vocab_size)
        return _products(lambda: head(torch.empty(1, config.decoder.width)))


def _decode(config: RxTConfig, tokens: int, slots: int, targets: int) -> float:
    """A whole text at once, each token looking at those before it."""
    with torch.device("meta"):
        decoder, memory = _decoder(config), _slots(config, slots)
        once, twice, thrice = (_products(partial(decoder.hidden, _ids(times * tokens), memory)) for times in (1, 2, 3))
        logits = _products(lambda: decoder.head(torch.empty(1, config.decoder.width)))
    # What grows with the square of the text is its looking at itself; the half that looks ahead is not needed.
    ahead = (thrice - 2 * twice + once) / 4
    return once - ahead + tokens * _routing(feed_forwards(config.decoder), config.decoder.width) + targets * logits


def _step(config: RxTConfig, length: float) -> float:
    """One token that looks at its memory, which has been projected, and at ``length`` tokens of its turn."""

    def with_cache(entries: int) -> int:
        cache = decoder.new_cache(1, entries)
        return _products(lambda: decoder.step(_ids(1), _ids(1), memory, cache))

    with torch.device("meta"):
        decoder = _decoder(config)
        memory = decoder.project_memory(_slots(config))
        one, two = with_cache(1), with_cache(2)
    return one + (length - 1) * (two - one) + _routing(feed_forwards(config.decoder), config.decoder.width)
