"""Weights as 8-bit integers, for inference: a token reads a quarter of the bytes.

Each output has a scale of its own: w ≈ scale · q with q in −127 … 127 and scale = max |w| / 127. On a processor, in
float32, products read the integers in place; of many rows they widen them to bfloat16, where the processor multiplies
that quickly. Their inputs and outputs are rounded to bfloat16 then, sums and scales are not. Elsewhere (float64, other
devices, inputs that are no multiple of 16) the weights are widened first, which rounds nothing else and saves memory
only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LANES = 16
"""The product of PyTorch 2.13 reads inputs in steps of so many, beyond the end where they do not fit, without a
word."""

MANY = 16
"""Rows from which on widening the integers pays: the product that reads them in place goes through them row by row."""
WIDENS = torch.cpu._is_avx512_bf16_supported()
"""Whether products of bfloat16 are quick here: elsewhere they can be hundreds of times slower."""


class Int8Linear(nn.Module):
    """x · Wᵀ + b with W (out, in) in 8 bits."""

    weight: Tensor
    scale: Tensor
    ones: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, scale = to_int8(linear.weight)
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.register_buffer("ones", _ones(scale.shape[-1], scale.device))
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) -> (…, out)."""
        rows = x.flatten(0, -2)
        product = multiply(rows, self.weight, self.scale, self.ones).unflatten(0, x.shape[:-1])
        return product if self.bias is None else product + self.bias


class Int8Stack(nn.Module):
    """Stacked matrices (E, D, F) in 8 bits, stored as (E, F, D): what experts are made of."""

    weight: Tensor
    scale: Tensor
    ones: Tensor

    def __init__(self, stacked: Tensor) -> None:
        super().__init__()
        weight, scale = to_int8(stacked.transpose(1, 2))
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.register_buffer("ones", _ones(scale.shape[-1], scale.device))

    def forward(self, rows: Tensor, ends: Tensor) -> Tensor:
        """Rows (N, D), sorted by matrix, and where each matrix's rows end (E,) -> (N, F). A matrix without rows is not
        read."""
        return torch.ops.rxt.int8_groups(rows, self.weight, self.scale, self.ones, ends)

    def chosen(self, x: Tensor, experts: Tensor) -> Tensor:
        """Rows (N, K, D), each by its own matrix (N, K) -> (N, K, F)."""
        return (x.unsqueeze(-2) * self.weight[experts].to(x.dtype)).sum(-1) * self.scale[experts]


def to_int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (…, out, in) -> the same as int8, and the scale of every output (…, out)."""
    weight = weight.detach()
    scale = (weight.abs().amax(-1) / 127).clamp(min=torch.finfo(weight.dtype).tiny)
    return (weight / scale.unsqueeze(-1)).round().clamp(-127, 127).to(torch.int8).contiguous(), scale


def multiply(rows: Tensor, weight: Tensor, scale: Tensor, ones: Tensor) -> Tensor:
    """Rows (N, in) by one matrix (out, in) of integers -> (N, out)."""
    if rows.device.type == "cpu" and rows.dtype == torch.float32 and rows.shape[1] % LANES == 0:
        narrow = rows.bfloat16()
        if WIDENS and len(rows) >= MANY:
            return (narrow @ weight.bfloat16().T) * scale  # 8 bits are exact in bfloat16
        return torch._weight_int8pack_mm(narrow, weight, ones) * scale  # type: ignore[attr-defined]
    return rows @ (weight.to(rows.dtype) * scale.to(rows.dtype).unsqueeze(-1)).T


def int8_groups(rows: Tensor, weight: Tensor, scale: Tensor, ones: Tensor, ends: Tensor) -> Tensor:
    """Rows (N, in), sorted by matrix, by matrices (E, out, in) of integers -> (N, out)."""
    found = rows.new_empty(len(rows), weight.shape[1])
    start = 0
    for group, end in enumerate(ends.tolist()):
        if end > start:
            found[start:end] = multiply(rows[start:end], weight[group], scale[group], ones)
            start = end
    return found


def _ones(count: int, device: torch.device) -> Tensor:
    """The scales that the product itself is given: it would round them, so they are multiplied afterwards."""
    return torch.ones(count, dtype=torch.bfloat16, device=device)


_OPERATORS = torch.library.Library("rxt", "FRAGMENT")
_OPERATORS.define("int8_groups(Tensor rows, Tensor weight, Tensor scale, Tensor ones, Tensor ends) -> Tensor")
_OPERATORS.impl("int8_groups", int8_groups, "CompositeExplicitAutograd")


@torch.library.register_fake("rxt::int8_groups")
def _shape(rows: Tensor, weight: Tensor, scale: Tensor, ones: Tensor, ends: Tensor) -> Tensor:
    return rows.new_empty(rows.shape[0], weight.shape[1])
