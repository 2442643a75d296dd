"""What a baseline is made of: frozen, validated dataclasses. This file needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import ConfigDict

from rxt.config import STRICT, AttentionConfig, DecoderConfig, FeedForward, Norm, RxTConfig, SpecialTokens


@dataclass(frozen=True)
class DecoderOnlyConfig:
    """A plain causal language model: embedding, layers of self-attention and feed-forward, norm, head."""

    vocab_size: int
    width: int
    layers: int
    attention: AttentionConfig
    feed_forward: FeedForward
    max_length: int
    """The longest history that is read, in tokens. The layers take any length: positions are rotary."""
    norm: Norm = "rms"
    head_norm: Norm | None = "rms"
    """Before the head: layers that norm only what they read leave their sum as loud as it grew."""
    tokens: SpecialTokens = field(default_factory=SpecialTokens)

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        # The same rules as the decoder's, which says where they are broken.
        DecoderConfig(self.vocab_size, self.width, self.layers, self.attention, self.attention, self.feed_forward, self.max_length)

    @classmethod
    def like(cls, config: RxTConfig, layers: int, max_length: int) -> DecoderOnlyConfig:
        """With the vocabulary, width, self-attention and feed-forwards of a Reactive Transformer's decoder."""
        decoder = config.decoder
        return cls(
            decoder.vocab_size,
            decoder.width,
            layers,
            decoder.self_attention,
            decoder.feed_forward,
            max_length,
            decoder.norm,
            decoder.head_norm or decoder.norm,
            config.tokens,
        )
