"""How many parameters a configuration has: counted on modules that have shapes alone, so that any size is quick."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import nn

from rxt.config import DecoderConfig, FeedForward, MoEConfig, RxTConfig
from rxt.model.decoder import Decoder
from rxt.model.encoder import Encoder
from rxt.model.feed_forward import make_feed_forward
from rxt.model.heads import MLMHead
from rxt.model.layers import make_embedding
from rxt.model.memory_attention import MemoryAttention
from rxt.model.router import Router


@dataclass(frozen=True)
class Counts:
    """Parameters by part. ``decoder`` and ``encoder`` each include the embedding table that they share; an encoder that
    is the decoder's own layers has nothing else."""

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
    fresh_memory: int = 0
    """Parameters of a fresh memory that is learned."""
    router: int = 0
    """Parameters of what chooses fragments, in models that have a pool of them."""

    @property
    def total(self) -> int:
        """The whole model, the shared embedding once."""
        return self.decoder + self.encoder - self.embedding + self.memory_attention + self.fresh_memory + self.router


@cache
def parameter_counts(config: RxTConfig) -> Counts:
    """Count the parameters of every part of ``config``."""
    decoder, width = config.decoder, config.decoder.width
    with torch.device("meta"):
        embedding = make_embedding(decoder.vocab_size, width)
        whole = _count(Decoder(decoder, embedding))
        asleep = sum(
            (mixture.experts - mixture.top_k) * routed_expert(mixture, width)
            for mixture in feed_forwards(decoder)
            if isinstance(mixture, MoEConfig)
        )
        layers, slots, _ = config.memory_shape
        return Counts(
            decoder=whole,
            decoder_active=whole - asleep,
            encoder=_count(embedding) if config.encoder.shared else _count(Encoder(config.encoder, embedding)),
            memory_attention=_count(MemoryAttention(config.memory_attention)),
            mlm_head=_count(MLMHead(width, decoder.vocab_size)),
            embedding=_count(embedding),
            memory=layers * slots * width,
            fresh_memory=layers * slots * width if config.memory_init == "learned" else 0,
            router=0 if config.pool is None else _count(Router(config.pool, width)),
        )


def routed_expert(config: MoEConfig, width: int) -> int:
    """Parameters of one routed expert, with biases of its own: what a second one adds, but for its row of the
    router."""
    with torch.device("meta"):
        one, two = (_count(make_feed_forward(width, replace(config, experts=n, top_k=1))) for n in (1, 2))
    return two - one - width


def feed_forwards(config: DecoderConfig) -> list[FeedForward]:
    """The feed-forward of every layer of a decoder."""
    return [*config.stateless, *[config.feed_forward] * config.layers, *config.final_stateless]


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
