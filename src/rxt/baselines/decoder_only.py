"""The usual chat model: it keeps no memory and reads its whole history, again or out of a growing cache."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from rxt.baselines.config import DecoderOnlyConfig
from rxt.config import RxTConfig
from rxt.model.cache import KVCache, LayerCache
from rxt.model.decoder import DecoderLayer, Hidden
from rxt.model.layers import make_embedding, make_norm, rotation_of
from rxt.model.parameters import parameter_counts


class DecoderOnly(nn.Module):
    """The Reactive Transformer's decoder layers without memory cross-attention. It holds parameters, never a
    history."""

    def __init__(self, config: DecoderOnlyConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = make_embedding(config.vocab_size, config.width)
        self.layers = nn.ModuleList(
            DecoderLayer(config.width, config.attention, None, config.feed_forward, config.norm)
            for _ in range(config.layers)
        )
        self.head_norm = make_norm(config.head_norm, config.width) if config.head_norm else None
        self.head = nn.Linear(config.width, config.vocab_size)
        with torch.no_grad():  # not tied, but they start equal, as in the Reactive Transformer
            self.head.weight.copy_(self.embedding.weight)

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits (B, T, V) of tokens (B, T). ``mask`` (B, T) is False at padding on the right, where the logits are
        zeros."""
        logits = self.head(self.hidden(ids, mask).states)
        return logits if mask is None else logits * mask.unsqueeze(-1)

    def hidden(self, ids: Tensor, mask: Tensor | None = None) -> Hidden:
        """The states (B, T, D) that the head reads, for losses that need logits at some positions only."""
        return self.run(self.embedding(ids), torch.arange(ids.shape[1], device=ids.device), mask)

    @property
    def size(self) -> int:
        """Parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def new_cache(self, batch_size: int, length: int) -> KVCache:
        """An empty cache for ``length`` tokens of ``batch_size`` conversations."""
        attention, weight = self.config.attention, self.head.weight
        head_dim = attention.head_size(self.config.width)
        return KVCache.empty(
            self.config.layers, batch_size, attention.kv_heads, length, head_dim, weight.dtype, weight.device
        )

    def begin(self, ids: Tensor, cache: KVCache) -> Tensor:
        """States (B, T, D) of a history (B, T), which is written into a cache that holds nothing yet."""
        positions = torch.arange(ids.shape[1], device=ids.device)
        return self._run(self.embedding(ids), positions, None, cache.first(ids.shape[1]).filled()).states

    def read(self, ids: Tensor, positions: Tensor, cache: KVCache) -> Tensor:
        """States (B, T, D) of tokens (B, T) at ``positions`` (B, T), which continue what ``cache`` holds; the cache is
        written in place.

        Only what the caller passes to ``head`` costs a look at the vocabulary: of a history that is the last state.
        """
        return self.run(self.embedding(ids), positions, cache=cache).states

    def step(self, ids: Tensor, positions: Tensor, cache: KVCache) -> Tensor:
        """Logits (B, T, V) of tokens (B, T) at ``positions`` (B, T), which continue what ``cache`` holds."""
        return self.head(self.read(ids, positions, cache))

    def run(self, x: Tensor, positions: Tensor, mask: Tensor | None = None, cache: KVCache | None = None) -> Hidden:
        """All layers on embedded tokens, or on anything else that stands in their place, (B, T, D) at ``positions``."""
        return self._run(x, positions, mask, None if cache is None else cache.at(positions))

    def _run(self, x: Tensor, positions: Tensor, mask: Tensor | None, caches: list[LayerCache] | None) -> Hidden:
        rotation = rotation_of(self.config.attention, self.config.width, positions)
        balances: list[Tensor] = []
        for layer, layer_cache in zip(self.layers, caches or [None] * len(self.layers), strict=True):
            x, balance = layer(x, None, rotation, rotation, mask, None, layer_cache)
            if balance is not None:
                balances.append(balance)
        if self.head_norm is not None:
            x = self.head_norm(x)
        return Hidden(x, torch.stack(balances).mean() if balances else x.new_zeros(()))


class EqualSize(NamedTuple):
    """A decoder-only model of a Reactive Transformer's size, and both counts."""

    config: DecoderOnlyConfig
    parameters: int
    """Of the decoder-only model."""
    wanted: int
    """Of the Reactive Transformer: decoder, encoder and memory attention, the shared embedding once."""


def equal_size(config: RxTConfig, max_length: int) -> EqualSize:
    """As many layers as bring a decoder-only model nearest to the parameters of a Reactive Transformer; one at
    least."""
    wanted = parameter_counts(config).total
    one, two = (parameter_count(DecoderOnlyConfig.like(config, layers, max_length)) for layers in (1, 2))
    layers = max(1, round((wanted - one) / (two - one)) + 1)
    return EqualSize(DecoderOnlyConfig.like(config, layers, max_length), one + (layers - 1) * (two - one), wanted)


def parameter_count(config: DecoderOnlyConfig) -> int:
    """Parameters of a decoder-only model, which is not made for it."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in DecoderOnly(config).parameters())
