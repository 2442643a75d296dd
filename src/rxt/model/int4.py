"""Weights as 4-bit integers, for inference: what a base was stored in, read as it was stored.

The files of many bases hold their matrices in 4 bits (GGUF's Q4_1): inputs go in groups of 32, and each group of an
output has a scale and a lowest value of its own: w = lowest + scale · q with q in 0 … 15. Such matrices lose nothing
here but digits of scales and lowest values, which are rounded to bfloat16, as inputs and outputs of products are; sums
are not. Other matrices would lose much, and are left to 8 bits (:func:`is_of_4_bits`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rxt.model.int8 import WIDENS
from rxt.model.low_rank import LowRankLinear

GROUP = 32
"""Inputs that share a scale and a lowest value."""
TOP = 15
"""The largest integer of 4 bits."""
MIDDLE = 8
OUTPUTS = 16
"""PyTorch packs so many outputs together."""
MANY = 96
"""Rows from which on widening the integers pays, where the processor multiplies bfloat16 quickly."""
SLACK = 0.02
"""By how much of a step weights may be off the integers, through the rounding of the file's scales."""
TILES = 1
"""How PyTorch packs, a number that matters on GPUs alone."""


class Int4Linear(nn.Module):
    """x · Wᵀ + b with W (out, in) in 4 bits, plus what a low-rank adapter adds, which stays as it is."""

    weight: Tensor
    """As the product of few rows reads it: in an order that depends on the processor."""
    pairs: Tensor
    """The integers of the first and of the second half of the inputs (out, in / 2), two a byte: to be widened for many
    rows, where such products are quick."""
    scales: Tensor
    """(in / 32, out, 2): scales, and what 8 stands for."""
    down: nn.Parameter | None
    up: nn.Parameter | None

    def __init__(self, linear: nn.Linear) -> None:
        """``linear``: on a CPU, in float32; :func:`is_of_4_bits` says whether it fits."""
        super().__init__()
        integers, step, lowest = to_int4(linear.weight)
        packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(integers, TILES)
        self.register_buffer("weight", packed)
        half = linear.in_features // 2
        pairs = (integers[:, :half] + (TOP + 1) * integers[:, half:]).to(torch.uint8)
        self.register_buffer("pairs", pairs if WIDENS else None)
        middle = lowest + MIDDLE * step  # PyTorch counts from there
        self.register_buffer("scales", torch.stack((step, middle), -1).transpose(0, 1).contiguous().bfloat16())
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach(), requires_grad=False)
        adapter = linear if isinstance(linear, LowRankLinear) and linear.active else None
        self.down = None if adapter is None else adapter.lora_down
        self.up = None if adapter is None else adapter.lora_up

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) -> (…, out)."""
        rows = x.flatten(0, -2).bfloat16()
        if WIDENS and len(rows) >= MANY:
            product = rows @ self.widened().T
        else:
            product = torch.ops.aten._weight_int4pack_mm_for_cpu(rows, self.weight, GROUP, self.scales)
        product = product.to(x.dtype).unflatten(0, x.shape[:-1])
        if self.down is not None and self.up is not None:
            product = product + F.linear(F.linear(x, self.down), self.up)
        return product if self.bias is None else product + self.bias

    def widened(self) -> Tensor:
        """The matrix (out, in) in bfloat16."""
        integers = torch.cat(((self.pairs & TOP).bfloat16(), (self.pairs >> 4).bfloat16()), 1)
        groups = integers.sub_(MIDDLE).unflatten(1, (-1, GROUP))
        step, middle = self.scales.transpose(0, 1).unsqueeze(-2).unbind(-1)  # (out, n, 1) each
        return torch.addcmul(middle, groups, step).flatten(1)


def is_of_4_bits(weight: Tensor) -> bool:
    """Whether 4 bits hold a matrix (out, in) all but exactly: on a CPU, in float32, as it comes out of a file."""
    outputs, inputs = weight.shape
    if weight.device.type != "cpu" or weight.dtype != torch.float32 or inputs % GROUP or outputs % OUTPUTS:
        return False
    groups = weight.detach().unflatten(1, (-1, GROUP))
    lowest, step = _lowest_and_step(groups)
    steps = (groups - lowest) / step
    return bool(((steps - steps.round()).abs() <= SLACK).all())


def to_int4(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights (out, in) -> integers (out, in), scales and lowest values (out, in / 32)."""
    groups = weight.detach().unflatten(1, (-1, GROUP))
    lowest, step = _lowest_and_step(groups)
    integers = ((groups - lowest) / step).round().clamp(0, TOP).to(torch.int32)
    return integers.flatten(1), step.squeeze(-1), lowest.squeeze(-1)


def _lowest_and_step(groups: Tensor) -> tuple[Tensor, Tensor]:
    """Of groups (out, n, 32), both (out, n, 1)."""
    lowest, highest = groups.aminmax(dim=-1, keepdim=True)
    return lowest, ((highest - lowest) / TOP).clamp(min=torch.finfo(groups.dtype).tiny)
