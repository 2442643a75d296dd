"""The two stacks of layers: the generator-decoder and the memory encoder."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

from pydantic import ConfigDict

from rxt.config.attention import AttentionConfig
from rxt.config.checks import STRICT, at_least_one, check_eps, require
from rxt.config.feed_forward import FeedForward

Norm = Literal["rms", "layer"]


@dataclass(frozen=True)
class DecoderConfig:
    """The generator-decoder: embedding, stateless layers, layers with memory, final stateless layers, head."""

    vocab_size: int
    width: int
    layers: int
    """Layers between the stateless ones. All of them read memory, L = layers, unless ``memory_layers`` says which."""
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
    norm_eps: float | None = None
    """ε of all norms; by default the smallest of the numbers' type."""
    head_bias: bool = True
    tied_head: bool = False
    """The head's matrix is the embedding table."""
    memory_layers: tuple[int, ...] | None = None
    """The L of the ``layers`` that read memory, counted from 0; by default all."""
    read_scale: float | None = None
    """Every read's output is multiplied by a learned vector (D,) that starts with this; by default there is none."""
    slot_norm: bool = True
    """Norm the slots before they are read. Off where slots hold what has been normed."""
    place: int | None = None
    """Slots hold tokens, so many an interaction, and self-attention looks at them as at its own tokens: layers that
    read memory have no cross-attention. None: they have one."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        attentions = {"self_attention": self.self_attention, "cross_attention": self.cross_attention}
        check_stack("decoder", self.vocab_size, self.width, self.layers, self.max_length, attentions)
        check_eps("decoder", self.norm_eps)
        if self.memory_layers is not None:
            where = "decoder.memory_layers"
            rising = all(first < second for first, second in pairwise(self.memory_layers))
            require(rising, where, f"must rise, found {list(self.memory_layers)}")
            inside = all(0 <= layer < self.layers for layer in self.memory_layers)
            require(inside, where, f"must lie in 0 … {self.layers - 1}, found {list(self.memory_layers)}")
        if self.place is not None:
            at_least_one("decoder", place=self.place)
        both = self.tied_head and self.head_bias
        require(not both, "decoder.head_bias", "does not go with tied_head; turn one of them off")

    @property
    def reading(self) -> tuple[int, ...]:
        """The indices of the L layers that read memory, among ``layers``."""
        return tuple(range(self.layers)) if self.memory_layers is None else self.memory_layers


@dataclass(frozen=True)
class EncoderConfig:
    """The memory encoder: the shared embedding and L layers; every layer's output is a result.

    ``shared`` ones have no layers of their own.
    """

    vocab_size: int
    width: int
    layers: int
    self_attention: AttentionConfig
    feed_forward: FeedForward
    max_length: int
    cross_attention: AttentionConfig | None = None
    """Memory cross-attention, as some early encoders have it."""
    norm: Norm = "rms"
    shared: bool = False
    """It is the decoder's own layers, without memory, and has no weights: the normed input of each layer that reads
    memory is a result. All else that stands here is the decoder's."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        attentions = {"self_attention": self.self_attention}
        if self.cross_attention is not None:
            attentions["cross_attention"] = self.cross_attention
            where = "encoder.cross_attention.output_projection"
            require(self.cross_attention.output_projection, where, "is needed: by it the encoder starts silent")
        check_stack("encoder", self.vocab_size, self.width, self.layers, self.max_length, attentions)

    @classmethod
    def of_decoder(cls, decoder: DecoderConfig) -> EncoderConfig:
        """The encoder that is the decoder's own layers."""
        return cls(
            decoder.vocab_size,
            decoder.width,
            len(decoder.reading),
            decoder.self_attention,
            decoder.feed_forward,
            decoder.max_length,
            norm=decoder.norm,
            shared=True,
        )


def check_stack(
    owner: str, vocab_size: int, width: int, layers: int, max_length: int, attentions: dict[str, AttentionConfig]
) -> None:
    at_least_one(owner, vocab_size=vocab_size, width=width, layers=layers, max_length=max_length)
    for name, attention in attentions.items():
        attention.check_fits(width, f"{owner}.{name}")
