"""Products written as sums, for steps that are to be compiled.

A matrix times one vector is a matter of reading the matrix. Written as a sum of products, the compiler makes one loop
of it, together with what stands before and after, over outputs whose inputs lie one after another in memory; a
library's product would be a call of its own for every matrix (``docs/performance.md`` has the numbers).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rxt.model.grouped import grouped_matmul

FEW = 4
"""Rows whose one query each is looked up in sums: more of them the library looks up faster."""


def look_up(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """softmax(q·kᵀ/√Hd)·v, (B, H, T, Hd) each; ``mask`` and ``causal`` as in :class:`rxt.model.attention.Attention`."""
    if queries.shape[2] > 1 or len(queries) > FEW or not torch.compiler.is_compiling():
        return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, is_causal=causal)
    scores = (queries * keys).sum(-1) * queries.shape[-1] ** -0.5  # (B, H, S)
    if mask is not None:
        scores = scores.masked_fill(~mask.squeeze(2), -torch.inf)
    return (scores.softmax(-1).unsqueeze(-1) * values).sum(2, keepdim=True)


class SummedLinear(nn.Module):
    """x · Wᵀ + b with the weight of a linear layer; for one row as a sum, when compiled."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = linear.weight
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) -> (…, out)."""
        if x.numel() == x.shape[-1] and torch.compiler.is_compiling():
            product = (x.unsqueeze(-2) * self.weight).sum(-1)
            return product if self.bias is None else product + self.bias
        return F.linear(x, self.weight, self.bias)


class SummedStack(nn.Module):
    """Stacked matrices (E, D, F), stored as (E, F, D): each output's inputs one after another."""

    weight: Tensor

    def __init__(self, stacked: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", stacked.detach().transpose(1, 2).contiguous())

    def forward(self, rows: Tensor, ends: Tensor) -> Tensor:
        """Rows (N, D), sorted by matrix, and where each matrix's rows end (E,) -> (N, F)."""
        return grouped_matmul(rows, self.weight.transpose(1, 2), ends)

    def chosen(self, x: Tensor, experts: Tensor) -> Tensor:
        """Rows (N, K, D), each by its own matrix (N, K) -> (N, K, F)."""
        return (x.unsqueeze(-2) * self.weight[experts]).sum(-1)
