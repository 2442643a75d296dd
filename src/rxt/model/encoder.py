"""The memory encoder: reads a finished interaction; every layer's output is a result."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from rxt.config import EncoderConfig
from rxt.model.attention import Attention, KeyValue
from rxt.model.decoder import Decoder
from rxt.model.feed_forward import make_feed_forward
from rxt.model.layers import Rotation, make_norm, rotations_of, rounded_once


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
        self,
        x: Tensor,
        memory: KeyValue | None,
        rotation: Rotation | None,
        cross_rotation: Rotation | None,
        mask: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        """(B, T, D) -> (B, T, D) and the load-balancing loss of a routed feed-forward."""
        normed = rounded_once(self.norm1(x))
        visible = None if mask is None else mask[:, None, None, :]
        x = x + self.attention(normed, None, rotation, mask=visible)
        if memory is not None:
            x = x + self.cross_attention(self.norm2(x), memory, cross_rotation)
        update, balance = self.feed_forward(self.norm3(x), mask)
        return x + update, balance


@torch.no_grad()
def start_silent(attention: Attention) -> None:
    """Let an untrained encoder hear nothing of its memory, which means nothing yet: what it says is what it reads in
    the text."""
    for parameter in attention.out_proj.parameters():
        nn.init.zeros_(parameter)


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
        encoded = torch.stack(self.outputs(ids, mask, slots))
        return encoded if mask is None else encoded * mask[None, :, :, None]

    def outputs(self, ids: Tensor, mask: Tensor | None = None, slots: Tensor | None = None) -> list[Tensor]:
        """The same layer by layer, (B, T, D) each, of which nothing counts where ``mask`` is False."""
        if self.reads_memory and slots is None:
            raise ValueError("this encoder has memory cross-attention: it needs the memory slots (L, B, S, D)")
        x = self.embedding(ids)  # (B, T, D)
        positions = torch.arange(ids.shape[1], device=ids.device)
        own, cross = self.config.self_attention, self.config.cross_attention or self.config.self_attention
        rotation, cross_rotation = rotations_of(own, cross, self.config.width, positions)
        outputs: list[Tensor] = []
        for index, layer in enumerate(self.layers):
            memory = layer.project_memory(slots[index]) if self.reads_memory and slots is not None else None  # type: ignore[operator]
            x, _ = layer(x, memory, rotation, cross_rotation, mask)
            outputs.append(x)
        return outputs


class SharedEncoder(nn.Module):
    """The decoder's own layers, without memory, as the encoder. It holds no weights: they are the decoder's."""

    reads_memory = False
    """Encoding a turn needs no memory."""

    def __init__(self, config: EncoderConfig, decoder: Decoder) -> None:
        super().__init__()
        self.config = config
        self._decoder = (decoder,)  # in a tuple torch registers nothing: every weight has one name

    @property
    def decoder(self) -> Decoder:
        """Whose layers these are."""
        return self._decoder[0]

    @property
    def embedding(self) -> nn.Embedding:
        """The table that decoder and encoder share."""
        return self.decoder.embedding

    def forward(self, ids: Tensor, mask: Tensor | None = None, slots: Tensor | None = None) -> Tensor:
        """The normed input of every layer that reads memory (L, B, T, D), for tokens (B, T) that see those before them;
        zeros where ``mask`` (B, T), False at padding on the right, is. ``slots`` are not looked at."""
        encoded = self.decoder.normed_inputs(ids)
        return encoded if mask is None else encoded * mask[None, :, :, None]


def make_encoder(config: EncoderConfig, decoder: Decoder) -> Encoder | SharedEncoder:
    """The encoder that a configuration describes, beside its decoder."""
    return SharedEncoder(config, decoder) if config.shared else Encoder(config, decoder.embedding)


def without_memory(encoder: Encoder | SharedEncoder) -> Encoder | SharedEncoder:
    """The same encoder, with the same weights, but without memory cross-attention, where it has any: it reads texts
    alone."""
    if isinstance(encoder, SharedEncoder) or not encoder.reads_memory:
        return encoder
    with torch.device("meta"):
        alone = Encoder(replace(encoder.config, cross_attention=None), encoder.embedding)
    for layer, whole in zip(alone.layers, encoder.layers, strict=True):
        for name, _ in layer.named_children():
            setattr(layer, name, getattr(whole, name))
    return alone.train(encoder.training)
