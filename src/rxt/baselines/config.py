"""What a baseline is made of: frozen, validated dataclasses. This file needs no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter

from rxt.config import (
    STRICT,
    AttentionConfig,
    DecoderConfig,
    FeedForward,
    Norm,
    RxTConfig,
    SpecialTokens,
    TemplateName,
    parse,
)
from rxt.errors import UserError

BaselineKind = Literal["history", "no-memory", "recurrent"]


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
        DecoderConfig(
            self.vocab_size, self.width, self.layers, self.attention, self.attention, self.feed_forward, self.max_length
        )

    @classmethod
    def like(cls, config: RxTConfig, layers: int, max_length: int) -> DecoderOnlyConfig:
        """With a Reactive Transformer's vocabulary, width and feed-forwards, and the attention that it looks up its
        memory with."""
        decoder = config.decoder
        return cls(
            decoder.vocab_size,
            decoder.width,
            layers,
            decoder.cross_attention,
            decoder.feed_forward,
            max_length,
            decoder.norm,
            decoder.head_norm or decoder.norm,
            config.tokens,
        )


@dataclass(frozen=True)
class BaselineConfig:
    """A decoder-only chat model and what it knows of earlier turns."""

    baseline: BaselineKind
    """``history`` reads the whole conversation again, ``no-memory`` the newest message alone, ``recurrent`` carries
    memory tokens."""
    decoder: DecoderOnlyConfig
    interaction_length: int
    """The longest interaction, in tokens."""
    template: TemplateName = "alpha"
    memory_tokens: int = 0
    """Of the recurrent one: M, carried from turn to turn."""
    trained_turns: int | None = None
    """Interactions of the longest conversations it was trained on."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        if (self.memory_tokens > 0) != (self.baseline == "recurrent"):
            raise UserError(
                f"baseline: memory_tokens go with the recurrent one, found {self.memory_tokens} for {self.baseline}"
            )

    def to_json(self) -> str:
        """As ``config.json`` holds it; ``from_dict`` reads it back."""
        return json.dumps(_adapter().dump_python(self, mode="json"), indent=2) + "\n"

    @classmethod
    def from_dict(cls, values: dict[str, Any], source: str) -> BaselineConfig:
        """Read ``to_json``'s values; an unknown, missing or ill-typed key is an error that names it."""
        return parse(_adapter(), values, source)


@cache
def _adapter() -> TypeAdapter[BaselineConfig]:
    return TypeAdapter(BaselineConfig)
