"""The self-attention cache of one turn: preallocated, written in place, gone when the answer is done."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rxt.model.attention import KeyValue


@dataclass(frozen=True)
class LayerCache:
    """One layer's keys and values (B, Hkv, length, Hd), at the positions of the tokens being added."""

    keys: Tensor
    values: Tensor
    positions: Tensor
    """(B, T): where the new tokens stand."""
    visible: Tensor | None
    """(B, 1, T, length): what each new token may look at, itself and everything before it. None where the new tokens
    are
    the first and fill the cache: then order alone says it, at less cost."""

    def extend(self, new: KeyValue) -> KeyValue:
        """Write the new tokens' keys and values (B, Hkv, T, Hd) in place; return the whole cache."""
        where = self.positions[:, None, :, None].expand_as(new.keys)
        self.keys.scatter_(2, where, new.keys)
        self.values.scatter_(2, where, new.values)
        return KeyValue(self.keys, self.values)


@dataclass(frozen=True)
class KVCache:
    """Keys and values of every self-attention layer, (layers, B, Hkv, length, Hd) each."""

    keys: Tensor
    values: Tensor

    @classmethod
    def empty(
        cls,
        layers: int,
        batch_size: int,
        heads: int,
        length: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> KVCache:
        """A cache of zeros: entries that were never written are never visible."""
        shape = (layers, batch_size, heads, length, head_dim)
        return cls(torch.zeros(shape, dtype=dtype, device=device), torch.zeros(shape, dtype=dtype, device=device))

    def first(self, length: int) -> KVCache:
        """The first ``length`` entries in the same storage: a step looks at the whole cache that it is given, so give
        it no more."""
        return KVCache(self.keys[:, :, :, :length], self.values[:, :, :, :length])

    def rows(self, start: int, stop: int) -> KVCache:
        """The entries of some of the B conversations, in the same storage."""
        return KVCache(self.keys[:, start:stop], self.values[:, start:stop])

    def take(self, rows: Tensor) -> KVCache:
        """The entries of the conversations ``rows`` (R,), copied."""
        return KVCache(self.keys[:, rows], self.values[:, rows])

    @property
    def nbytes(self) -> int:
        """Bytes of all entries."""
        return self.keys.nbytes + self.values.nbytes

    def at(self, positions: Tensor) -> list[LayerCache]:
        """The caches of all layers, ready to take tokens at ``positions`` (B, T)."""
        steps = torch.arange(self.keys.shape[3], device=positions.device)
        visible = steps <= positions[:, None, :, None]  # (B, 1, T, length)
        return [
            LayerCache(keys, values, positions, visible) for keys, values in zip(self.keys, self.values, strict=True)
        ]

    def filled(self) -> list[LayerCache]:
        """The caches of all layers, ready to take as many tokens as they are long, the first ones, at once."""
        batch_size, length = self.keys.shape[1], self.keys.shape[3]
        positions = torch.arange(length, device=self.keys.device).expand(batch_size, -1)
        return [LayerCache(keys, values, positions, None) for keys, values in zip(self.keys, self.values, strict=True)]
