"""Products written as sums, for steps that are to be compiled.

A matrix times one vector is a matter of reading the matrix. Written as a sum of products, the compiler makes one loop
of it, together with what stands before and after, over outputs whose inputs lie one after another in memory; a
library's product would be a call of its own for every matrix (``docs/performance.md`` has the numbers).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rxt.model.attention import Attention
from rxt.model.grouped import grouped_matmul
from rxt.model.int8 import Int8Linear
from rxt.model.replace import take_over

FEW = 4
"""Rows whose one query each is looked up in sums: more of them the library looks up faster."""


class SummedAttention(Attention):
    """Attention in the place of another, which looks up few single queries in sums."""

    def __init__(self, original: Attention) -> None:
        with torch.device("meta"):
            super().__init__(original.q_proj.weight.shape[1], original.config)
        take_over(self, original)

    def _look_up(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        if queries.shape[2] > 1 or len(queries) > FEW:
            return super()._look_up(queries, keys, values, mask, causal)
        groups = queries.shape[1] // keys.shape[1]
        if groups > 1:
            keys, values = keys.repeat_interleave(groups, 1), values.repeat_interleave(groups, 1)
        scores = (queries * keys).sum(-1) * queries.shape[-1] ** -0.5  # (B, H, S)
        if mask is not None:
            scores = scores.masked_fill(~mask.squeeze(2), -torch.inf)
        return (scores.softmax(-1).unsqueeze(-1) * values).sum(2, keepdim=True)


class SummedLinear(nn.Module):
    """x · Wᵀ + b with the weight of a linear layer; for one row as a sum."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = linear.weight
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) -> (…, out)."""
        if x.numel() > x.shape[-1]:
            return F.linear(x, self.weight, self.bias)
        product = (x.unsqueeze(-2) * self.weight).sum(-1)
        return product if self.bias is None else product + self.bias


class SummedInt8Linear(Int8Linear):
    """x · Wᵀ + b with the 8-bit weight of another; for one row as a sum."""

    def __init__(self, original: Int8Linear) -> None:
        nn.Module.__init__(self)
        take_over(self, original)
        self.bias = original.bias

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) -> (…, out)."""
        if x.numel() > x.shape[-1]:
            return super().forward(x)
        product = (x.unsqueeze(-2) * self.weight.to(x.dtype)).sum(-1) * self.scale
        return product if self.bias is None else product + self.bias


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
