"""Models by name. A preset is a function that makes a configuration; the table at the end names them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal

from rxt.config import (
    AttentionConfig,
    DecoderConfig,
    EncoderConfig,
    FeedForwardConfig,
    GateConfig,
    MemoryAttentionConfig,
    MoEConfig,
    QueueConfig,
    RxTConfig,
    SpecialTokens,
)
from rxt.errors import UserError


def preset_names() -> list[str]:
    """Every name that :func:`preset` takes."""
    return list(_PRESETS)


def preset(name: str) -> RxTConfig:
    """The configuration called ``name``; an unknown name is an error that lists the near ones."""
    if name not in _PRESETS:
        near = get_close_matches(name, _PRESETS, n=3, cutoff=0.4) or preset_names()
        raise UserError(f"there is no preset {name!r}; did you mean {', '.join(near)}?")
    return _PRESETS[name]()


# --- The published family: the numbers of the model cards. All use symmetric SQA, Hq = Hkv = H / 2. ---


@dataclass(frozen=True)
class _Alpha:
    """What differs between the Alpha models: every other choice is theirs in common."""

    layers: int
    width: int
    heads: int
    decoder_dim: int
    experts: int
    top_k: int
    encoder_dim: int
    vocab_size: int
    max_length: int
    slots: int
    variant: Literal["interlayer", "self-interlayer"]


def _alpha(size: _Alpha) -> RxTConfig:
    attention = AttentionConfig.sqa(size.heads)
    decoder = DecoderConfig(
        vocab_size=size.vocab_size,
        width=size.width,
        layers=size.layers,
        self_attention=attention,
        cross_attention=attention,
        feed_forward=MoEConfig(dim=size.decoder_dim, experts=size.experts, top_k=size.top_k),
        max_length=size.max_length,
    )
    encoder = EncoderConfig(
        vocab_size=size.vocab_size,
        width=size.width,
        layers=size.layers,
        self_attention=attention,
        feed_forward=FeedForwardConfig(dim=size.encoder_dim),
        max_length=size.max_length,
    )
    memory_attention = MemoryAttentionConfig(
        width=size.width, layers=size.layers, slots=size.slots, attention=attention, variant=size.variant
    )
    return RxTConfig(decoder, encoder, memory_attention)


def _alpha_nano() -> RxTConfig:
    """First published as RxT-Alpha Micro."""
    return _alpha(_Alpha(6, 128, 8, 256, 12, 2, 384, 7_500, 256, 256, "interlayer"))


def _alpha_micro() -> RxTConfig:
    """Published as RxT-Alpha Micro Plus."""
    return _alpha(_Alpha(10, 128, 8, 256, 20, 4, 384, 7_500, 256, 256, "self-interlayer"))


def _alpha_mini() -> RxTConfig:
    return _alpha(_Alpha(8, 256, 16, 512, 16, 2, 768, 10_000, 1_024, 1_024, "self-interlayer"))


def _alpha_mini_encoder_base() -> RxTConfig:
    """The Mini with its base encoder of 2025, which reads memory too: 8 query heads and 4 key/value heads."""
    mini = _alpha_mini()
    return replace(
        mini, encoder=replace(mini.encoder, cross_attention=AttentionConfig.sqa(16, query_heads=8, kv_heads=4))
    )


def _alpha_synthetic() -> RxTConfig:
    """RxT-Alpha, Synthetic and Supervised. Its card states the encoder's 784 (13.95M parameters) beside a size of 13.8M
    (768)."""
    return _alpha(_Alpha(12, 256, 16, 384, 36, 6, 784, 20_000, 256, 256, "self-interlayer"))


def _beta() -> RxTConfig:
    """RxT-Beta. Two sizes are our reading: the dense layer's is the encoder's, the shared experts' is the routed ones'.

    With them the decoder has 2.845 billion parameters, 190 million of them active, as its card says (2.85B, A190M).
    """
    width, layers, vocab_size, max_length = 512, 21, 65_536, 8_192
    attention = AttentionConfig.sqa(16)
    gated_attention = replace(attention, gated=True)
    dense = FeedForwardConfig(dim=1_536)
    experts = MoEConfig(dim=192, experts=384, top_k=10, shared_experts=2, weighted_shared=True)
    decoder = DecoderConfig(
        vocab_size=vocab_size,
        width=width,
        layers=layers,
        self_attention=gated_attention,
        cross_attention=gated_attention,
        feed_forward=experts,
        max_length=max_length,
        stateless=(dense, experts, experts, experts),
        head_norm="rms",
    )
    encoder = EncoderConfig(
        vocab_size=vocab_size,
        width=width,
        layers=layers,
        self_attention=gated_attention,
        feed_forward=dense,
        max_length=max_length,
    )
    memory_attention = MemoryAttentionConfig(
        width=width,
        layers=layers,
        slots=4_096,
        attention=attention,
        variant="grouped-self-interlayer",
        groups=3,
        gate=GateConfig(kind="elementwise"),
    )
    tokens = SpecialTokens(think=5, tool_call=6, tool_use=7, internal=8)
    return RxTConfig(decoder, encoder, memory_attention, tokens=tokens, template="beta")


# --- This project's own small models. Dense; the tokenizer decides their final vocabulary. ---


def _small(width: int, layers: int, heads: int, slots: int, vocab_size: int, max_length: int) -> RxTConfig:
    attention = AttentionConfig.sqa(heads)
    feed_forward = FeedForwardConfig(dim=2 * width)
    decoder = DecoderConfig(vocab_size, width, layers, attention, attention, feed_forward, max_length)
    encoder = EncoderConfig(vocab_size, width, layers, attention, feed_forward, max_length)
    return RxTConfig(decoder, encoder, MemoryAttentionConfig(width, layers, slots, attention))


def _pocket() -> RxTConfig:
    """The bundled model: at most 12 MB of weights, trained on one CPU core within an hour.

    Its memory is the plainest that works: slots only write, each through a gate that starts with a time scale of its
    own and with its own slot alone, and all conversations begin with the same, almost empty memory.
    ``docs/history/log.md`` compares it with others.
    """
    attention = AttentionConfig.sqa(4)
    cross_attention = replace(AttentionConfig.mha(2), qk_norm=True)
    write = replace(AttentionConfig.mha(1), qk_norm=True, output_bias=False)
    gate = GateConfig("linear", status="linear", longest=16.0, own_status=2.0)
    vocab_size, width, layers, max_length = 4_096, 64, 3, 128
    feed_forward = FeedForwardConfig(dim=3 * width)
    return RxTConfig(
        DecoderConfig(vocab_size, width, layers, attention, cross_attention, feed_forward, max_length),
        EncoderConfig(vocab_size, width, layers, attention, feed_forward, max_length),
        MemoryAttentionConfig(width, layers, slots=64, attention=write, variant="simple", gate=gate),
        memory_init="normal",
        memory_seed=7,
    )


def _open() -> RxTConfig:
    """For an open world, at most 24 MB in float16."""
    return _copying(width=192, max_length=192)


def _hybrid() -> RxTConfig:
    """For thinking and tools: of the Beta template, with room for a few tools in an interaction."""
    tokens = SpecialTokens(think=5, tool_call=6, tool_use=7, internal=8)
    return replace(_copying(width=128, max_length=320), tokens=tokens, template="beta")


def _copying(width: int, max_length: int) -> RxTConfig:
    """It can begin able to copy (:mod:`rxt.model.copying_start`): the first layers can look at the token before, by a
    bias of queries and keys, and slots hold normed tokens, in a queue of the newest 24 interactions."""
    vocab_size, layers, places, place = 2_048, 4, 24, 32
    attention = replace(AttentionConfig.mha(4), input_bias=True)
    cross_attention = replace(AttentionConfig.mha(4), qk_norm=True)
    write = replace(AttentionConfig.mha(1), qk_norm=True, output_bias=False)
    feed_forward = FeedForwardConfig(dim=3 * width)
    return RxTConfig(
        DecoderConfig(vocab_size, width, layers, attention, cross_attention, feed_forward, max_length, slot_norm=False),
        EncoderConfig(vocab_size, width, layers, attention, feed_forward, max_length),
        MemoryAttentionConfig(
            width,
            layers,
            slots=places * place + 32,
            attention=write,
            variant="queue",
            gate=GateConfig("linear", status="linear", longest=16.0),
            queue=QueueConfig(places, place),
        ),
        memory_init="zeros",
    )


def _babi() -> RxTConfig:
    """The bundled bAbI model: near to the pocket model, but its encoder reads memory too.

    What a line means may depend on what was told before ("Mary dropped the football" leaves it where Mary is by then).
    """
    attention = AttentionConfig.mha(4)
    cross_attention = replace(attention, qk_norm=True)
    write = replace(AttentionConfig.mha(2), qk_norm=True, output_bias=False)
    gate = GateConfig("linear", status="linear", longest=16.0, own_status=4.0)
    vocab_size, width, layers, max_length = 1_024, 64, 3, 32
    feed_forward = FeedForwardConfig(dim=2 * width)
    return RxTConfig(
        DecoderConfig(vocab_size, width, layers, attention, cross_attention, feed_forward, max_length),
        EncoderConfig(vocab_size, width, layers, attention, feed_forward, max_length, cross_attention),
        MemoryAttentionConfig(width, layers, slots=32, attention=write, variant="simple", gate=gate),
        memory_init="normal",
        memory_seed=7,
    )


def _smoke() -> RxTConfig:
    """For tests: every stage trains in seconds."""
    return _small(width=32, layers=2, heads=4, slots=8, vocab_size=1_024, max_length=64)


_PRESETS: dict[str, Callable[[], RxTConfig]] = {
    "pocket": _pocket,
    "open": _open,
    "hybrid": _hybrid,
    "babi": _babi,
    "smoke": _smoke,
    "rxt-alpha-nano": _alpha_nano,
    "rxt-alpha-micro": _alpha_micro,
    "rxt-alpha-mini": _alpha_mini,
    "rxt-alpha": _alpha_synthetic,
    "rxt-beta": _beta,
    "rxt-alpha-mini-encoder-base": _alpha_mini_encoder_base,
    "rxt-alpha-micro-decoder-sft": _alpha_nano,  # the decoder of this preset
}
