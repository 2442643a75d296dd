"""The memory encoder: reads a finished interaction; every layer's output is a result."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rxt.config import EncoderConfig
from rxt.model.attention import Attention, KeyValue
from rxt.model.feed_forward import make_feed_forward
from rxt.model.layers import Rotation, make_norm, rotation_at


class EncoderLayer(nn.Module):
    """Pre-norm block: bidirectional self-attention, memory cross-attention where configured, feed-forward."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.norm1 = make_norm(config.norm, config.width)
        self.attention = Attention(config.width, config.self_attention)
        if config.cross_attention is not None:
            self.norm2 = make_norm(config.norm, config.width)
            self.stm_norm = make_norm(config.norm, config.width)
            self.cross_attention = Attention(config.width, config.cross_attention)
            start_silent(self.cross_attention)
        self.norm3 = make_norm(config.norm, config.width)
        self.feed_forward = make_feed_forward(config.width, config.feed_forward)

    def project_memory(self, slots: Tensor) -> KeyValue:
        """Project this layer's memory (B, S, D)."""
        return self.cross_attention.keys_values(self.stm_norm(slots))

    def forward(
        self, x: Tensor, memory: KeyValue | None, rotation: Rotation, cross_rotation: Rotation, mask: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """(B, T, D) -> (B, T, D) and the load-balancing loss of a routed feed-forward."""
        normed = self.norm1(x)
        visible = None if mask is None else mask[:, None, None, :]
        x = x + self.attention(normed, self.attention.keys_values(normed, rotation), rotation, mask=visible)
        if memory is not None:
            x = x + self.cross_attention(self.norm2(x), memory, cross_rotation)
        update, balance = self.feed_forward(self.norm3(x), mask)
        return x + update, balance


@torch.no_grad()
def start_silent(attention: Attention) -> None:
    """Let an untrained encoder hear nothing of its memory, which means nothing yet: what it says is what it reads in
    the text."""
    nn.init.zeros_(attention.out_proj.weight)
    if attention.config.output_bias:
        nn.init.zeros_(attention.out_proj.bias)


class Encoder(nn.Module):
    """The embedding shared with the decoder, then L layers; no final norm."""

    def __init__(self, config: EncoderConfig, embedding: nn.Embedding) -> None:
        super().__init__()
        self.config = config
        self.embedding = embedding
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))

    @property
    def reads_memory(self) -> bool:
        """Whether this encoder has memory cross-attention, so that encoding a turn needs the memory before it."""
        return self.config.cross_attention is not None

    def forward(self, ids: Tensor, mask: Tensor | None = None, slots: Tensor | None = None) -> Tensor:
        """Every layer's output (L, B, T, D) for tokens (B, T); zeros where ``mask`` (B, T) is False.

        ``slots`` (L, B, S, D) is what the memory cross-attention reads, in encoders that have it.
        """
        if self.reads_memory and slots is None:
            raise ValueError("this encoder has memory cross-attention: it needs the memory slots (L, B, S, D)")
        x = self.embedding(ids)  # (B, T, D)
        positions = torch.arange(ids.shape[1], device=ids.device)
        own, cross = self.config.self_attention, self.config.cross_attention or self.config.self_attention
        rotation = rotation_at(positions, self.config.width // own.heads, own.rope_base)
        alike = (own.heads, own.rope_base) == (cross.heads, cross.rope_base)
        cross_rotation = (
            rotation if alike else rotation_at(positions, self.config.width // cross.heads, cross.rope_base)
        )
        outputs: list[Tensor] = []
        for index, layer in enumerate(self.layers):
            memory = layer.project_memory(slots[index]) if self.reads_memory and slots is not None else None  # type: ignore[operator]
            x, _ = layer(x, memory, rotation, cross_rotation, mask)
            outputs.append(x)
        encoded = torch.stack(outputs)
        return encoded if mask is None else encoded * mask[None, :, :, None]
