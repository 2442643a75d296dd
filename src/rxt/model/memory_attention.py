"""Memory attention: how an interaction is written into memory.

For every layer, with m its memory and e the encoded interaction::

    u  = consolidate(m)
    m' = gate(old=u, new=attn(query=norm(u), keys=values=input_norm(e)))

or, in the variant ``queue``, as :mod:`rxt.model.memory_queue` says.

Positions count once on each side: the interaction's keys are turned by theirs here, since its tokens have an order; the
slots' queries are not, since slots have none. When a memory is read it is the other way round: the tokens' queries are
turned, the slots' keys are not, but in a queue, whose places have an order (:mod:`rxt.model.decoder`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn

from rxt.config import MemoryAttentionConfig
from rxt.model.attention import KeyValue
from rxt.model.consolidation import MemoryAttentionLayer, layer_class
from rxt.model.layers import rotation_of
from rxt.model.memory_norm import MemoryNorm


@dataclass(frozen=True)
class Projected:
    """Keys and values of encoded interactions. They do not depend on the memory: those of many turns can be projected
    at once."""

    keys: Tensor
    """(L, B, Hkv, T, Hd)"""
    values: Tensor
    """(L, B, Hkv, T, Hd)"""
    mask: Tensor | None = None
    """(B, T), False at padding."""
    lengths: tuple[int, ...] | None = None
    """Real tokens of each interaction, where they are known as numbers: asking a GPU for them would wait for it."""

    def __getitem__(self, rows: slice) -> Projected:
        """Some of the interactions, cut to the longest among them."""
        if self.mask is None:
            return Projected(self.keys[:, rows], self.values[:, rows])
        mask, lengths = self.mask[rows], None if self.lengths is None else self.lengths[rows]
        longest = int(mask.sum(1).max()) if lengths is None else max(lengths)
        return Projected(self.keys[:, rows, :, :longest], self.values[:, rows, :, :longest], mask[:, :longest], lengths)

    def split(self, sizes: Sequence[int]) -> list[Projected]:
        """So many interactions each. Their gradients are joined once; those of slices would each be as large as all."""
        sizes = list(sizes)
        masks = [None] * len(sizes) if self.mask is None else self.mask.split(sizes)
        ends = list(accumulate(sizes))
        lengths = [
            None if self.lengths is None else self.lengths[end - size : end]
            for end, size in zip(ends, sizes, strict=True)
        ]
        parts = zip(self.keys.split(sizes, dim=1), self.values.split(sizes, dim=1), masks, lengths, strict=True)
        return [Projected(*part) for part in parts]


class MemoryAttention(nn.Module):
    """One write layer for each layer of memory; ``mean_norm`` is shared by all of them."""

    def __init__(self, config: MemoryAttentionConfig) -> None:
        super().__init__()
        self.config = config
        layer = layer_class(config.variant)
        self.layers = nn.ModuleList(layer(config) for _ in range(config.layers))
        if not hasattr(self.layers[0], "input_norm"):
            raise TypeError(f"{layer.__name__}.__init__ must set self.input_norm = self.new_input_norm()")
        self.mean_norm = MemoryNorm(config.norm, config.width) if layer.looks_at_mean else None

    def forward(self, slots: Tensor, encoded: Tensor, mask: Tensor | None = None) -> Tensor:
        """New slots (L, B, S, D) from ``slots`` and ``encoded`` (L, B, T, D); ``mask`` (B, T) is False at padding."""
        return self.write(slots, self.project(encoded, mask))

    def project(self, encoded: Tensor, mask: Tensor | None = None) -> Projected:
        """Project encoded interactions (L, B, T, D), whatever memory they will be written into."""
        positions = torch.arange(encoded.shape[2], device=encoded.device)
        rotation = rotation_of(self.config.attention, self.config.width, positions)
        keys, values = zip(
            *[layer.project(source, rotation) for layer, source in zip(self._layers(), encoded, strict=True)],
            strict=True,
        )
        return Projected(torch.stack(keys), torch.stack(values), mask)

    def normed(self, encoded: Tensor) -> Tensor:
        """Encoded interactions (L, B, T, D) as the write looks at them, and as a slot would hold a token."""
        return torch.stack([layer.normed(source) for layer, source in zip(self._layers(), encoded, strict=True)])

    def write(self, slots: Tensor, source: Projected) -> Tensor:
        """New slots (L, B, S, D) from ``slots`` and the projected interactions."""
        mask = None if source.mask is None else source.mask[:, None, None, :]
        parts = zip(
            self._layers(),
            slots.unbind(),
            self._means(slots),
            source.keys.unbind(),
            source.values.unbind(),
            strict=True,
        )
        return torch.stack(
            [layer(memory, mean, KeyValue(keys, values), mask) for layer, memory, mean, keys, values in parts]
        )

    def _layers(self) -> list[MemoryAttentionLayer]:
        return [layer for layer in self.layers if isinstance(layer, MemoryAttentionLayer)]

    def _means(self, slots: Tensor) -> list[Tensor | None]:
        """For each layer, the normed mean (B, S, D) of the old memory over all layers, or over its group of them."""
        if self.mean_norm is None:
            return [None] * self.config.layers
        size = self.config.layers // (self.config.groups or 1)
        normed = [self.mean_norm(group.mean(0)) for group in slots.split(size)]
        return [normed[layer // size] for layer in range(self.config.layers)]
