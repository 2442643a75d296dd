"""What takes the place of a mixture of experts for inference: each computes the same, and none has gradients.

=================  ====================================  ===========================================================
implementation     few selections                        more of them
=================  ====================================  ===========================================================
GatheredExperts    their matrices brought together       sorted by expert, matrices in place
SummedExperts      products written as sums              sorted by expert, matrices in place, by one operator
Int8Experts        sorted by expert, 8-bit matrices      the same
SummedInt8Experts  8-bit products written as sums        sorted by expert, 8-bit matrices, by one operator
=================  ====================================  ===========================================================

``rxt.model.feed_forward.MixtureOfExperts`` is the one that trains, and the one whose weights are stored.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from rxt.model.feed_forward import MixtureOfExperts, expand
from rxt.model.int8 import Int8Stack
from rxt.model.replace import take_over
from rxt.model.summed import SummedStack


class InferenceExperts(MixtureOfExperts):
    """Experts in the place of others, around the same weights, with a way of their own for few selections."""

    selections_per_expert: float
    """Up to so many selections N·K for each of the E experts are few: hardly two of them read the same expert."""

    def __init__(self, original: MixtureOfExperts) -> None:
        with torch.device("meta"):
            super().__init__(original.router.weight.shape[1], original.config)
        take_over(self, original)

    def _routed(self, tokens: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
        if chosen.numel() > self.selections_per_expert * self.config.experts:
            return super()._routed(tokens, weights, chosen)
        return self._each_by_itself(tokens, weights, chosen)

    def _each_by_itself(self, tokens: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
        """Every selection by its own expert, two products in all."""
        hidden = self._by_choice(tokens.unsqueeze(1).expand(-1, self.config.top_k, -1), self.w1, chosen)  # (N, K, 2F)
        if self.b1 is not None:
            hidden = hidden + self.b1[chosen]
        expanded = expand(hidden, self.config.activation, self.config.gated)  # (N, K, F)
        outputs = self._by_choice(expanded, self.w2, chosen)  # (N, K, D)
        if self.b2 is not None:
            outputs = outputs + self.b2[chosen]
        return (outputs * weights.unsqueeze(-1)).sum(1).to(tokens.dtype)

    @abstractmethod
    def _by_choice(self, x: Tensor, stacked: Any, chosen: Tensor) -> Tensor:
        """Rows (N, K, in), each by the matrix of a stack that it chose (N, K) -> (N, K, out)."""


class StackedExperts(InferenceExperts):
    """Experts whose matrices are modules that know how to multiply."""

    def _by_group(self, rows: Tensor, stacked: Any, ends: Tensor) -> Tensor:
        return stacked(rows, ends)

    def _by_choice(self, x: Tensor, stacked: Any, chosen: Tensor) -> Tensor:
        return stacked.chosen(x, chosen)


class GatheredExperts(InferenceExperts):
    """Few matrices are brought together: that copy stays in the processor's cache, and one batch of products keeps all
    cores busy, which is faster than a product after the other with weights in place (``docs/performance.md``)."""

    selections_per_expert = 0.5

    def _by_choice(self, x: Tensor, stacked: Any, chosen: Tensor) -> Tensor:
        products = torch.bmm(x.flatten(0, 1).unsqueeze(1), stacked.index_select(0, chosen.flatten()))
        return products.view(*chosen.shape, -1)


class SummedExperts(StackedExperts):
    """For steps that are to be compiled: the matrices are copied, row by row."""

    selections_per_expert = 1

    def __init__(self, original: MixtureOfExperts) -> None:
        super().__init__(original)
        del self.w1, self.w2
        self.w1, self.w2 = SummedStack(original.w1), SummedStack(original.w2)  # type: ignore[assignment]


class Int8Experts(StackedExperts):
    """The matrices are rounded to 8-bit integers."""

    selections_per_expert = 0

    def __init__(self, original: MixtureOfExperts) -> None:
        super().__init__(original)
        del self.w1, self.w2
        self.w1, self.w2 = Int8Stack(original.w1), Int8Stack(original.w2)  # type: ignore[assignment]


class SummedInt8Experts(StackedExperts):
    """For steps that are to be compiled, around the 8-bit matrices of others."""

    selections_per_expert = 1
