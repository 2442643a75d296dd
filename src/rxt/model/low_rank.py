"""Low-rank adapters (LoRA, arXiv 2106.09685): what learns beside a matrix that stays as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rxt.model.replace import Module, replace_modules, share_copy


class LowRankLinear(nn.Linear):
    """x·(W + U·D)ᵀ + b with the W (out, in) and b of a linear layer, D (rank, in) and U (out, rank), which starts at
    zeros."""

    def __init__(self, linear: nn.Linear, rank: int) -> None:
        with torch.device("meta"):
            super().__init__(linear.in_features, linear.out_features, bias=linear.bias is not None)
        self.weight, self.bias = linear.weight, linear.bias
        self.lora_down = nn.Parameter(torch.randn(rank, linear.in_features).to(self.weight) * linear.in_features**-0.5)
        self.lora_up = nn.Parameter(self.weight.new_zeros(linear.out_features, rank))
        self.active = True

    def forward(self, input: Tensor) -> Tensor:
        """(…, in) -> (…, out)."""
        base = super().forward(input)
        return base + F.linear(F.linear(input, self.lora_down), self.lora_up) if self.active else base

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """One matrix that computes the same, with what the adapter adds only where it is active."""
        with torch.device("meta"):
            linear = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None)
        added = self.lora_up @ self.lora_down if self.active else torch.zeros_like(self.weight)
        linear.weight = nn.Parameter(self.weight + added)
        linear.bias = self.bias
        return linear


def adapted(module: Module, rank: int) -> Module:
    """The same modules around the same weights, each linear layer with an adapter; ``module`` stays as it is."""
    copy = share_copy(module)
    replace_modules(copy, {nn.Linear: lambda linear: LowRankLinear(linear, rank)})
    return copy


@contextmanager
def without_adapters(module: nn.Module) -> Iterator[None]:
    """Inside, the adapters of a module add nothing."""
    adapters = [each for each in module.modules() if isinstance(each, LowRankLinear)]
    for each in adapters:
        each.active = False
    try:
        yield
    finally:
        for each in adapters:
            each.active = True
