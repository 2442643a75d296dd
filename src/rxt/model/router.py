"""The router: vectors of texts, by which fragments of a memory are found again (Mixture-of-Memory)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rxt.config import PoolConfig
from rxt.model.pool_keys import KeyTable


class Router(nn.Module):
    """Two projections of a text's mean: what it asks for, and what is to be found by."""

    def __init__(self, config: PoolConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.query = nn.Linear(width, config.key_width)
        self.key = nn.Linear(width, config.key_width)
        with torch.no_grad():  # they start equal: an untrained router finds what is said in like words
            self.key.weight.copy_(self.query.weight)
            self.key.bias.copy_(self.query.bias)

    def queries(self, encoded: Tensor, mask: Tensor | None = None) -> Tensor:
        """What encoded texts (L, B, T, D) ask for: unit vectors (B, D_k). ``mask`` (B, T) is False at padding."""
        return F.normalize(self.query(mean_of_text(encoded, mask)), dim=-1)

    def keys(self, encoded: Tensor, mask: Tensor | None = None) -> Tensor:
        """What encoded interactions (L, B, T, D) are found by: unit vectors (B, D_k)."""
        return F.normalize(self.key(mean_of_text(encoded, mask)), dim=-1)

    def similarities(self, query: Tensor, keys: KeyTable) -> Tensor:
        """Cosines (F,) of a query (D_k,), a unit vector, and the keys (F, D_k) of fragments.

        A fragment into which nothing has been written has a key of zeros. It is as like anything as ``new_below`` says:
        better than what is less like it, and worse than what is more.
        """
        return keys.cosines(query, of_none=self.config.new_below)


def mean_of_text(encoded: Tensor, mask: Tensor | None = None) -> Tensor:
    """(B, D): the mean of what all layers say of the tokens of texts (L, B, T, D), each normed, so that no layer is
    louder than another."""
    normed = F.rms_norm(encoded, encoded.shape[-1:])
    if mask is None:
        return normed.mean((0, 2))
    tokens = mask.to(normed.dtype)
    total = (normed * tokens[None, :, :, None]).sum(2)  # (L, B, D)
    return (total / tokens.sum(1)[:, None].clamp(min=1)).mean(0)
