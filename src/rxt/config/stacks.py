"""The two stacks of layers: the generator-decoder and the memory encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict

from rxt.config.attention import AttentionConfig
from rxt.config.checks import STRICT, at_least_one, require
from rxt.config.feed_forward import FeedForward

Norm = Literal["rms", "layer"]


@dataclass(frozen=True)
class DecoderConfig:
    """The generator-decoder: embedding, stateless layers, L memory layers, final stateless layers, head."""

    vocab_size: int
    width: int
    layers: int
    """L: layers that read memory."""
    self_attention: AttentionConfig
    cross_attention: AttentionConfig
    feed_forward: FeedForward
    max_length: int
    """T: the longest interaction, in tokens."""
    stateless: tuple[FeedForward, ...] = ()
    """Layers without memory before the L memory layers, one feed-forward each."""
    final_stateless: tuple[FeedForward, ...] = ()
    norm: Norm = "rms"
    head_norm: Norm | None = None

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        attentions = {"self_attention": self.self_attention, "cross_attention": self.cross_attention}
        check_stack("decoder", self.vocab_size, self.width, self.layers, self.max_length, attentions)


@dataclass(frozen=True)
class EncoderConfig:
    """The memory encoder: the shared embedding and L layers; every layer's output is a result."""

    vocab_size: int
    width: int
    layers: int
    self_attention: AttentionConfig
    feed_forward: FeedForward
    max_length: int
    cross_attention: AttentionConfig | None = None
    """Memory cross-attention, as some early encoders have it."""
    norm: Norm = "rms"

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        attentions = {"self_attention": self.self_attention}
        if self.cross_attention is not None:
            attentions["cross_attention"] = self.cross_attention
        check_stack("encoder", self.vocab_size, self.width, self.layers, self.max_length, attentions)


def check_stack(
    owner: str, vocab_size: int, width: int, layers: int, max_length: int, attentions: dict[str, AttentionConfig]
) -> None:
    at_least_one(owner, vocab_size=vocab_size, width=width, layers=layers, max_length=max_length)
    for name, attention in attentions.items():
        require(width % attention.heads == 0, f"{owner}.{name}.heads", f"{attention.heads} must divide width {width}")
        require(
            (width // attention.heads) % 2 == 0,
            f"{owner}.{name}.heads",
            f"{attention.heads} leave an odd head size; RoPE turns pairs",
        )
